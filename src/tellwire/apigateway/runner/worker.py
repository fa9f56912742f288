"""Python's runtime: the process that runs a function's handlers, with its own environment, modules and directory.

Two functions of a template may both be named `app`, and read different values from the same variable; on Lambda they
are isolated, so they are here.

It takes invocations from Lambda's Runtime API (see `runtime_api`), one after the other, and runs them in its main
thread, as Lambda's own runtime does: only there a handler may ask asyncio for its event loop.
"""

import contextlib
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

from tellwire.apigateway.runner.handlers import Handler, HandlerFailed, HandlerName, call_handler, load_handler
from tellwire.apigateway.runner.hosts import lead_hosts_here
from tellwire.apigateway.runner.invocation import Invocation, LambdaContext
from tellwire.errors import ConfigError

_PIECE_BYTES: Final = 64 * 1024


class RuntimeClient:
    """A connection to the Runtime API.

    Of HTTP it knows what that API says. `http.client` takes a millisecond to do the same.
    """

    def __init__(self, address: str) -> None:
        self._authority, _, secret = address.partition("/")
        host, _, port = self._authority.rpartition(":")
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._root = f"/{secret}/2018-06-01/runtime"
        self._unread = bytearray()

    def next(self) -> tuple[bytes, Mapping[str, str]]:
        """Wait for an invocation; return its event, and its headers by their names in lower case."""
        return self._ask("GET", "/invocation/next", b"")

    def post(self, path: str, body: bytes) -> None:
        """Post a result or an error."""
        self._ask("POST", path, body)

    def _ask(self, method: str, path: str, body: bytes) -> tuple[bytes, Mapping[str, str]]:
        head = f"{method} {self._root}{path} HTTP/1.1\r\nHost: {self._authority}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._socket.sendall(head.encode() + body)
        while (end := self._unread.find(b"\r\n\r\n")) < 0:
            self._receive()
        lines = self._unread[:end].decode("latin-1").split("\r\n")[1:]
        del self._unread[: end + 4]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        size = int(headers["content-length"])
        while len(self._unread) < size:
            self._receive()
        answer = bytes(self._unread[:size])
        del self._unread[:size]
        return answer, headers

    def _receive(self) -> None:
        data = self._socket.recv(_PIECE_BYTES)
        if not data:
            raise ConnectionResetError("the Runtime API is gone")
        self._unread += data


class Worker:
    """The runtime of one function."""

    def __init__(self, client: RuntimeClient, variables: Mapping[str, str]) -> None:
        self._client = client
        self._function_name = variables["AWS_LAMBDA_FUNCTION_NAME"]
        self._memory_mb = int(variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"])
        self._handler_name = variables["_HANDLER"]
        self._code_dir = variables["LAMBDA_TASK_ROOT"]
        self._log_stream = variables["AWS_LAMBDA_LOG_STREAM_NAME"]

    def run(self) -> None:
        """Run invocations until the Runtime API is gone, or exit because the code cannot be loaded."""
        handler = self._load()
        while True:
            self._work(handler, *self._client.next())

    def _load(self) -> Handler:
        try:
            return load_handler(HandlerName.parse(self._handler_name), self._code_dir)
        except ConfigError as error:
            print(f"[ERROR] {error}", file=sys.stderr)  # noqa: T201 - the log
            self._client.post("/init/error", _encoded(HandlerFailed("Runtime.ImportModuleError", str(error))))
            sys.exit(1)

    def _work(self, handler: Handler, event: bytes, headers: Mapping[str, str]) -> None:
        request_id = headers["lambda-runtime-aws-request-id"]
        os.environ["_X_AMZN_TRACE_ID"] = headers["lambda-runtime-trace-id"]
        context = LambdaContext(self._invocation(request_id, headers), self._log_stream)
        try:
            path, body = "response", call_handler(handler, event, context)
        except HandlerFailed as error:
            path, body = "error", _encoded(error)
        self._client.post(f"/invocation/{request_id}/{path}", body)

    def _invocation(self, request_id: str, headers: Mapping[str, str]) -> Invocation:
        seconds = int(headers["lambda-runtime-deadline-ms"]) / 1000 - time.time()
        _, _, _, region, _, _, _, *qualifier = headers["lambda-runtime-invoked-function-arn"].split(":")
        return Invocation(
            self._function_name,
            seconds,
            self._memory_mb,
            region,
            request_id,
            qualifier[0] if qualifier else "",
            headers.get("lambda-runtime-client-context"),
        )


def _encoded(failure: HandlerFailed) -> bytes:
    return json.dumps(failure.payload).encode()


def _take(variables: Any, name: str) -> str:
    value: str = variables.pop(name)
    return value


def main() -> None:
    """Run as a worker process."""
    lead_hosts_here()
    sys.path[:0] = json.loads(_take(os.environ, "TELLWIRE_IMPORT_PATHS"))
    # As Lambda's: warnings and above, unless the function says otherwise.
    logging.basicConfig(format="[%(levelname)s]\t%(name)s\t%(message)s")
    # The connection ends with `tellwire local`, and so does this process.
    with contextlib.suppress(OSError):
        Worker(RuntimeClient(os.environ["AWS_LAMBDA_RUNTIME_API"]), os.environ).run()


if __name__ == "__main__":
    main()
