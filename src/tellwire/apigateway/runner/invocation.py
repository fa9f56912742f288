"""One invocation of a function, and the `context` its handler is given.

Source: Lambda developer guide, "Using the Lambda context object to retrieve Python function information".
"""

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from tellwire.apigateway.definition import ACCOUNT_ID
from tellwire.apigateway.runner.log_tail import LogTail

VERSION = "$LATEST"


def new_log_stream() -> str:
    """Return the name of a log stream, as `2026/11/24/[$LATEST]5f1d…`; one for each execution environment."""
    return f"{datetime.now(UTC):%Y/%m/%d}/[{VERSION}]{uuid.uuid4().hex}"


class Invocation(Struct, frozen=True):
    """An invocation before its handler runs. `client_context` is JSON, as Lambda Invoke has it; `tail` gets its log."""

    function_name: str
    timeout_seconds: float
    memory_mb: int
    region: str
    request_id: str
    qualifier: str = ""
    client_context: str | None = None
    tail: LogTail | None = None

    @property
    def function_arn(self) -> str:
        """Return the ARN by which the function was invoked: with the version or the alias, if there is one."""
        arn = f"arn:aws:lambda:{self.region}:{ACCOUNT_ID}:function:{self.function_name}"
        return f"{arn}:{self.qualifier}" if self.qualifier else arn


class LambdaContext:
    """The `context` of a handler: Lambda's attributes, with Lambda's types."""

    def __init__(self, invocation: Invocation, log_stream: str, now: Callable[[], float] = time.monotonic) -> None:
        self.function_name = invocation.function_name
        self.function_version = VERSION
        self.invoked_function_arn = invocation.function_arn
        # Text, on AWS too.
        self.memory_limit_in_mb = str(invocation.memory_mb)
        self.aws_request_id = invocation.request_id
        self.log_group_name = f"/aws/lambda/{invocation.function_name}"
        self.log_stream_name = log_stream
        self.identity = CognitoIdentity()
        self.client_context = ClientContext.parse(invocation.client_context)
        self.tenant_id: str | None = None
        self._now = now
        self._ends_at = now() + invocation.timeout_seconds

    def get_remaining_time_in_millis(self) -> int:
        """Return the time left to the handler; zero after its timeout."""
        return max(0, int((self._ends_at - self._now()) * 1000))

    def log(self, text: object) -> None:
        """Write a line to the log, as Lambda's own context can."""
        print(text)  # noqa: T201 - standard output is the log

    def __repr__(self) -> str:
        return f"LambdaContext(aws_request_id={self.aws_request_id!r}, function_name={self.function_name!r})"


@dataclass
class ClientContext:
    """`context.client_context`: the words of whoever invoked the function; on AWS, mobile apps use it."""

    custom: Any
    env: Any
    client: "ClientApp | None"

    @classmethod
    def parse(cls, text: str | None) -> "ClientContext | None":
        """Return it from JSON, or None if there is none."""
        told = json.loads(text) if text else None
        if not isinstance(told, dict):
            return None
        app = told.get("client")
        client = ClientApp(*(app.get(each.name) for each in fields(ClientApp))) if isinstance(app, dict) else None
        return cls(told.get("custom"), told.get("env"), client)


@dataclass
class ClientApp:
    """`context.client_context.client`."""

    installation_id: Any
    app_title: Any
    app_version_name: Any
    app_version_code: Any
    app_package_name: Any


class CognitoIdentity:
    """`context.identity`: empty, as it is for functions behind a WebSocket API."""

    cognito_identity_id: str | None = None
    cognito_identity_pool_id: str | None = None
