"""Python handlers: found by name, and called as Lambda calls them.

In: an event as JSON. Out: the handler's result as JSON, or `HandlerFailed` after its traceback is on the terminal.
"""

import importlib
import inspect
import json
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NoReturn

from tellwire.apigateway.runner.invocation import LambdaContext
from tellwire.apigateway.runner.log_tail import LogTail
from tellwire.apigateway.runner.output import tagged
from tellwire.errors import ConfigError

Handler = Callable[[Any, Any], Any]


class HandlerFailed(Exception):
    """An invocation ended without a result. Its fields are Lambda's `errorType` and `errorMessage`.

    `payload` is the object that Lambda answers an Invoke with: both, and a trace if there is one.
    """

    def __init__(self, error_type: str, message: str, payload: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{error_type}: {message}")
        self.error_type = error_type
        self.message = message
        self.payload = dict(payload or {"errorType": error_type, "errorMessage": message})

    @classmethod
    def of(cls, error: BaseException) -> "HandlerFailed":
        """Return the failure for an exception of a handler, even if its `str()` fails."""
        try:
            message = str(error)
        except Exception:  # noqa: BLE001 - a handler's own exception may do anything
            message = "<exception str() failed>"
        name, text = type(error).__name__, _encodable(message)
        trace = [_encodable(line) for line in traceback.format_tb(_from_handler(error))]
        return cls(name, text, {"errorMessage": text, "errorType": name, "stackTrace": trace})


@dataclass(frozen=True, slots=True)
class HandlerName:
    """The name of a handler: `package.module:handler`, or in Lambda's form `package/module.handler`."""

    module: str
    attribute: str

    @classmethod
    def parse(cls, name: str) -> "HandlerName":
        """Parse either form.

        Raises:
            ConfigError: the name has neither form.
        """
        module, separator, attribute = name.partition(":") if ":" in name else name.rpartition(".")
        module = module.replace("/", ".")
        if not separator or not attribute.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
            raise ConfigError(f"handler: got {name!r}; allowed: package.module:handler or package/module.handler")
        return cls(module, attribute)

    def __str__(self) -> str:
        return f"{self.module}:{self.attribute}"


class ModuleFailed(ConfigError):
    """A handler's module raised an exception while it was imported. Its traceback is on the terminal."""


def load_handler(name: HandlerName, where: str = "the working directory or PYTHONPATH") -> Handler:
    """Import a handler's module and return the handler. `where` names the searched directories in errors.

    Raises:
        ConfigError: there is no such module, or it has no callable of that name.
        ModuleFailed: the module raised an exception.
    """
    try:
        module = importlib.import_module(name.module)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and f"{name.module}.".startswith(f"{error.name}."):
            raise ConfigError(f"handler {name}: there is no module {error.name!r} in {where}") from error
        _log(_handler_traceback(error))
        raise ModuleFailed(f"handler {name}: importing {name.module} failed: {type(error).__name__}: {error}") from None
    handler = getattr(module, name.attribute, None)
    if not callable(handler):
        there = sorted(key for key, value in vars(module).items() if inspect.isfunction(value) and key[0] != "_")
        raise ConfigError(
            f"handler {name}: {name.module} has no {name.attribute}(); it has {', '.join(there) or 'none'}"
        )
    found: Handler = handler
    return found


class Modules:
    """The modules of handlers that run in this process, which can be imported again.

    A module that fails is imported once, however many handlers are in it, so its traceback is printed once.
    """

    def __init__(self) -> None:
        self._failed: dict[str, ModuleFailed] = {}

    def load(self, name: HandlerName) -> Handler:
        """Return a handler, as `load_handler` does."""
        if name.module in self._failed:
            raise self._failed[name.module]
        try:
            return load_handler(name)
        except ModuleFailed as error:
            self._failed[name.module] = error
            raise

    def forget(self, roots: Iterable[Path]) -> None:
        """Forget the project's modules, so that the next import reads their files. Installed packages stay."""
        self._failed.clear()
        for name, module in list(sys.modules.items()):
            if name != "__main__" and any(_is_own(path, name, root) for path in _paths(module) for root in roots):
                del sys.modules[name]
        importlib.invalidate_caches()


def _paths(module: ModuleType) -> list[Path]:
    # A directory without __init__.py is a package without a file.
    file = getattr(module, "__file__", None)
    return [Path(file)] if file is not None else [Path(path) for path in getattr(module, "__path__", ())]


def _is_own(file: Path, module: str, root: Path) -> bool:
    return file.is_relative_to(root) and "site-packages" not in file.parts and module.partition(".")[0] != "tellwire"


def call_handler(handler: Handler, event: bytes, context: LambdaContext, tail: LogTail | None = None) -> bytes:
    """Call a handler as Lambda does, with its own copy of the event, and return its result as JSON.

    Raises:
        HandlerFailed: it raised an exception, called exit, or its result is not JSON.
    """
    with tagged(f"{context.function_name} {context.aws_request_id}", tail):
        try:
            result = handler(json.loads(event), context)
        except BaseException as error:  # noqa: BLE001 - a handler may raise anything, SystemExit included
            _fail(error)
        if inspect.iscoroutine(result):
            result.close()
            _log("[ERROR] the handler is a coroutine function, and Lambda does not await: wrap it with asyncio.run")
        try:
            # Without NaN and unpaired surrogates, which other JSON parsers refuse.
            return json.dumps(result, default=_to_json, allow_nan=False, ensure_ascii=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            _log(f"[ERROR] Runtime.MarshalError: Unable to marshal response: {error}")
            raise HandlerFailed("Runtime.MarshalError", str(error)) from None


def _fail(error: BaseException) -> NoReturn:
    failed = HandlerFailed.of(error)
    _log(f"[ERROR] {failed}\n{_handler_traceback(error)}")
    raise failed from None


def _handler_traceback(error: BaseException) -> str:
    """Return a traceback that begins in the handler's code, without our frames and the import system's."""
    return "".join(traceback.format_exception(type(error), error, _from_handler(error))).rstrip()


def _from_handler(error: BaseException) -> TracebackType | None:
    trace = error.__traceback__
    while trace is not None and _is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def _is_ours(file: str) -> bool:
    return file.startswith("<frozen importlib") or file in (__file__, importlib.__file__)


def _log(text: str) -> None:
    print(_encodable(text), file=sys.stderr)  # noqa: T201 - standard error is the log


def _encodable(text: str) -> str:
    """Return text that can be encoded: names of files that are not UTF-8 contain unpaired surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()


def _to_json(value: Any) -> Any:
    # As Lambda's own encoder: numbers from DynamoDB are Decimals.
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
