"""Lambda's Runtime API: the HTTP interface by which a runtime takes invocations and hands back their results.

    GET  /2018-06-01/runtime/invocation/next                     waits for an invocation
    POST /2018-06-01/runtime/invocation/<request id>/response    its result
    POST /2018-06-01/runtime/invocation/<request id>/error       its failure
    POST /2018-06-01/runtime/init/error                          the code cannot be loaded

Each process has a secret in front of these paths, and it comes with `AWS_LAMBDA_RUNTIME_API`: so no other program on
this machine can take the invocations of a function, or answer them.

Source: Lambda developer guide, "Using the Lambda runtime API for custom runtimes".
"""

import json
import secrets
from typing import Any, Final, Protocol

from tellwire.apigateway.runner.exchange import Exchange, LoopbackServer
from tellwire.apigateway.runner.handlers import HandlerFailed
from tellwire.limits import MAX_FUNCTION_RESULT_BYTES

_PREFIX: Final = "2018-06-01/runtime/"
_ACCEPTED: Final = b'{"status":"OK"}\n'
_ERROR_TYPE: Final = b"lambda-runtime-function-error-type"


class Runtime(Protocol):
    """The process behind a secret, as the Runtime API sees it."""

    def wants_next(self, exchange: Exchange) -> None:
        """Answer the exchange with the next invocation, once there is one."""
        ...

    def ends(self, request_id: str, outcome: bytes | HandlerFailed) -> bool:
        """End an invocation. Return False if it does not run here."""
        ...

    def cannot_start(self, failure: HandlerFailed) -> bool:
        """Fail, as the code cannot be loaded. Return False if it is loaded."""
        ...


class RuntimeApi:
    """The Runtime API for the processes of one function, each under its secret."""

    def __init__(self) -> None:
        self._server = LoopbackServer(self._receive)
        self._runtimes: dict[str, Runtime] = {}

    async def start(self) -> None:
        """Listen, unless it does."""
        await self._server.start()

    async def close(self) -> None:
        """End all waiting exchanges."""
        await self._server.close()

    def admit(self, runtime: Runtime) -> str:
        """Give a process its secret, and return its `AWS_LAMBDA_RUNTIME_API`."""
        secret = secrets.token_urlsafe(24)
        self._runtimes[secret] = runtime
        return f"{self._server.authority}/{secret}"

    def dismiss(self, runtime: Runtime) -> None:
        """Take nothing more from a process."""
        self._runtimes = {secret: each for secret, each in self._runtimes.items() if each is not runtime}

    def _receive(self, exchange: Exchange) -> None:
        secret, _, path = exchange.target.partition("?")[0].removeprefix("/").partition("/")
        runtime = self._runtimes.get(secret)
        if runtime is None:
            exchange.refuse(403, "Forbidden", "Only the runtime of a function may use this address")
            return
        match exchange.method, *path.removeprefix(_PREFIX).split("/"):
            case "GET", "invocation", "next":
                runtime.wants_next(exchange)
            case "POST", "invocation", request_id, "response":
                outcome = exchange.body if not exchange.is_too_big else _too_big()
                _acknowledge(exchange, request_id, is_known=runtime.ends(request_id, outcome))
            case "POST", "invocation", request_id, "error":
                _acknowledge(exchange, request_id, is_known=runtime.ends(request_id, read_failure(exchange)))
            case "POST", "init", "error":
                if runtime.cannot_start(read_failure(exchange)):
                    exchange.answer(202, _ACCEPTED)
                else:
                    exchange.refuse(403, "InvalidStateTransition", "Transition from Ready to InitError is not allowed")
            case _:
                exchange.refuse(404, "NotFound", f"{exchange.method}: not in the Runtime API, {_PREFIX}…")


def _acknowledge(exchange: Exchange, request_id: str, *, is_known: bool) -> None:
    if not is_known:
        exchange.refuse(400, "InvalidRequestID", f"Invalid request ID: {request_id:.40s}")
    elif exchange.is_too_big:
        exchange.refuse(413, "RequestEntityTooLarge", _too_big().message)
    else:
        exchange.answer(202, _ACCEPTED)


def read_failure(exchange: Exchange) -> HandlerFailed:
    """Return the failure that a runtime reports: JSON with `errorType` and `errorMessage`, and the type in a header."""
    try:
        told: Any = json.loads(exchange.body)
    except ValueError:
        told = None
    payload = told if isinstance(told, dict) else {}
    error_type = payload.get("errorType") or exchange.header(_ERROR_TYPE) or "Runtime.Unknown"
    return HandlerFailed(str(error_type), str(payload.get("errorMessage", "")), payload or None)


def _too_big() -> HandlerFailed:
    return HandlerFailed(
        "Function.ResponseSizeTooLarge",
        f"Response payload size exceeded maximum allowed payload size ({MAX_FUNCTION_RESULT_BYTES} bytes).",
    )
