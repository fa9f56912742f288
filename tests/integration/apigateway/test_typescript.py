"""Handlers in TypeScript: built by the project's own esbuild, as SAM does."""

import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tellwire.apigateway.definition import Function
from tellwire.apigateway.runner.environment_pool import EnvironmentPool
from tellwire.apigateway.runner.handlers import HandlerFailed
from tellwire.apigateway.runner.invocation import Invocation
from tellwire.apigateway.runner.runtimes import runtime_problem
from tests.tools import require, require_module

CLIENTS = Path(__file__).parents[3] / "clients"

APP = """import { greeting } from "./greeting";

export const handler = async (event: string): Promise<string> => {
  if (event === "fail") throw new Error("mapped");
  return greeting(event);
};
"""

GREETING = "export function greeting(name: string): string { return `Hello, ${name}`; }\n"

MakePool = Callable[..., EnvironmentPool]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project with esbuild, and a function in it."""
    require("node")
    esbuild = require_module(CLIENTS, "esbuild")
    modules = tmp_path / "project" / "node_modules"
    modules.mkdir(parents=True)
    (modules / "esbuild").symlink_to(esbuild)
    code = tmp_path / "project" / "chat"
    code.mkdir()
    (code / "app.ts").write_text(APP)
    (code / "greeting.ts").write_text(GREETING)
    return code


@pytest.fixture
async def make_pool(project: Path) -> AsyncIterator[MakePool]:
    pools: list[EnvironmentPool] = []

    def make(handler: str = "app.handler", **options: Any) -> EnvironmentPool:
        pools.append(EnvironmentPool(Function("one", handler, project, "nodejs20.x", **options), {}))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.close()


async def run(pool: EnvironmentPool, event: Any) -> Any:
    environment = await pool.acquire()
    return json.loads(await environment.run(json.dumps(event).encode(), Invocation("one", 30, 128, "us-east-1", "id")))


async def test_a_handler_in_typescript_runs_and_its_errors_name_its_lines(make_pool: MakePool) -> None:
    pool = make_pool()
    assert await run(pool, "Ada") == "Hello, Ada"
    with pytest.raises(HandlerFailed) as caught:
        await run(pool, "fail")
    assert any("app.ts:4" in line for line in caught.value.payload["trace"])


async def test_a_handler_in_a_subdirectory_is_built_there(make_pool: MakePool, project: Path) -> None:
    (project / "src").mkdir()
    for name in ("app.ts", "greeting.ts"):
        (project / name).rename(project / "src" / name)
    assert await run(make_pool("src/app.handler"), "Grace") == "Hello, Grace"


async def test_options_of_sam_are_esbuilds(make_pool: MakePool, project: Path) -> None:
    source = project / "src"
    source.mkdir()
    for name in ("app.ts", "greeting.ts"):
        (project / name).rename(source / name)
    options = {
        "EntryPoints": ["src/app.ts"],
        "Format": "esm",
        "OutExtension": [".js=.mjs"],
        "Minify": True,
        "Target": "es2022",
        "Sourcemap": False,
        "Define": {"process.env.WHO": '"me"'},
        "MainFields": ["module", "main"],
        "External": ["@aws-sdk/*"],
    }
    assert await run(make_pool(build=options), "Grace") == "Hello, Grace"


async def test_code_that_is_built_already_is_taken_as_it_is(make_pool: MakePool, project: Path) -> None:
    (project / "app.js").write_text("exports.handler = async () => 'built before'")
    assert await run(make_pool(build={"EntryPoints": ["app.ts"]}), "Ada") == "built before"


async def test_a_reload_builds_it_again_and_a_mistake_is_told(
    make_pool: MakePool, project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pool = make_pool()
    assert await run(pool, "Ada") == "Hello, Ada"
    (project / "greeting.ts").write_text("export function greeting( {")
    await pool.reload()
    with pytest.raises(HandlerFailed, match="esbuild cannot build it"):
        await run(pool, "Ada")
    assert "one INIT | " in (printed := capfd.readouterr().err)
    assert "greeting.ts:1" in printed
    (project / "greeting.ts").write_text(GREETING.replace("Hello", "Welcome"))
    await pool.reload()
    assert await run(pool, "Ada") == "Welcome, Ada"
    directories = list(pool._directories)
    assert directories
    await pool.close()
    assert not any(directory.exists() for directory in directories)


def test_without_esbuild_the_function_is_left_out_with_the_remedy(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.parent / "node_modules" / "esbuild").unlink()
    function = Function("one", "app.handler", project, "nodejs20.x")
    node = Path(require("node")).parent
    alone = project.parent / "bin"
    alone.mkdir()
    (alone / "node").symlink_to(shutil.which("node", path=str(node)) or "")
    monkeypatch.setenv("PATH", str(alone))
    monkeypatch.chdir(project)
    problem = str(runtime_problem(function))
    assert "app.ts must be built" in problem
    assert "npm install --save-dev esbuild" in problem
    monkeypatch.setenv("PATH", str(project))
    assert "this machine has no node" in str(runtime_problem(function))
