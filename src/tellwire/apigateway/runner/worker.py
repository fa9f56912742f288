"""The worker process of one function, with its own environment, modules and working directory.

Two functions of a template may both be named `app`, and read different values from the same variable; on Lambda they
are isolated, so they are here.

Standard input has one line of JSON per invocation, standard output one per result, in the order in which they end.
Output of handlers goes to standard error.
"""

import logging
import os
import sys
import threading
from typing import BinaryIO

import msgspec
from msgspec import Struct

from tellwire.apigateway.runner.handlers import Handler, HandlerFailed, HandlerName, call_handler, load_handler
from tellwire.apigateway.runner.invocation import Invocation, LambdaContext
from tellwire.apigateway.runner.output import tagged, tagged_streams
from tellwire.errors import ConfigError


class Setup(Struct, frozen=True):
    """The first line: the function to load."""

    function_name: str
    handler: str
    code_dir: str
    log_stream: str
    import_paths: tuple[str, ...]


class Call(Struct, frozen=True):
    """An invocation: run the handler with this event."""

    invocation: Invocation
    event: msgspec.Raw


class Result(Struct, frozen=True):
    """The outcome of a call: `result`, or `error` with a type and a message.

    The first one has no request id: it says that the handler is loaded.
    """

    request_id: str = ""
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: tuple[str, str] | None = None


class Worker:
    """The loop of the process."""

    def __init__(self, commands: BinaryIO, results: BinaryIO) -> None:
        self._commands = commands
        self._results = results
        self._lock = threading.Lock()

    def run(self) -> None:
        """Run calls until standard input ends."""
        setup = msgspec.json.decode(self._commands.readline(), type=Setup)
        sys.path[:0] = setup.import_paths
        handler = self._load(setup)
        self._send(Result())
        decode = msgspec.json.Decoder(Call)
        for line in self._commands:
            work = threading.Thread(target=self._work, args=(setup, handler, decode.decode(line)), daemon=True)
            work.start()

    def _load(self, setup: Setup) -> Handler | HandlerFailed:
        # Lines that a module prints while it is imported are tagged, too.
        with tagged(f"{setup.function_name} INIT"):
            try:
                return load_handler(HandlerName.parse(setup.handler), setup.code_dir)
            except ConfigError as error:
                print(f"[ERROR] {error}", file=sys.stderr)  # noqa: T201 - the log
                return HandlerFailed("Runtime.ImportModuleError", str(error))

    def _work(self, setup: Setup, handler: Handler | HandlerFailed, call: Call) -> None:
        invocation = call.invocation
        try:
            if isinstance(handler, HandlerFailed):
                raise handler
            context = LambdaContext(invocation, setup.log_stream)
            result = Result(
                invocation.request_id, msgspec.Raw(call_handler(handler, bytes(call.event), invocation, context))
            )
        except HandlerFailed as error:
            result = Result(invocation.request_id, error=(error.error_type, error.message))
        self._send(result)

    def _send(self, result: Result) -> None:
        line = msgspec.json.encode(result) + b"\n"
        with self._lock:
            self._results.write(line)
            self._results.flush()


def main() -> None:
    """Run as a worker process."""
    commands, results = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # Handlers print, and their child processes read: neither may use the pipes to the parent.
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - for its number
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    with tagged_streams():
        # As Lambda's: warnings and above, unless the function says otherwise.
        logging.basicConfig(format="[%(levelname)s]\t%(name)s\t%(message)s")
        Worker(commands, results).run()


if __name__ == "__main__":
    main()
