"""The worker process: one function, alone with its environment, its modules and its working directory.

Two functions of a template may both be called `app`, and read different values from the same variable; on Lambda they
never meet, so here they do not either.

On standard input one line of JSON per invocation comes in, on standard output one per result goes out, in the order in
which they are done. What handlers print goes to standard error.
"""

import logging
import os
import sys
import threading
import traceback
from typing import BinaryIO

import msgspec
from msgspec import Struct

from tellwire.apigateway.runner.handlers import Handler, HandlerFailed, HandlerName, call_handler, load_handler
from tellwire.apigateway.runner.invocation import Invocation, LambdaContext
from tellwire.apigateway.runner.output import tagged, tagged_streams
from tellwire.errors import ConfigError


class Setup(Struct, frozen=True):
    """The first line: what this process is for."""

    function_name: str
    handler: str
    log_stream: str
    import_paths: tuple[str, ...]


class Call(Struct, frozen=True):
    """Run the handler."""

    invocation: Invocation
    event: msgspec.Raw


class Result(Struct, frozen=True):
    """What became of it: `result`, or `error`, a type and a message."""

    request_id: str
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: tuple[str, str] | None = None


class Worker:
    """The loop of the process."""

    def __init__(self, commands: BinaryIO, results: BinaryIO) -> None:
        self._commands = commands
        self._results = results
        self._lock = threading.Lock()

    def run(self) -> None:
        """Work until the commands end."""
        setup = msgspec.json.decode(self._commands.readline(), type=Setup)
        sys.path[:0] = setup.import_paths
        handler = self._load(setup)
        decode = msgspec.json.Decoder(Call)
        for line in self._commands:
            work = threading.Thread(target=self._work, args=(setup, handler, decode.decode(line)), daemon=True)
            work.start()

    def _load(self, setup: Setup) -> Handler | HandlerFailed:
        # The tag also for what a module prints while it is imported.
        with tagged(f"{setup.function_name} INIT"):
            try:
                return load_handler(HandlerName.parse(setup.handler))
            except ConfigError as error:
                print(f"[ERROR] {error}", file=sys.stderr)  # noqa: T201 - the log
                return HandlerFailed("Runtime.ImportModuleError", str(error))
            except BaseException as error:  # noqa: BLE001 - a module may raise anything
                traceback.print_exc()
                return HandlerFailed.of(error)

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
        line = msgspec.json.encode(result) + b"\n"
        with self._lock:
            self._results.write(line)
            self._results.flush()


def main() -> None:
    """Be a worker process."""
    results = os.fdopen(os.dup(1), "wb")
    # Handlers print; so do libraries of theirs in C.
    os.dup2(2, 1)
    with tagged_streams():
        # As Lambda's: warnings and above, unless the function says otherwise.
        logging.basicConfig(format="[%(levelname)s]\t%(name)s\t%(message)s")
        Worker(sys.stdin.buffer, results).run()


if __name__ == "__main__":
    main()
