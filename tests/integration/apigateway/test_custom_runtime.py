"""Custom runtimes: whatever speaks Lambda's Runtime API, as a shell script and a program in Go."""

import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tellwire.apigateway.definition import Function
from tellwire.apigateway.runner.environment_pool import EnvironmentPool
from tellwire.apigateway.runner.functions import DeployedFunction, Functions
from tellwire.apigateway.runner.handlers import HandlerFailed
from tellwire.apigateway.runner.runtimes import runtime_problem
from tellwire.ports import SystemClock
from tests.tools import require

SHELL = """#!/bin/sh
# As in Lambda's own tutorial: it stops when the Runtime API does.
set -eu
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
echo "loading $_HANDLER"
while true; do
  event=$(curl -sS -D headers-$$ "$api/invocation/next")
  id=$(sed -n 's/^[Ll]ambda-[Rr]untime-[Aa]ws-[Rr]equest-[Ii]d: *//p' headers-$$ | tr -d '\\r')
  echo "got $event" >&2
  case $event in
    '"fail"') curl -sS -X POST "$api/invocation/$id/error" -d '{"errorType": "Own.Kind", "errorMessage": "no"}' ;;
    '"die"') exit 5 ;;
    '"text"') curl -sS -X POST "$api/invocation/$id/response" -d 'no json' ;;
    *) curl -sS -X POST "$api/invocation/$id/response" -d "{\\"statusCode\\": 200, \\"body\\": $event}" ;;
  esac >/dev/null
done
"""

GO = """package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
)

func main() {
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/"
	for {
		next, err := http.Get(api + "next")
		if err != nil {
			os.Exit(1)
		}
		event, _ := io.ReadAll(next.Body)
		next.Body.Close()
		result, _ := json.Marshal(map[string]any{
			"body":     string(event),
			"arn":      next.Header.Get("Lambda-Runtime-Invoked-Function-Arn"),
			"deadline": next.Header.Get("Lambda-Runtime-Deadline-Ms"),
			"table":    os.Getenv("TABLE"),
		})
		id := next.Header.Get("Lambda-Runtime-Aws-Request-Id")
		done, err := http.Post(api+id+"/response", "application/json", bytes.NewReader(result))
		if err != nil {
			os.Exit(1)
		}
		done.Body.Close()
	}
}
"""

Invoke = Callable[[Any, str], Any]


@pytest.fixture
async def invoke(tmp_path: Path) -> AsyncIterator[Invoke]:
    """Invoke the function in the test's directory."""
    function = Function("one", "hello.handler", tmp_path, "provided.al2023")
    pool = EnvironmentPool(function, {"TABLE": "t"})
    functions = Functions({"one": DeployedFunction("one", pool, 30, 128)}, SystemClock(), "us-east-1")

    async def run(event: Any, request_id: str) -> Any:
        return await functions.invoke("one", event, request_id)

    yield run
    await functions.close()


def executable(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o755)


async def test_a_shell_script_is_a_runtime(invoke: Invoke, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    require("curl")
    executable(tmp_path / "bootstrap", SHELL)
    for number in range(2):
        assert await invoke("hi", f"id-{number}") == {"statusCode": 200, "body": "hi"}
    with pytest.raises(HandlerFailed, match=r"Own\.Kind: no"):
        await invoke("fail", "id-2")
    with pytest.raises(HandlerFailed, match="exit status 5"):
        await invoke("die", "id-3")
    with pytest.raises(HandlerFailed, match="the result is not JSON"):
        await invoke("text", "id-4")
    printed = capfd.readouterr().err
    assert "one INIT | loading hello.handler\n" in printed
    assert 'one id-1 | got "hi"\n' in printed


@pytest.fixture
def in_go(tmp_path: Path) -> None:
    """Build the program: the first time, Go compiles its HTTP library, too."""
    go = require("go")
    source = tmp_path / "source"
    source.mkdir()
    (source / "main.go").write_text(GO)
    subprocess.run(
        [go, "build", "-o", str(tmp_path / "bootstrap"), "main.go"],
        cwd=source,
        env=os.environ | {"CGO_ENABLED": "0"},
        check=True,
        capture_output=True,
    )


@pytest.mark.long
@pytest.mark.usefixtures("in_go")
async def test_a_program_in_go_is_a_runtime(invoke: Invoke) -> None:
    for number in range(2):
        result = await invoke({"n": number}, f"id-{number}")
        assert json.loads(result["body"]) == {"n": number}
        assert result["arn"] == "arn:aws:lambda:us-east-1:123456789012:function:one"
        assert int(result["deadline"]) > 0
        assert result["table"] == "t"


def test_without_a_bootstrap_that_can_be_run_a_function_is_left_out(tmp_path: Path) -> None:
    function = Function("one", "hello.handler", tmp_path, "provided.al2023")
    assert "its code has no file 'bootstrap'" in str(runtime_problem(function))
    (tmp_path / "bootstrap").write_text(SHELL)
    assert "not executable" in str(runtime_problem(function))
    (tmp_path / "bootstrap").chmod(0o755)
    assert runtime_problem(function) is None


async def test_a_bootstrap_that_is_no_program_is_a_failed_invocation(invoke: Invoke, tmp_path: Path) -> None:
    executable(tmp_path / "bootstrap", "\x7fELF but not for this machine")
    with pytest.raises(HandlerFailed, match="its process cannot be started"):
        await invoke("hi", "id")
