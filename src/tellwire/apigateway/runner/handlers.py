"""Python handlers: found by name, and called as Lambda calls them.

In: an event as JSON. Out: what the handler returned as JSON, or `HandlerFailed` after its traceback is on the terminal.
"""

import importlib
import inspect
import json
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

from tellwire.apigateway.runner.invocation import Invocation, LambdaContext
from tellwire.apigateway.runner.output import tagged
from tellwire.errors import ConfigError

Handler = Callable[[Any, Any], Any]


class HandlerFailed(Exception):
    """An invocation ended without a result: the `errorType` and `errorMessage` that Lambda gives."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(f"{error_type}: {message}")
        self.error_type = error_type
        self.message = message

    @classmethod
    def of(cls, error: BaseException) -> "HandlerFailed":
        """Return the failure that an exception of the handler's is."""
        return cls(type(error).__name__, str(error))


@dataclass(frozen=True, slots=True)
class HandlerName:
    """Where a handler is: `package.module:handler`, or in Lambda's form `package/module.handler`."""

    module: str
    attribute: str

    @classmethod
    def parse(cls, name: str) -> "HandlerName":
        """Read either form.

        Raises:
            ConfigError: it is neither.
        """
        module, separator, attribute = name.partition(":") if ":" in name else name.rpartition(".")
        module = module.replace("/", ".")
        if not separator or not attribute.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
            raise ConfigError(f"handler: got {name!r}; allowed: package.module:handler or package/module.handler")
        return cls(module, attribute)

    def __str__(self) -> str:
        return f"{self.module}:{self.attribute}"


def load_handler(name: HandlerName) -> Handler:
    """Import a handler's module and return the handler.

    Raises:
        ConfigError: there is no such module, or nothing to call in it by that name.
        Exception: whatever the module raises while it is imported.
    """
    try:
        module = importlib.import_module(name.module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name.module}.".startswith(f"{error.name}."):
            raise
        raise ConfigError(
            f"handler {name}: there is no module {error.name!r} in the working directory or PYTHONPATH"
        ) from error
    handler = getattr(module, name.attribute, None)
    if not callable(handler):
        there = sorted(key for key, value in vars(module).items() if inspect.isfunction(value) and key[0] != "_")
        raise ConfigError(
            f"handler {name}: {name.module} has no {name.attribute}(); it has {', '.join(there) or 'none'}"
        )
    found: Handler = handler
    return found


def forget_modules_under(root: Path) -> None:
    """Let the next import read the project's files anew. What is installed in an environment stays."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is not None and name != "__main__":
            parts = Path(file).parts
            if Path(file).is_relative_to(root) and "site-packages" not in parts and "tellwire" not in name.split("."):
                del sys.modules[name]
    importlib.invalidate_caches()


def call_handler(handler: Handler, event: bytes, invocation: Invocation, context: LambdaContext) -> bytes:
    """Call a handler as Lambda does, with an event of its own, and return its result as JSON.

    Raises:
        HandlerFailed: it raised, asked to exit, or returned what is not JSON.
    """
    with tagged(f"{invocation.function_name} {invocation.request_id}"):
        try:
            result = handler(json.loads(event), context)
        except BaseException as error:  # noqa: BLE001 - a handler may raise anything, SystemExit included
            _fail(error)
        if inspect.iscoroutine(result):
            result.close()
            _tell("[ERROR] the handler is a coroutine function, and Lambda does not await: wrap it with asyncio.run")
        try:
            return json.dumps(result, default=_plain).encode()
        except (TypeError, ValueError) as error:
            _tell(f"[ERROR] Runtime.MarshalError: Unable to marshal response: {error}")
            raise HandlerFailed("Runtime.MarshalError", str(error)) from None


def _fail(error: BaseException) -> NoReturn:
    # Without the frame of ours that called the handler.
    trace = error.__traceback__.tb_next if error.__traceback__ is not None else None
    text = "".join(traceback.format_exception(type(error), error, trace)).rstrip()
    _tell(f"[ERROR] {type(error).__name__}: {error}\n{text}")
    raise HandlerFailed.of(error) from None


def _tell(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 - standard error is the log


def _plain(value: Any) -> Any:
    # As Lambda's own encoder: numbers from DynamoDB are Decimals.
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
