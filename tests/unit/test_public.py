"""The public surface: one set of names, documented, with docstrings that name every error that can leave."""

import importlib
import inspect
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import tellwire
import tellwire.sync
from tellwire import errors
from tellwire.errors import AwsUnreachable, ConfigError, GatewayRefused, HistoryUnavailable, TellwireError
from tellwire.testing import MemoryCarrier

ROOT = Path(__file__).parents[2]
PUBLIC = (
    "tellwire",
    "tellwire.sync",
    "tellwire.client",
    "tellwire.testing",
    "tellwire.aws",
    "tellwire.celery",
    "tellwire.django",
    "tellwire.aws.handlers",
    "tellwire.aws.sync",
    "tellwire.infra",
)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("README.md"))]
_IMPORT = re.compile(r"from (tellwire[\w.]*) import (?:\(([^)]*)\)|([^\n`;']+))")

HELLO = tellwire.create_notification_message("Hello", "World", "info")


def public_names(module: str) -> set[str]:
    loaded = importlib.import_module(module)
    return set(loaded.__all__)


def test_synchronous_code_has_the_same_names() -> None:
    assert public_names("tellwire.sync") == public_names("tellwire")


@pytest.mark.parametrize("module", ["tellwire", "tellwire.sync"])
def test_every_public_name_is_there_and_no_other(module: str) -> None:
    loaded = importlib.import_module(module)
    assert all(hasattr(loaded, name) for name in loaded.__all__)
    with pytest.raises(AttributeError):
        _ = loaded.no_such_name


def test_an_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'uvicorn'", name="uvicorn")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ModuleNotFoundError, match=r"tellwire\.Node needs uvicorn: pip install 'tellwire\[gateway\]'"):
        _ = tellwire.Node


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_import_public_names_only(page: Path) -> None:
    for module, in_brackets, on_line in _IMPORT.findall(page.read_text()):
        assert module in PUBLIC, f"from {module} import …"
        names = {each.split(" as ")[0].strip() for each in (in_brackets or on_line).split(",")} - {""}
        assert names <= public_names(module), (module, names)


def test_every_public_name_is_in_the_documentation() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    missing = [name for name in tellwire.__all__ if not re.search(rf"\b{re.escape(name)}\b", text)]
    assert missing == ["__version__"]


def test_every_error_that_a_page_names_can_be_imported() -> None:
    public = set().union(*(public_names(module) for module in PUBLIC))
    known = {
        name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, TellwireError)
    }
    for page in PAGES:
        named = set(re.findall(r"`(?:tellwire\.)?([A-Z]\w+)`", page.read_text())) & known
        assert named <= public, (page, named - public)


@pytest.mark.parametrize(
    "name", ["HistoryUnavailable", "AwsUnreachable", "AwsRefused", "GatewayRefused", "CannotRunHere"]
)
def test_every_error_of_a_publish_is_exported(name: str) -> None:
    assert getattr(tellwire, name) is getattr(tellwire.sync, name) is getattr(errors, name)
    exported = {each for each in public_names("tellwire") if inspect.isclass(getattr(tellwire, each))}
    assert {each.__name__ for each in errors.PublishError.__subclasses__()} <= exported


@pytest.mark.parametrize("module", ["tellwire", "tellwire.sync"])
def test_every_public_function_and_class_has_a_docstring(module: str) -> None:
    loaded = importlib.import_module(module)
    for name in loaded.__all__:
        value = getattr(loaded, name)
        if inspect.isfunction(value) or inspect.isclass(value):
            assert (value.__doc__ or "").strip(), name


# --- Raises -----------------------------------------------------------------------------------------------------------


def raises(function: Any) -> set[type[BaseException]]:
    """Return the errors that a docstring names, also those of the function that it refers to."""
    text = inspect.getdoc(function) or ""
    if referred := re.search(r"Raises the same errors as `(\w+)`|See `(?:tellwire\.)?(\w+)`", text):
        return raises(getattr(tellwire, referred[1] or referred[2]))
    _, _, section = text.partition("Raises:\n")
    names = re.findall(r"^ {4}(\w+):", section.partition("\n\n")[0], re.MULTILINE)
    return {getattr(errors, name) for name in names}


class Failing(MemoryCarrier):
    """A carrier that fails with one error."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


PROVOCATIONS: dict[str, tuple[Any, Any]] = {
    "no user": ("", HELLO),
    "no message": ("user-1", {"type": "notification"}),
    "what JSON cannot carry": ("user-1", tellwire.create_message("note", object())),
    "a message that is too big": ("user-1", tellwire.create_message("note", "x" * 140_000)),
}


async def caught(call: Callable[[], Any]) -> BaseException:
    with pytest.raises(Exception) as error:
        result = call()
        if isinstance(result, Awaitable):
            await result
    return error.value


def is_named(error: BaseException, function: Any) -> bool:
    return any(isinstance(error, each) for each in raises(function))


@pytest.mark.parametrize("provocation", PROVOCATIONS)
@pytest.mark.parametrize("broadcast", [tellwire.broadcast_to_user, tellwire.broadcast_to_connection])
async def test_a_broadcast_names_the_errors_of_its_arguments(broadcast: Any, provocation: str) -> None:
    with tellwire.use_broadcaster(tellwire.Broadcaster(MemoryCarrier())):
        error = await caught(lambda: broadcast(*PROVOCATIONS[provocation]))
    assert is_named(error, broadcast), error


@pytest.mark.parametrize(
    ("broadcast", "arguments"),
    [
        (tellwire.broadcast_to_user, ("user-1", HELLO)),
        (tellwire.broadcast_to_connection, ("c", HELLO)),
        (tellwire.broadcast_to_connections, (("c",), HELLO)),
        (tellwire.broadcast_to_all, (HELLO,)),
    ],
)
@pytest.mark.parametrize(
    "error",
    [
        GatewayRefused(401, "API_KEY_WRONG", "no"),
        errors.GatewayUnreachable("http://gateway", "away"),
        AwsUnreachable("DynamoDB Query", "away"),
        errors.AwsRefused("DynamoDB Query", 400, "AccessDeniedException", "no"),
        HistoryUnavailable("no disk"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_broadcast_names_the_errors_of_its_carrier(
    error: TellwireError, broadcast: Any, arguments: tuple[Any, ...]
) -> None:
    with tellwire.use_broadcaster(tellwire.Broadcaster(Failing(error))):
        raised = await caught(lambda: broadcast(*arguments))
    assert is_named(raised, broadcast), raised


async def test_without_a_gateway_the_error_is_named() -> None:
    error = await caught(lambda: tellwire.broadcast_to_user("user-1", HELLO))
    assert isinstance(error, ConfigError)
    assert is_named(error, tellwire.broadcast_to_user)


NOBODY = tellwire.Broadcaster(MemoryCarrier())
WRONG_CALLS: list[tuple[Any, Callable[[], Any]]] = [
    (tellwire.track_upload, lambda: tellwire.track_upload("u", "", "f.csv")),
    (tellwire.track_upload, lambda: tellwire.track_upload("u", "m", "f.csv", -1)),
    (tellwire.track_upload, lambda: tellwire.track_upload("u", "m", "f.csv")),
    (
        tellwire.track_upload,
        lambda: tellwire.track_upload("", "m", "f.csv", broadcaster=tellwire.Broadcaster(MemoryCarrier())),
    ),
    (tellwire.create_message, lambda: tellwire.create_message("ping", 1)),
    (tellwire.create_error_message, lambda: tellwire.create_error_message("", "x")),
    (tellwire.create_notification_message, lambda: tellwire.create_notification_message("", "x", "info")),
    (tellwire.create_upload_progress_message, lambda: tellwire.create_upload_progress_message("u", "f", 101, "")),
    (tellwire.mint_token, lambda: tellwire.mint_token("short", "u")),
    (tellwire.HttpCarrier, lambda: tellwire.HttpCarrier("gateway:8787")),
    (tellwire.HttpCarrier, lambda: tellwire.HttpCarrier("http://gateway", "two words")),
    (tellwire.Node, lambda: tellwire.Node(tellwire.Settings())),
    (tellwire.Target, lambda: tellwire.Target()),
    (tellwire.Target, lambda: tellwire.Target(user="u", all=True)),
]


@pytest.mark.parametrize(("function", "call"), WRONG_CALLS)
async def test_a_wrong_argument_raises_a_named_error(function: Any, call: Callable[[], Any]) -> None:
    error = await caught(call)
    assert is_named(error, function), error


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("update", {"rows": -1}),
        ("update", {"message": 5}),
        ("update", {"bytes_read": 1.5}),
    ],
)
async def test_the_methods_of_an_upload_name_their_errors(method: str, arguments: dict[str, Any]) -> None:
    async with tellwire.track_upload("u", "m", "f.csv", broadcaster=tellwire.Broadcaster(MemoryCarrier())) as upload:
        function = getattr(upload, method)
        assert is_named(await caught(lambda: function(**arguments)), function)
