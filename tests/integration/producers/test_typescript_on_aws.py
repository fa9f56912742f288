"""A TypeScript Lambda that publishes through the broadcaster function: `examples/producers/aws` on this machine."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from websockets.sync.client import connect

from tests.conftest import SECRET, token_for
from tests.tools import SECONDS, require, require_module

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "producers" / "aws"
PAGE = ROOT / "docs" / "how-to" / "aws-broadcast-function.md"
PUBLISH = {
    "target": {"user": "user-1"},
    "message": {"type": "notification", "data": {"title": "Hello", "message": "Signed", "severity": "info"}},
}


@dataclass
class Local:
    """A running `tellwire local`."""

    websocket: str
    services: str
    url: str

    def client(self, service: str = "lambda") -> Any:
        return boto3.client(
            service,
            endpoint_url=self.services,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )

    def invoke(self, function: str, event: Any) -> Any:
        answer = self.client().invoke(FunctionName=function, Payload=json.dumps(event))
        result = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, result
        return result

    def post(self, path: str, body: bytes, *, is_signed: bool = True) -> httpx.Response:
        request = AWSRequest("POST", f"{self.url}{path}", {"Content-Type": "application/json"}, body)
        if is_signed:
            SigV4Auth(Credentials("local", "local"), "lambda", "us-east-1").add_auth(request)
        return httpx.post(request.url, content=body, headers=dict(request.headers), timeout=SECONDS)


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    require("node")
    require_module(EXAMPLE, "aws4fetch")
    log = tmp_path / "log"
    command = (sys.executable, "-m", "tellwire", "local", "--port", "0", "--template", str(EXAMPLE))
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            [*command, "--parameter", f"JwtSecret={SECRET}"],
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TELLWIRE_"))},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            banner = ""
            while "$default" not in banner:
                line = process.stdout.readline()
                assert line, log.read_text()
                banner += line
            (websocket,) = re.findall(r"websocket +(\S+)", banner)
            (services,) = re.findall(r"services +(\S+)", banner)
            (url,) = re.findall(r"BroadcastFunction has the URL (\S+)", banner)
            yield Local(websocket, services, url)
        finally:
            process.terminate()


@pytest.mark.long
def test_a_typescript_function_tells_a_user_by_invoke_and_by_a_signed_request(local: Local) -> None:
    with connect(f"{local.websocket}?token={token_for()}", proxy=None) as device:
        for way in ("invoke", "post"):
            delivery = local.invoke("NotifyFunction", {"userId": "user-1", "jobId": f"job-{way}", "way": way})
            assert delivery["delivered"] == 1
            message = json.loads(device.recv(SECONDS))
            assert (message["id"], message["data"]["message"]) == (f"job-{way}", f"By {way}")
        # The same job again is no second notification.
        local.invoke("NotifyFunction", {"userId": "user-1", "jobId": "job-post", "way": "post"})
        assert local.invoke("BroadcastFunction", {"target": {}, "message": {}})["status"] == 400
        signed = local.post("v1/publish", json.dumps(PUBLISH).encode())
        assert (signed.status_code, signed.json()["delivered"]) == (200, 1)
        assert json.loads(device.recv(SECONDS))["data"]["message"] == "Signed"
    assert local.post("v1/publish", json.dumps(PUBLISH).encode(), is_signed=False).status_code == 403
    lines = "\n".join([json.dumps(PUBLISH), "{}"]).encode()
    batch = local.post("v1/publish/batch", lines)
    assert batch.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line).get("status") for line in batch.text.splitlines()] == [None, 400]
    assert local.post("v1/connections", b"").status_code == 404


def test_the_page_shows_parts_of_the_program_that_runs() -> None:
    program = (EXAMPLE / "notify.ts").read_text()
    snippets = re.findall(r"```ts\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert snippets
    for snippet in snippets:
        assert snippet in program, snippet


@pytest.mark.long
def test_the_program_is_typed() -> None:
    tsc = require_module(EXAMPLE.parent / "typescript", "typescript").parent / ".bin" / "tsc"
    require_module(EXAMPLE, "aws4fetch")
    done = subprocess.run([str(tsc), "-p", str(EXAMPLE)], capture_output=True, text=True, timeout=110, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.long
def test_cfn_lint_has_nothing_to_say_about_the_template() -> None:
    cfn_lint = str(Path(sys.executable).with_name("cfn-lint"))
    template = str(EXAMPLE / "template.yaml")
    done = subprocess.run([cfn_lint, template], capture_output=True, text=True, timeout=110, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
