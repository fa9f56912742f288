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
    call_handler,
    forget_modules_under,
    load_handler,
)
from tellwire.apigateway.runner.invocation import Invocation, LambdaContext, new_log_stream
from tellwire.errors import ConfigError

INVOCATION = Invocation("chat", 3, 512, "eu-west-1")


def call(handler: Any, event: Any = None) -> Any:
    context = LambdaContext(INVOCATION, new_log_stream())
    return json.loads(call_handler(handler, json.dumps(event).encode(), INVOCATION, context))


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


def test_a_handler_is_loaded_and_loaded_again_after_it_changed(project: Path) -> None:
    module, helper = project / "loaded_app.py", project / "loaded_helper.py"
    helper.write_text("VALUE = 1\n")
    module.write_text("from loaded_helper import VALUE\ndef handler(event, context):\n    return VALUE\n")
    name = HandlerName("loaded_app", "handler")
    assert call(load_handler(name)) == 1
    helper.write_text("VALUE = 22\n")
    assert call(load_handler(name)) == 1
    forget_modules_under(project)
    assert call(load_handler(name)) == 22
    forget_modules_under(project)


def test_forgetting_leaves_everything_else(project: Path) -> None:
    before = set(sys.modules)
    forget_modules_under(project)
    assert set(sys.modules) == before


def test_a_module_that_is_not_there(project: Path) -> None:
    for module in ("no_such_app", "no_such.app"):
        with pytest.raises(ConfigError, match="no module 'no_such"):
            load_handler(HandlerName(module, "handler"))


def test_a_module_that_needs_one_that_is_not_there_is_another_matter(project: Path) -> None:
    (project / "needy_app.py").write_text("import no_such_library\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
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


def test_what_is_no_json_cannot_be_returned(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HandlerFailed, match=r"Runtime\.MarshalError"):
        call(lambda event, context: {1, 2})
    assert "set is not JSON serializable" in capsys.readouterr().err


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


def test_every_invocation_has_an_id_of_its_own() -> None:
    assert len({Invocation("f", 1, 1, "r").request_id for _ in range(100)}) == 100
