"""The execution environments of a function: isolation of modules and variables, and their ends."""

import asyncio
import json
import os
import shutil
import signal
import textwrap
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tellwire.apigateway.definition import Function
from tellwire.apigateway.runner.environment_pool import EnvironmentPool
from tellwire.apigateway.runner.handlers import HandlerFailed
from tellwire.apigateway.runner.invocation import Invocation
from tellwire.errors import ConfigError
from tests.tools import until

MakePool = Callable[..., EnvironmentPool]


@pytest.fixture
async def make_pool(tmp_path: Path) -> AsyncIterator[MakePool]:
    pools: list[EnvironmentPool] = []

    def make(code: str, name: str = "one", runtime: str = "python3.12", **environment: str) -> EnvironmentPool:
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        (directory / "app.py").write_text(textwrap.dedent(code))
        pools.append(EnvironmentPool(Function(name, "app.handler", directory, runtime), environment))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.close()


async def run(pool: EnvironmentPool, event: Any = None) -> Any:
    return json.loads(
        await (await pool.acquire()).run(
            json.dumps(event).encode(), Invocation("f", 3, 128, "us-east-1", str(uuid.uuid4()))
        )
    )


async def test_two_functions_may_have_the_same_module_and_variable(make_pool: MakePool) -> None:
    code = """
        import os
        WHO = os.environ["WHO"]
        def handler(event, context):
            return [WHO, os.getcwd(), event]
    """
    one, two = make_pool(code, "one", WHO="1"), make_pool(code, "two", WHO="2")
    assert [(await run(pool, "e"))[0] for pool in (one, two)] == ["1", "2"]
    assert (await run(two))[1].endswith("/two")


async def test_a_function_has_nothing_of_our_environment_that_lambda_would_not_have(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_SECRET", "s")
    pool = make_pool("import os\ndef handler(e, c):\n    return dict(os.environ)", OWN="1")
    environment = await run(pool)
    assert "MY_SECRET" not in environment
    assert environment["OWN"] == "1"
    assert environment["PATH"] == os.environ["PATH"]
    assert "[$LATEST]" in environment["AWS_LAMBDA_LOG_STREAM_NAME"]


async def test_it_starts_cold_once_and_keeps_what_it_knows(make_pool: MakePool) -> None:
    pool = make_pool("import os\nseen = []\ndef handler(e, c):\n    seen.append(e)\n    return [os.getpid(), seen]")
    first, second = await run(pool, 1), await run(pool, 2)
    assert first[0] == second[0] != os.getpid()
    assert second[1] == [1, 2]


async def test_invocations_run_at_the_same_time_each_in_a_process(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(
        """
        import pathlib, time
        def handler(event, context):
            number, directory = event
            pathlib.Path(directory, f"begun-{number}").touch()
            while len(list(pathlib.Path(directory).glob("begun-*"))) < 3:
                time.sleep(0.01)
            return number
        """
    )
    outcomes = await asyncio.gather(*(run(pool, [number, str(tmp_path)]) for number in range(3)))
    assert outcomes == [0, 1, 2]


async def test_what_it_prints_is_on_the_terminal_with_the_request_id(
    make_pool: MakePool, capfd: pytest.CaptureFixture[str]
) -> None:
    pool = make_pool(
        """
        import logging, os, sys
        print("while loading")
        def handler(event, context):
            print("from", context.function_name)
            logging.getLogger("mine").warning("careful")
            os.write(1, b"from below\\n")
            return context.aws_request_id
        """
    )
    request_id = await run(pool)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "one INIT | while loading\n" in printed.err
    assert f"f {request_id} | from one\n" in printed.err
    assert f"f {request_id} | [WARNING]\tmine\tcareful\n" in printed.err
    assert f"f {request_id} | from below\n" in printed.err


@pytest.mark.parametrize(
    ("code", "error_type"),
    [
        ("def handler(e, c):\n    raise ValueError('broken')", "ValueError"),
        ("def handler(e, c):\n    raise SystemExit", "SystemExit"),
        ("raise RuntimeError('at import')", "Runtime.ImportModuleError"),
        ("import no_such_library", "Runtime.ImportModuleError"),
        ("exit(3)", "Runtime.ImportModuleError"),
        ("def handler(e, c):\n    return float('nan')", "Runtime.MarshalError"),
        ("def handler(e, c):\n    return 'half \\ud800'", "Runtime.MarshalError"),
        ("def handler(e, c):\n    raise ValueError('half \\ud800')", "ValueError"),
        ("def other(e, c): ...", "Runtime.ImportModuleError"),
        ("import os\ndef handler(e, c):\n    os._exit(3)", "Runtime.ExitError"),
        ("import os, signal\ndef handler(e, c):\n    os.kill(os.getpid(), signal.SIGKILL)", "Runtime.ExitError"),
    ],
)
async def test_whatever_goes_wrong_is_a_failed_invocation(make_pool: MakePool, code: str, error_type: str) -> None:
    pool = make_pool(code)
    for _ in range(2):
        with pytest.raises(HandlerFailed) as caught:
            await run(pool)
        assert caught.value.error_type == error_type


async def test_after_a_crash_the_next_invocation_starts_anew(make_pool: MakePool) -> None:
    pool = make_pool("import os\ndef handler(e, c):\n    return os._exit(3) if e == 'die' else e")
    assert await run(pool, 1) == 1
    with pytest.raises(HandlerFailed, match="exit status 3"):
        await run(pool, "die")
    assert await run(pool, 2) == 2


# Leaves one file, and waits for the other.
WAITING = """
import os, pathlib, time
def handler(event, context):
    pathlib.Path(event, "writing").write_text(str(os.getpid()))
    pathlib.Path(event, "writing").rename(pathlib.Path(event, "begun"))
    while not pathlib.Path(event, "may end").exists():
        time.sleep(0.01)
    return "old"
"""


async def test_after_a_reload_the_new_code_runs_and_the_old_may_finish(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(WAITING)
    slow = asyncio.create_task(run(pool, str(tmp_path)))
    await until((tmp_path / "begun").exists)
    make_pool("def handler(e, c):\n    return 'new'")
    await pool.reload()
    assert await run(pool, 0) == "new"
    (tmp_path / "may end").touch()
    assert await slow == "old"


async def test_a_file_named_like_one_of_pythons_own_does_no_harm(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool("import queue\ndef handler(e, c):\n    return 1")
    (tmp_path / "one" / "logging.py").write_text("raise RuntimeError('not this one')")
    assert await run(pool) == 1


async def test_big_events_and_results_pass(make_pool: MakePool) -> None:
    pool = make_pool("def handler(e, c):\n    return e * 30")
    assert len(await run(pool, "x" * 131_072)) == 30 * 131_072


async def test_another_runtime_is_named(make_pool: MakePool) -> None:
    with pytest.raises(ConfigError, match=r"function one: got the runtime 'java21'; allowed: python3\.\*, nodejs"):
        await make_pool("", runtime="java21").start()


@pytest.mark.parametrize(
    "code",
    [
        "import sys\ndef handler(e, c):\n    return sys.stdin.read()",
        "import subprocess\ndef handler(e, c):\n    return subprocess.run('cat', stdout=-1).stdout.decode()",
    ],
)
async def test_a_handler_that_reads_finds_nothing_to_read(make_pool: MakePool, code: str) -> None:
    pool = make_pool(code)
    assert [await run(pool) for _ in range(2)] == ["", ""]


async def test_a_handler_may_start_processes_and_wait_for_them(make_pool: MakePool) -> None:
    pool = make_pool(
        """
        import multiprocessing, time
        def handler(event, context):
            processes = [multiprocessing.Process(target=time.sleep, args=(0.05,)) for _ in range(3)]
            for process in processes:
                process.start()
            for process in processes:
                process.join()
            return [process.exitcode for process in processes]
        """
    )
    for _ in range(3):
        assert await run(pool) == [0, 0, 0]


async def test_what_a_handler_started_does_not_keep_its_process(make_pool: MakePool) -> None:
    pool = make_pool(
        "import subprocess\ndef handler(e, c):\n    return subprocess.Popen(['sleep', '30'], close_fds=False).pid"
    )
    child = await run(pool)
    try:
        async with asyncio.timeout(100):
            await pool.close()
    finally:
        os.kill(child, signal.SIGKILL)


async def test_a_module_that_loads_slowly_takes_no_time_of_the_handlers(make_pool: MakePool) -> None:
    pool = make_pool("import time\ntime.sleep(3)\ndef handler(e, c):\n    return c.get_remaining_time_in_millis()")
    await pool.start()
    # Of three seconds: so much of the first two may go by on a busy machine.
    assert await run(pool) > 1000


async def test_code_that_is_gone_is_told_and_may_come_back(make_pool: MakePool, tmp_path: Path) -> None:
    code = "def handler(e, c):\n    return 1"
    pool = make_pool(code)
    assert await run(pool) == 1
    shutil.rmtree(tmp_path / "one")
    with pytest.raises(ConfigError, match="its code is gone from"):
        await pool.reload()
    make_pool(code.replace("1", "2"))
    assert await run(pool) == 2


async def test_closing_ends_the_process_even_if_a_handler_sleeps(make_pool: MakePool, tmp_path: Path) -> None:
    pool = make_pool(WAITING)
    sleeping = asyncio.create_task(run(pool, str(tmp_path)))
    await until((tmp_path / "begun").exists)
    process = int((tmp_path / "begun").read_text())
    await pool.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    with pytest.raises(HandlerFailed):
        await sleeping
