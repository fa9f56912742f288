"""The broadcaster of a thread: its own block, the one that is open, or none."""

import asyncio
import contextvars
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from tellwire import sync
from tellwire.broadcast import Broadcaster, broadcast_to_user, use_broadcaster
from tellwire.errors import ConfigError
from tellwire.testing import MemoryCarrier

HELLO = sync.create_message("note", "hello")


def note() -> None:
    sync.broadcast_to_user("user-1", HELLO)


@pytest.fixture
def eu() -> MemoryCarrier:
    return MemoryCarrier()


@pytest.fixture
def us() -> MemoryCarrier:
    return MemoryCarrier()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """A pool whose thread is older than the block."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        yield pool


@pytest.fixture(autouse=True)
def another_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name a gateway in the environment, which must get nothing of this."""
    monkeypatch.setenv("TELLWIRE_URL", "http://127.0.0.1:9")


def test_a_block_reaches_a_pool_and_a_thread(eu: MemoryCarrier, pool: ThreadPoolExecutor) -> None:
    with use_broadcaster(Broadcaster(eu)):
        pool.submit(note).result()
        thread = threading.Thread(target=note)
        thread.start()
        thread.join()
    assert len(eu.sent) == 2


async def test_a_block_reaches_executors_of_an_event_loop(eu: MemoryCarrier, pool: ThreadPoolExecutor) -> None:
    loop = asyncio.get_running_loop()
    with use_broadcaster(Broadcaster(eu)):
        await loop.run_in_executor(None, note)
        await loop.run_in_executor(pool, note)
        await asyncio.to_thread(note)
        await asyncio.create_task(broadcast_to_user("user-1", HELLO))
        await asyncio.to_thread(lambda: asyncio.run(_hello()))
    assert len(eu.sent) == 5


async def _hello() -> None:
    await broadcast_to_user("user-1", HELLO)


def test_a_block_reaches_the_jobs_of_a_scheduler(eu: MemoryCarrier) -> None:
    scheduler = BackgroundScheduler(timezone="UTC")
    done = threading.Event()

    def job() -> None:
        try:
            note()
        finally:
            done.set()

    scheduler.add_job(job)
    with use_broadcaster(Broadcaster(eu)):
        scheduler.start()
        assert done.wait(45)
        while scheduler.get_jobs():  # it removes a job after it has run
            time.sleep(0.01)
        scheduler.shutdown()
    assert len(eu.sent) == 1


def test_a_thread_with_a_block_of_its_own_uses_that(
    eu: MemoryCarrier, us: MemoryCarrier, pool: ThreadPoolExecutor
) -> None:
    def own() -> None:
        with use_broadcaster(Broadcaster(us)):
            note()

    with use_broadcaster(Broadcaster(eu)):
        pool.submit(own).result()
        pool.submit(note).result()
    assert (len(eu.sent), len(us.sent)) == (1, 1)


def test_the_inner_block_is_the_one_that_threads_use(
    eu: MemoryCarrier, us: MemoryCarrier, pool: ThreadPoolExecutor
) -> None:
    with use_broadcaster(Broadcaster(eu)):
        with use_broadcaster(Broadcaster(us)):
            pool.submit(note).result()
        pool.submit(note).result()
    assert (len(eu.sent), len(us.sent)) == (1, 1)


def test_a_thread_that_could_mean_either_of_two_is_refused(
    eu: MemoryCarrier, us: MemoryCarrier, pool: ThreadPoolExecutor
) -> None:
    def elsewhere() -> None:
        with use_broadcaster(Broadcaster(us)):
            with pytest.raises(ConfigError, match="2 different blocks are open, and this thread"):
                pool.submit(note).result()
            note()

    with use_broadcaster(Broadcaster(eu)):
        contextvars.Context().run(elsewhere)
    assert (len(eu.sent), len(us.sent)) == (0, 1)


def test_a_block_may_be_for_its_own_code_alone(eu: MemoryCarrier, us: MemoryCarrier, pool: ThreadPoolExecutor) -> None:
    with use_broadcaster(Broadcaster(us)):
        context = contextvars.Context()

        def request() -> None:
            with use_broadcaster(Broadcaster(eu), other_threads=False):
                pool.submit(note).result()
                note()

        context.run(request)
    assert (len(eu.sent), len(us.sent)) == (1, 1)


def test_after_the_block_it_reaches_nothing(eu: MemoryCarrier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TELLWIRE_URL")
    with use_broadcaster(Broadcaster(eu)):
        pass
    with pytest.raises(ConfigError, match="no gateway"):
        note()


async def test_a_block_may_end_in_another_context_than_it_began_in(eu: MemoryCarrier) -> None:
    async def fixture() -> AsyncIterator[None]:
        with use_broadcaster(Broadcaster(eu)):
            yield

    async def step() -> Any:
        return await anext(steps, None)

    steps = fixture()
    await asyncio.create_task(step())
    await broadcast_to_user("user-1", HELLO)
    await asyncio.create_task(step())
    assert len(eu.sent) == 1
