"""The background event loop: one for each process, for callers in all threads, until the process ends."""

import asyncio
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest

from tellwire.background import background_loop, run

word: ContextVar[str] = ContextVar("word", default="none")


async def where() -> tuple[asyncio.AbstractEventLoop, str]:
    return asyncio.get_running_loop(), threading.current_thread().name


def test_what_the_work_returns_is_returned() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 42

    assert run(work()) == 42


def test_what_the_work_raises_is_raised() -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise KeyError("k")

    with pytest.raises(KeyError, match="k"):
        run(work())


def test_all_threads_share_one_loop_in_one_thread() -> None:
    at_once = threading.Barrier(8)

    def call(_: int) -> tuple[asyncio.AbstractEventLoop, str]:
        at_once.wait(45)
        return run(where())

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(call, range(8)))
    [(loop, name)] = found
    assert loop is background_loop()
    assert name != threading.current_thread().name


def test_many_works_go_on_at_once() -> None:
    async def work(all_there: asyncio.Barrier) -> None:
        await all_there.wait()

    async def barrier() -> asyncio.Barrier:
        return asyncio.Barrier(8)

    all_there = run(barrier())
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: run(work(all_there)), range(8)))


def test_the_work_runs_in_the_callers_context_and_does_not_change_it() -> None:
    async def work() -> str:
        found = word.get()
        word.set("changed")
        return found

    token = word.set("said")
    try:
        assert run(work()) == "said"
        assert word.get() == "said"
    finally:
        word.reset(token)


async def test_a_program_with_a_loop_of_its_own_keeps_it() -> None:
    loop, _ = await asyncio.to_thread(run, where())
    assert loop is not asyncio.get_running_loop()
    assert run(where())[0] is loop  # it waits, as synchronous code does


def test_to_stop_waiting_is_to_stop_the_work() -> None:
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    stopped = threading.Event()

    async def work() -> None:
        while sys._current_frames()[main_thread].f_code is not threading.Condition.wait.__code__:
            await asyncio.sleep(0)
        try:
            while True:
                # Repeated: a signal that arrives just before a thread begins to wait does not wake it.
                signal.pthread_kill(main_thread, signal.SIGINT)
                await asyncio.sleep(5)
        finally:
            stopped.set()

    # A program that a shell started with `&` ignores SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(work())
    finally:
        signal.signal(signal.SIGINT, before)
    assert stopped.wait(45)


def test_to_wait_for_the_loop_on_the_loop_is_an_error_and_not_for_ever() -> None:
    async def work() -> None:
        run(where())

    with pytest.raises(RuntimeError, match="await tellwire's functions here"):
        run(work())
    assert run(where())[0] is background_loop()


def test_work_that_wants_to_end_the_program_does_not_end_the_loop() -> None:
    async def work() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        run(work())
    assert run(where())[0] is background_loop()


FORKING = """
import asyncio, os, sys, warnings
from tellwire.background import background_loop, run

async def who():
    return os.getpid()

assert run(who()) == os.getpid()
parents = background_loop()
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later have one for what is done here
if os.fork() == 0:
    assert run(who()) == os.getpid()
    assert background_loop() is not parents
    sys.exit(7)
_, status = os.wait()
assert run(who()) == os.getpid()
print(os.waitstatus_to_exitcode(status))
"""

FIRST_CALLS = """
import asyncio, sys, threading
from tellwire.background import run

async def where():
    return asyncio.get_running_loop()

def call():
    at_once.wait()
    loops.add(run(where()))

sys.setswitchinterval(1e-6)
at_once, loops = threading.Barrier(16), set()
threads = [threading.Thread(target=call) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(loops))
"""

ENDING = """
import asyncio, atexit
from tellwire.background import run

async def nothing():
    await asyncio.sleep(0)
    return 1

def late():
    print(run(nothing()))

async def nested():
    run(nothing())

def too_late():
    try:
        asyncio.run(nested())
    except RuntimeError as error:
        print(error)

atexit.register(late)
atexit.register(too_late)
run(nothing())
"""

BUSY = """
import asyncio, threading
from tellwire.background import run

begun = threading.Event()

async def going_on():
    begun.set()
    while True:
        await asyncio.sleep(0)

threading.Thread(target=lambda: run(going_on()), daemon=True).start()
begun.wait()
print("ended")
"""


def ended(program: str) -> tuple[int, str, str]:
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    return ran.returncode, ran.stdout.strip(), ran.stderr


def test_a_child_has_a_loop_of_its_own_and_ends_quietly() -> None:
    assert ended(FORKING) == (0, "7", "")


def test_first_calls_at_once_make_one_loop() -> None:
    assert ended(FIRST_CALLS) == (0, "1", "")


def test_an_exit_handler_runs_its_work_itself() -> None:
    refusal = "tellwire.sync has stopped, since the interpreter is exiting: await tellwire's functions"
    assert ended(ENDING) == (0, f"{refusal}\n1", "")


def test_a_loop_that_is_busy_does_not_keep_a_process() -> None:
    assert ended(BUSY)[:2] == (0, "ended")
