"""Functions in JavaScript: handlers of every kind, their context, their failures, and where packages come from."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tellwire.apigateway.definition import Function
from tellwire.apigateway.runner.environment_pool import EnvironmentPool
from tellwire.apigateway.runner.functions import DeployedFunction, Functions
from tellwire.apigateway.runner.handlers import HandlerFailed
from tellwire.apigateway.runner.invocation import Invocation
from tellwire.ports import SystemClock
from tests.tools import require, until

MakePool = Callable[..., EnvironmentPool]

pytestmark = pytest.mark.usefixtures("node")


@pytest.fixture
def node() -> str:
    return require("node")


@pytest.fixture
async def make_pool(tmp_path: Path) -> AsyncIterator[MakePool]:
    """Make functions of files: `make_pool({"app.js": "…"})`."""
    pools: list[EnvironmentPool] = []

    def make(files: dict[str, str], handler: str = "app.handler", **options: Any) -> EnvironmentPool:
        code = tmp_path / "code"
        write(code, files)
        variables = options.pop("variables", {})
        function = Function("one", handler, code, **({"runtime": "nodejs20.x"} | options))
        pools.append(EnvironmentPool(function, variables))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.close()


def write(directory: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


async def run(pool: EnvironmentPool, event: Any = None, request_id: str = "id", seconds: float = 30) -> Any:
    environment = await pool.acquire()
    invocation = Invocation("one", seconds, 128, "us-east-1", request_id, client_context='{"custom": {"a": 1}}')
    return json.loads(await environment.run(json.dumps(event).encode(), invocation))


@pytest.mark.parametrize(
    ("files", "handler", "result"),
    [
        ({"app.js": "exports.handler = async (event) => event * 2"}, "app.handler", 84),
        ({"app.mjs": "import 'node:fs'; export const handler = async (event) => event"}, "app.handler", 42),
        ({"app.cjs": "module.exports = { handler: (e, c, callback) => callback(null, e) }"}, "app.handler", 42),
        (
            {"app.js": "export const handler = async () => 'module'", "package.json": '{"type": "module"}'},
            "app.handler",
            "module",
        ),
        (
            {"src/a/app.js": "exports.api = { get: { handler: async () => 'nested' } }"},
            "src/a/app.api.get.handler",
            "nested",
        ),
        ({"app/index.js": "exports.handler = async () => 'a directory'"}, "app.handler", "a directory"),
        ({"app.mjs": "export default { handler: async () => 'default' }"}, "app.handler", "default"),
        ({"app.js": "exports.handler = (event) => 'neither'; setTimeout(() => {}, 10)"}, "app.handler", None),
        ({"app.js": "exports.handler = async () => undefined"}, "app.handler", None),
        ({"app.js": "exports.handler = () => new Promise(() => {})"}, "app.handler", None),
        ({"app.js": "exports.handler = (e, context) => context.succeed('succeeded')"}, "app.handler", "succeeded"),
        ({"app.js": "exports.handler = (e, context) => { context.done(null, 'done') }"}, "app.handler", "done"),
    ],
)
async def test_a_handler_is_found_and_called_as_on_lambda(
    make_pool: MakePool, files: dict[str, str], handler: str, result: Any
) -> None:
    pool = make_pool(files, handler)
    for number in range(2):
        assert await run(pool, 42, f"id-{number}") == result


async def test_a_callback_waits_until_nothing_is_left_unless_it_must_not(make_pool: MakePool) -> None:
    pool = make_pool(
        {
            "app.js": """
            const order = [];
            exports.handler = (event, context, callback) => {
              context.callbackWaitsForEmptyEventLoop = event === "waits";
              setTimeout(() => order.push("timer"), event === "waits" ? 30 : 30000);
              callback(null, order);
            };
            """
        }
    )
    assert await run(pool, "waits") == ["timer"]
    assert await run(pool, "at once") == ["timer"]


async def test_the_context_is_lambdas(make_pool: MakePool) -> None:
    pool = make_pool(
        {
            "app.mjs": """
            export const handler = async (event, context) => ({
              ...context,
              left: context.getRemainingTimeInMillis(),
              trace: process.env._X_AMZN_TRACE_ID,
            });
            """
        },
        memory_mb=256,
    )
    context = await run(pool, request_id="the-id")
    assert 0 < context.pop("left") <= 30_000
    assert context.pop("trace").startswith("Root=1-")
    assert "[$LATEST]" in context.pop("logStreamName")
    assert context == {
        "callbackWaitsForEmptyEventLoop": True,
        "functionVersion": "$LATEST",
        "functionName": "one",
        "memoryLimitInMB": "256",
        "logGroupName": "/aws/lambda/one",
        "clientContext": {"custom": {"a": 1}},
        "invokedFunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:one",
        "awsRequestId": "the-id",
    }


@pytest.mark.parametrize(
    ("code", "error_type", "message"),
    [
        ("exports.handler = async () => { throw new TypeError('broken') }", "TypeError", "broken"),
        ("exports.handler = () => { throw new Error('at once') }", "Error", "at once"),
        ("exports.handler = (e, c, callback) => callback('Unauthorized')", "string", "Unauthorized"),
        ("exports.handler = (e, c, callback) => callback(new RangeError('r'))", "RangeError", "r"),
        ("exports.handler = (e, c) => c.fail(new Error('failed'))", "Error", "failed"),
        ("exports.handler = async () => { throw { a: 1 } }", "object", '{"a":1}'),
        ("exports.handler = async () => { throw undefined }", "undefined", "undefined"),
        ("exports.handler = async () => ({ n: 10n })", "TypeError", "BigInt"),
        (
            "exports.handler = () => { Promise.reject(new Error('lost')); return new Promise(() => {}) }",
            "Runtime.UnhandledPromiseRejection",
            "Error: lost",
        ),
        ("exports.handler = () => { setTimeout(() => { throw new Error('late') }); }", "Error", "late"),
        ("exports.handler = () => process.exit(3)", "Runtime.ExitError", "Runtime exited with error: exit status 3"),
        ("exports.handler = () => process.exit()", "Runtime.ExitError", "exited without providing a reason"),
        ("exports.handler = () => process.kill(process.pid, 'SIGKILL')", "Runtime.ExitError", "signal: killed"),
        ("exports.other = () => 1", "Runtime.HandlerNotFound", "app.handler is undefined or not exported"),
        ("exports.handler = 'a text'", "Runtime.HandlerNotFound", "is not a function"),
        ("exports.handler = async () => {", "Runtime.UserCodeSyntaxError", "Unexpected end of input"),
        ("require('no-such-package')", "Runtime.ImportModuleError", "Cannot find module 'no-such-package'"),
        ("throw new EvalError('at load')", "EvalError", "at load"),
        ("process.exit(4)", "Runtime.ExitError", "exit status 4"),
        ("Promise.reject(new Error('while loading'))", "Runtime", "while loading"),
    ],
)
async def test_whatever_goes_wrong_is_a_failed_invocation(
    make_pool: MakePool, code: str, error_type: str, message: str
) -> None:
    pool = make_pool({"app.js": code})
    for number in range(2):
        with pytest.raises(HandlerFailed) as caught:
            await run(pool, request_id=f"id-{number}")
        assert caught.value.error_type.startswith(error_type)
        assert message in caught.value.message


@pytest.mark.parametrize(
    ("handler", "error_type", "message"),
    [
        ("gone.handler", "Runtime.ImportModuleError", "Cannot find module 'gone'"),
        ("app", "Runtime.MalformedHandlerName", "'app' is not a valid handler name"),
        ("../app.handler", "Runtime.MalformedHandlerName", "use no '..'"),
        ("app.handlr", "Runtime.HandlerNotFound", "it exports handler"),
    ],
)
async def test_a_wrong_name_says_what_there_is(
    make_pool: MakePool, handler: str, error_type: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    pool = make_pool({"app.js": "exports.handler = async () => 1"}, handler)
    with pytest.raises(HandlerFailed) as caught:
        await run(pool)
    assert caught.value.error_type == error_type
    assert message in caught.value.message
    assert message in capfd.readouterr().err


async def test_a_handler_that_takes_too_much_memory_dies_and_the_next_begins_anew(make_pool: MakePool) -> None:
    pool = make_pool(
        {
            "app.js": """
            exports.handler = async (event) => {
              const kept = [];
              while (event === "all") kept.push(new Array(100000).fill(Math.random()));
              return process.pid;
            };
            """
        },
        memory_mb=128,
    )
    before = await run(pool)
    with pytest.raises(HandlerFailed, match="Runtime exited with error: signal: aborted"):
        await run(pool, "all")
    assert await run(pool) != before


async def test_one_that_takes_too_long_is_ended_and_the_next_begins_anew(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(
        {
            "app.js": """
            const fs = require("node:fs");
            exports.handler = async (file) => {
              if (file) { fs.writeFileSync(file, String(process.pid)); for (;;); }
              return process.pid;
            };
            """
        }
    )
    functions = Functions({"one": DeployedFunction("one", pool, 1, 128)}, SystemClock(), "us-east-1")
    with pytest.raises(HandlerFailed, match="timed out"):
        await functions.invoke("one", str(tmp_path / "pid"), "slow")
    slow = int((tmp_path / "pid").read_text())
    await until(lambda: not is_alive(slow))
    assert await functions.invoke("one", "", "next") != slow


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_what_it_prints_has_its_request_in_front(make_pool: MakePool, capfd: pytest.CaptureFixture[str]) -> None:
    pool = make_pool(
        {
            "app.js": """
            console.log("loading");
            exports.handler = async (event) => {
              console.log("one\\ntwo %s", event);
              process.stdout.write("no end");
              throw new Error("told");
            };
            """
        }
    )
    for number in range(2):
        with pytest.raises(HandlerFailed):
            await run(pool, number, f"id-{number}")
    await pool.close()
    printed = capfd.readouterr().err.splitlines()
    assert printed[0] == "one INIT | loading"
    for number in range(2):
        lines = [line.removeprefix(f"one id-{number} | ") for line in printed if f"id-{number}" in line]
        assert lines[:3] == ["one", f"two {number}", "no end[ERROR] Invoke Error Error: told"]
        assert "app.js:" in lines[3]
        assert not any("bootstrap" in line or "invocation.cjs" in line for line in lines)


async def test_it_reads_source_maps(make_pool: MakePool) -> None:
    # Made by esbuild from `export const handler = async () => {`, an empty line, and `throw new Error("mapped")`.
    mapping = {"version": 3, "sources": ["app.ts"], "names": [], "mappings": "AAAA,QAAQ;AAER,MAAM;"}
    code = 'exports.handler = async () => {\nthrow new Error("mapped"); }\n//# sourceMappingURL=app.js.map\n'
    pool = make_pool({"app.js": code, "app.js.map": json.dumps(mapping)})
    with pytest.raises(HandlerFailed) as caught:
        await run(pool)
    assert any("app.ts:3" in line for line in caught.value.payload["trace"])


PACKAGE = {
    "package.json": '{"name": "greeting", "exports": {"import": "./index.mjs", "require": "./index.cjs"}}',
    "index.mjs": "export default 'from a module'",
    "index.cjs": "module.exports = 'required'",
}


@pytest.mark.parametrize(
    ("files", "result"),
    [
        ({"app.js": "const g = require('greeting'); exports.handler = async () => g"}, "required"),
        ({"app.mjs": "import g from 'greeting'; export const handler = async () => g"}, "from a module"),
    ],
)
async def test_packages_of_layers_are_found(
    make_pool: MakePool, tmp_path: Path, files: dict[str, str], result: str
) -> None:
    layer = tmp_path / "layer" / "nodejs" / "node_modules"
    write(layer / "greeting", PACKAGE)
    assert await run(make_pool(files, layers=(layer,))) == result


@pytest.mark.parametrize("code", ["app.js", "app.mjs"])
async def test_the_sdk_is_the_projects_and_other_packages_of_it_are_not_there(
    make_pool: MakePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    project = tmp_path / "project"
    write(project / "node_modules" / "@aws-sdk" / "client-dynamodb", PACKAGE)
    write(project / "node_modules" / "greeting", PACKAGE)
    monkeypatch.chdir(project)
    wanted = {
        "app.js": "const g = require('NAME'); exports.handler = async () => g",
        "app.mjs": "import g from 'NAME'; export const handler = async () => g",
    }
    sdk = make_pool({code: wanted[code].replace("NAME", "@aws-sdk/client-dynamodb")})
    assert await run(sdk) in ("required", "from a module")
    with pytest.raises(HandlerFailed, match=r"Runtime\.ImportModuleError: Error: Cannot find .* 'greeting'"):
        await run(make_pool({code: wanted[code].replace("NAME", "greeting")}))


@pytest.mark.parametrize(
    ("code", "runtime", "line"),
    [
        (
            {"app.js": "require('@aws-sdk/lib-dynamodb')"},
            "nodejs22.x",
            "Lambda brings @aws-sdk/lib-dynamodb, and this machine does not have it: "
            "npm install --save-dev @aws-sdk/lib-dynamodb",
        ),
        (
            {"app.mjs": "import { x } from '@aws-sdk/client-s3'"},
            "nodejs22.x",
            "Lambda brings @aws-sdk/client-s3, and this machine does not have it: "
            "npm install --save-dev @aws-sdk/client-s3",
        ),
        ({"app.js": "require('aws-sdk')"}, "nodejs16.x", "Lambda brings aws-sdk, and"),
        ({"app.js": "require('aws-sdk/clients/s3')"}, "nodejs18.x", "has no aws-sdk (version 2) either"),
    ],
)
async def test_an_sdk_that_is_missing_is_one_line_that_says_how_to_install_it(
    make_pool: MakePool, capfd: pytest.CaptureFixture[str], code: dict[str, str], runtime: str, line: str
) -> None:
    with pytest.raises(HandlerFailed, match="ImportModuleError"):
        await run(make_pool(code, runtime=runtime))
    assert line in capfd.readouterr().err


async def test_a_callback_is_refused_where_lambda_has_none_any_more(make_pool: MakePool) -> None:
    pool = make_pool({"app.js": "exports.handler = (a, b, callback) => callback()"}, runtime="nodejs24.x")
    with pytest.raises(HandlerFailed, match="CallbackHandlerDeprecated"):
        await run(pool)


async def test_a_reload_takes_the_new_code_and_the_old_may_finish(make_pool: MakePool, tmp_path: Path) -> None:
    slow = """
    const fs = require("node:fs");
    exports.handler = async (directory) => {
      fs.writeFileSync(directory + "/begun", "");
      while (!fs.existsSync(directory + "/may end")) await new Promise((resolve) => setTimeout(resolve, 10));
      return "old";
    };
    """
    pool = make_pool({"app.js": slow})
    old = asyncio.create_task(run(pool, str(tmp_path)))
    await until((tmp_path / "begun").exists)
    write(tmp_path / "code", {"app.js": "exports.handler = async () => 'new'"})
    await pool.reload()
    assert await run(pool) == "new"
    (tmp_path / "may end").touch()
    assert await old == "old"


async def test_invocations_at_the_same_time_have_their_own_globals(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(
        {
            "app.js": """
            const fs = require("node:fs");
            let count = 0;
            exports.handler = async ([number, directory]) => {
              count += 1;
              fs.writeFileSync(`${directory}/begun-${number}`, "");
              const begun = () => fs.readdirSync(directory).filter((name) => name.startsWith("begun-")).length;
              while (begun() < 3) await new Promise((resolve) => setTimeout(resolve, 10));
              return count;
            };
            """
        }
    )
    outcomes = await asyncio.gather(*(run(pool, [n, str(tmp_path)], f"id-{n}") for n in range(3)))
    assert outcomes == [1, 1, 1]
    before = time.monotonic()
    assert await run(pool, [0, str(tmp_path)]) == 2
    assert time.monotonic() - before < 45
