"""`tellwire local invoke`, in this process; its function runs in one of its own."""

import json
from pathlib import Path

import pytest

from tellwire.cli.app import run

TEMPLATE = """
Resources:
  Chat: {Type: AWS::ApiGatewayV2::Api, Properties: {ProtocolType: WEBSOCKET, RouteSelectionExpression: $request.body.a}}
  Worker:
    Type: AWS::Lambda::Function
    Properties: {Handler: app.handler, Runtime: python3.12, Code: ., Environment: {Variables: {WHO: world}}}
"""
APP = """
import os
def handler(event, context):
    if event.get("fail"):
        raise ValueError("as asked")
    return {"hello": os.environ["WHO"], "event": event, "name": context.function_name}
"""


@pytest.fixture
def event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    (tmp_path / "app.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "event.json"


def test_a_function_is_run_once_and_its_result_printed(event: Path, capsys: pytest.CaptureFixture[str]) -> None:
    event.write_text('{"n": 1}')
    assert run(["local", "invoke", "Worker", "--event", "event.json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"hello": "world", "event": {"n": 1}, "name": "Worker"}


def test_a_function_that_fails_ends_with_1_and_its_error(event: Path, capsys: pytest.CaptureFixture[str]) -> None:
    event.write_text('{"fail": true}')
    assert run(["local", "invoke", "Worker", "--event", "event.json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"errorType": "ValueError", "errorMessage": "as asked"}


@pytest.mark.parametrize(
    ("function", "text", "words"),
    [
        ("Worker", "{", "--event: event.json: not an event: "),
        ("Other", "{}", "function: got 'Other'; allowed: Worker"),
    ],
)
def test_a_mistake_is_named(
    event: Path, capsys: pytest.CaptureFixture[str], function: str, text: str, words: str
) -> None:
    event.write_text(text)
    assert run(["local", "invoke", function, "--event", "event.json"]) == 2
    assert words in capsys.readouterr().err
