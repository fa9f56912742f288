"""Handlers: found by name, called as Lambda calls them."""

import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tellwire.apigateway.runner.handlers import (
    HandlerFailed,
    HandlerName,
    ModuleFailed,
    Modules,
    call_handler,
    load_handler,
)
from tellwire.apigateway.runner.invocation import Invocation, LambdaContext, new_log_stream
from tellwire.errors import ConfigError

INVOCATION = Invocation("chat", 3, 512, "eu-west-1", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")


def call(handler: Any, event: Any = None) -> Any:
    context = LambdaContext(INVOCATION, new_log_stream())
    return json.loads(call_handler(handler, json.dumps(event).encode(), context))


@pytest.mark.parametrize(
    ("name", "module", "attribute"),
    [
        ("app:handler", "app", "handler"),
        ("pkg.app:handler", "pkg.app", "handler"),
        ("app.handler", "app", "handler"),
        ("pkg/sub/app.handler", "pkg.sub.app", "handler"),
        ("pkg.app.handler", "pkg.app", "handler"),
    ],
)
def test_both_forms_of_a_name(name: str, module: str, attribute: str) -> None:
    assert HandlerName.parse(name) == HandlerName(module, attribute)


@pytest.mark.parametrize(
    "name", ["", "app", "app:", ":handler", "app:a.b", "../app.handler", "a b:c", "app.py:", "a:b:c"]
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ConfigError, match="handler: got"):
        HandlerName.parse(name)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize("layout", ["module", "package", "namespace"])
def test_a_handler_is_loaded_and_loaded_again_after_it_changed(project: Path, layout: str) -> None:
    app, lib = f"loaded_app_{layout}", f"loaded_lib_{layout}"
    helper = project / lib / "util.py" if layout != "module" else project / f"{lib}.py"
    helper.parent.mkdir(exist_ok=True)
    if layout == "package":
        (helper.parent / "__init__.py").touch()
    helper.write_text("VALUE = 1\n")
    line = f"from {lib} import VALUE" if layout == "module" else f"from {lib}.util import VALUE"
    (project / f"{app}.py").write_text(f"{line}\ndef handler(event, context):\n    return VALUE\n")
    modules, name = Modules(), HandlerName(app, "handler")
    assert call(modules.load(name)) == 1
    helper.write_text("VALUE = 22\n")
    assert call(modules.load(name)) == 1
    modules.forget([project])
    assert call(modules.load(name)) == 22
    modules.forget([project])
    assert not [module for module in sys.modules if module.startswith("loaded_")]


def test_forgetting_leaves_everything_else(project: Path) -> None:
    before = set(sys.modules)
    Modules().forget([project])
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise ValueError('at import')\n", "ValueError: at import"),
        ("def f(:\n", "SyntaxError"),
        ("exit(3)\n", "SystemExit: 3"),
    ],
)
def test_a_module_that_fails_is_told_once_and_without_frames_of_ours(
    project: Path, code: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "failing_app.py").write_text(code)
    modules = Modules()
    for attribute in ("one", "two"):
        with pytest.raises(ModuleFailed, match="importing failing_app failed"):
            modules.load(HandlerName("failing_app", attribute))
    printed = capsys.readouterr().err
    assert printed.count(words) == 1
    assert "tellwire" not in printed
    assert "importlib" not in printed
    (project / "failing_app.py").write_text("def one(event, context): ...\n")
    modules.forget([project])
    modules.load(HandlerName("failing_app", "one"))
    modules.forget([project])


def test_a_module_that_is_not_there(project: Path) -> None:
    for module in ("no_such_app", "no_such.app"):
        with pytest.raises(ConfigError, match="no module 'no_such"):
            load_handler(HandlerName(module, "handler"))


def test_a_module_that_needs_one_that_is_not_there_is_another_matter(project: Path) -> None:
    (project / "needy_app.py").write_text("import no_such_library\n")
    with pytest.raises(ModuleFailed, match="ModuleNotFoundError: No module named 'no_such_library'"):
        load_handler(HandlerName("needy_app", "handler"))


def test_a_handler_that_is_not_there_names_those_that_are(project: Path) -> None:
    (project / "other_app.py").write_text(
        "def one(e, c): ...\ndef two(e, c): ...\ndef _three(e, c): ...\nhandler = 5\n"
    )
    with pytest.raises(ConfigError, match=r"has no handler\(\); it has one, two$"):
        load_handler(HandlerName("other_app", "handler"))


def test_a_handler_gets_an_event_of_its_own() -> None:
    def handler(event: Any, context: Any) -> Any:
        event["a"].append(1)
        return event

    event = {"a": [0]}
    assert call(handler, event) == {"a": [0, 1]}
    assert event == {"a": [0]}


def test_numbers_of_dynamodb_are_numbers() -> None:
    assert call(lambda event, context: {"n": Decimal("1.5")}) == {"n": 1.5}


@pytest.mark.parametrize(
    ("error", "error_type", "message"),
    [
        (ValueError("broken"), "ValueError", "broken"),
        (Exception("Unauthorized"), "Exception", "Unauthorized"),
        (SystemExit(3), "SystemExit", "3"),
        (KeyboardInterrupt(), "KeyboardInterrupt", ""),
    ],
)
def test_a_handler_that_raises(
    error: BaseException, error_type: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def handler(event: Any, context: Any) -> Any:
        raise error

    with pytest.raises(HandlerFailed) as caught:
        call(handler)
    assert (caught.value.error_type, caught.value.message) == (error_type, message)
    printed = capsys.readouterr().err
    assert f"[ERROR] {error_type}: {message}" in printed
    assert "in handler" in printed
    assert "call_handler" not in printed


def nested() -> Any:
    result: list[Any] = []
    for _ in range(100_000):
        result = [result]
    return result


@pytest.mark.parametrize("result", [{1, 2}, float("nan"), "half \ud800", object(), nested()], ids=type)
def test_what_is_no_json_cannot_be_returned(result: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HandlerFailed, match=r"Runtime\.MarshalError"):
        call(lambda event, context: result)
    assert "Unable to marshal response" in capsys.readouterr().err


class Unsayable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


@pytest.mark.parametrize("error", [Unsayable(), ValueError("half \ud800")])
def test_an_error_that_cannot_be_said_is_an_error_all_the_same(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    def handler(event: Any, context: Any) -> Any:
        raise error

    with pytest.raises(HandlerFailed) as caught:
        call(handler)
    assert caught.value.error_type == type(error).__name__
    caught.value.message.encode()
    assert "in handler" in capsys.readouterr().err


def test_a_coroutine_function_is_told_to_be_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    async def handler(event: Any, context: Any) -> Any: ...

    with pytest.raises(HandlerFailed, match=r"Runtime\.MarshalError"):
        call(handler)
    assert "asyncio.run" in capsys.readouterr().err


# --- context ----------------------------------------------------------------------------------------------------------


def test_the_context_is_lambdas() -> None:
    now = 100.0
    context = LambdaContext(INVOCATION, "stream", lambda: now)
    assert context.function_name == "chat"
    assert context.function_version == "$LATEST"
    assert context.invoked_function_arn == "arn:aws:lambda:eu-west-1:123456789012:function:chat"
    assert context.memory_limit_in_mb == "512"
    assert context.aws_request_id == INVOCATION.request_id
    assert context.log_group_name == "/aws/lambda/chat"
    assert context.log_stream_name == "stream"
    assert context.identity.cognito_identity_id is None
    assert context.client_context is None
    assert context.get_remaining_time_in_millis() == 3000
    now = 101.5
    assert context.get_remaining_time_in_millis() == 1500
    now = 104.0
    assert context.get_remaining_time_in_millis() == 0
