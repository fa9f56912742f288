"""A fake AWS for measurements of clients: `native/fake_aws.c`, in its own process on the server's core.

Every request to DynamoDB is answered with one page of rows; a post to `@connections` is counted and answered with 200.
"""

import json
import os
import subprocess
import time
import urllib.request
import zlib
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from bench import machine
from bench.native import LoadError, compile_source

USER = "user-1"
TABLE = "connections"
STAGE = "prod"
REGION = "eu-central-1"
# As long as on Lambda: the session token is sent and signed with every request.
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "ASIAEXAMPLEEXAMPLE00",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "IQoJb3JpZ2luX2VjE" + 800 * "x",
}
_SETTINGS = {
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    "AWS_EC2_METADATA_DISABLED": "true",
    "CONNECTIONS_TABLE_NAME": TABLE,
}
# Variables of the machine that would affect the measurements.
_REMOVED_PREFIXES = (
    "AWS_",
    "TELLWIRE_",
    "COGNITO_",
    "SSL_",
    "PYTHONDONTWRITEBYTECODE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
)
_STOP_SECONDS = 10.0
_CONNECTED_AGO_SECONDS = 60
_LASTS_SECONDS = 7_000


@dataclass(frozen=True, slots=True)
class Received:
    """Posts since the last query: their number, bytes of body, number of ids, and fewest and most per id."""

    posts: int
    bytes: int
    ids: int
    fewest: int
    most: int


class FakeAws:
    """A running server with this many rows. Each response comes `delay_ms` after its request."""

    def __init__(self, cores: machine.Cores, rows: int, delay_ms: int = 0) -> None:
        self._cores = cores
        self._rows = rows
        self._delay_ms = delay_ms
        self.url = ""

    def __enter__(self) -> Self:
        command = [str(compile_source("fake_aws.c")), str(self._delay_ms)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            machine.pin(self._process.pid, self._cores.server)
            machine.require_core(self._process.pid, self._cores.server)
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(_query_answer(self._rows))
            self._process.stdin.close()
            self.port = int(self._process.stdout.readline())
        except BaseException:
            self._stop()
            raise
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    @property
    def environment(self) -> dict[str, str]:
        """The environment with which a client of AWS uses this server."""
        return environment(AWS_ENDPOINT_URL_DYNAMODB=self.url, WEBSOCKET_API_ENDPOINT=f"{self.url}/{STAGE}")

    @property
    def cpu_seconds(self) -> float:
        """CPU time of the process so far."""
        return machine.cpu_seconds(self._process.pid)

    def received(self) -> Received:
        """Return the posts since the last call, and reset the counters."""
        with urllib.request.urlopen(f"{self.url}/received", timeout=_STOP_SECONDS) as answer:
            return Received(**json.load(answer))

    def expect(self, posts: int, payload_bytes: int) -> None:
        """Check that this many connections received exactly one message each since the last call.

        Raises:
            LoadError: a connection received none, several, or an incomplete one.
        """
        got = self.received()
        if got != (expected := Received(posts, posts * payload_bytes, posts, 1, 1)):
            raise LoadError(f"the server should have received {expected}; it has {got}")

    def _stop(self) -> None:
        self._process.terminate()
        self._process.wait(_STOP_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()


def environment(**settings: str) -> dict[str, str]:
    """Return the environment of a Lambda function's process, without this machine's own configuration."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(_REMOVED_PREFIXES)}
    return {**kept, **_CREDENTIALS, **_SETTINGS, **settings}


def connection_ids(count: int) -> list[str]:
    """Return ids in API Gateway's form, with their number in the digits that the server reads."""
    return [f"JKt5d{number:06}oAMCJ3w=" for number in range(count)]


def post_request(connection_id: str, payload: bytes) -> bytes:
    """Return a minimal post as bytes, to measure the speed of the server itself."""
    path = f"/{STAGE}/@connections/{connection_id.replace('=', '%3D')}"
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(payload)}\r\n\r\n".encode() + payload


def _query_answer(rows: int) -> bytes:
    now = int(time.time())
    items: list[dict[str, Any]] = [
        {
            "userId": {"S": USER},
            "connectionId": {"S": connection_id},
            "connectedAt": {"N": str((now - _CONNECTED_AGO_SECONDS) * 1000)},
            "expiresAt": {"N": str(now + _LASTS_SECONDS)},
            "tokenExpiresAt": {"N": str(now + _LASTS_SECONDS)},
        }
        for connection_id in connection_ids(rows)
    ]
    page = {"Count": rows, "Items": items, "ScannedCount": rows}
    body = json.dumps(page, separators=(",", ":")).encode()
    head = (
        "HTTP/1.1 200 OK\r\nServer: Server\r\nDate: Mon, 23 Nov 2026 14:15:07 GMT\r\n"
        f"Content-Type: application/x-amz-json-1.0\r\nContent-Length: {len(body)}\r\nConnection: keep-alive\r\n"
        f"x-amzn-RequestId: {52 * 'V'}\r\nx-amz-crc32: {zlib.crc32(body)}\r\n\r\n"
    )
    return head.encode() + body
