"""Clients that are generated from the OpenAPI document, in TypeScript and Go: the programs of `examples/producers`."""

import asyncio
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import API_KEY, Gateway, read
from tests.tools import SECONDS, require, require_module

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples" / "producers"
PAGE = ROOT / "docs" / "how-to" / "producers-in-other-languages.md"
SPEC = ROOT / "spec" / "openapi.json"


async def output_of(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Return the standard output of a program that succeeds."""
    program = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env=os.environ | environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(2 * SECONDS):
            out, err = await program.communicate()
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
    assert program.returncode == 0, f"{command[0]}: {out.decode()}{err.decode()}"
    return out.decode()


def of_gateway(gateway: Gateway) -> dict[str, str]:
    return {"TELLWIRE_URL": gateway.url, "TELLWIRE_API_KEY": API_KEY}


@pytest.mark.long
async def test_a_generated_client_in_typescript_publishes_and_meets_a_refusal(gateway: Gateway, tmp_path: Path) -> None:
    folder = tmp_path / "typescript"
    tools = require_module(EXAMPLES / "typescript", "openapi-typescript").parent
    shutil.copytree(EXAMPLES / "typescript", folder, ignore=shutil.ignore_patterns("node_modules", "dist", "*.d.ts"))
    (folder / "node_modules").symlink_to(tools)
    await output_of(require("npm"), "run", "-s", "generate", cwd=folder, TELLWIRE_OPENAPI=str(SPEC))
    await output_of(tools / ".bin" / "tsc", cwd=folder)
    async with gateway.device() as device:
        said = await output_of(require("node"), "dist/producer.js", "user-1", cwd=folder, **of_gateway(gateway))
        received = [await read(device) for _ in range(3)]
    assert said.splitlines() == [
        "delivered to 1",
        "batch: 2 answers",
        "connection of user-1",
        "refused: 400 INVALID_MESSAGE",
    ]
    assert received[0]["data"] == {"title": "Hello", "message": "From TypeScript", "severity": "info"}
    assert [each["data"] for each in received[1:]] == [{"row": 1}, {"row": 2}]


@pytest.mark.long
async def test_a_generated_client_in_go_publishes_and_meets_a_refusal(gateway: Gateway, tmp_path: Path) -> None:
    go, folder = require("go"), tmp_path / "go"
    shutil.copytree(EXAMPLES / "go", folder, ignore=shutil.ignore_patterns("*.gen.go"))
    generate = folder / "tellwire" / "generate.go"
    generate.write_text(generate.read_text().replace("../../../../spec/openapi.json", str(SPEC)))
    await output_of(go, "generate", "./...", cwd=folder)
    await output_of(go, "vet", "./...", cwd=folder)
    await output_of(go, "build", "-o", "producer", ".", cwd=folder)
    async with gateway.device() as device:
        said = await output_of(folder / "producer", "user-1", cwd=folder, **of_gateway(gateway))
        received = await read(device)
    assert said.splitlines() == ["delivered to 1", "connection of user-1", "refused: 400 INVALID_MESSAGE"]
    assert received["data"] == {"title": "Hello", "message": "From Go", "severity": "info"}


def test_the_page_shows_parts_of_the_programs_that_run() -> None:
    programs = [(EXAMPLES / "typescript" / "producer.ts").read_text(), (EXAMPLES / "go" / "main.go").read_text()]
    for language in ("ts", "go"):
        for snippet in re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL):
            assert any(snippet in program for program in programs), snippet


async def test_the_lines_of_curl_publish(gateway: Gateway, tmp_path: Path) -> None:
    (script,) = re.findall(r"```bash\n(curl .*?)```", PAGE.read_text(), re.DOTALL)
    require("curl")
    async with gateway.device() as device:
        said = await output_of(require("sh"), "-c", script, cwd=tmp_path, **of_gateway(gateway))
        received = await read(device)
    assert json.loads(said)["delivered"] == 1
    assert received["type"] == "notification"
