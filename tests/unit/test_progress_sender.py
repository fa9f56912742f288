"""The end of a job's progress: exceptions in groups, jobs that are stopped at any await, entered twice, or eager."""

import asyncio
import pickle
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

import pytest

from tellwire.broadcast import Broadcaster
from tellwire.errors import CannotRunHere, UploadCancelled, UploadFailed
from tellwire.model import Delivery
from tellwire.progress import track_upload
from tellwire.publication import Publication
from tellwire.testing import MemoryCarrier
from tests.virtual_time import VirtualTimeLoop, slow_rows

pytestmark = pytest.mark.virtual_time


class SlowCarrier(MemoryCarrier):
    """A carrier that takes its time."""

    def __init__(self, seconds: float = 0) -> None:
        super().__init__()
        self.seconds = seconds

    async def deliver(self, publication: Publication) -> Delivery:
        await asyncio.sleep(self.seconds)
        return await super().deliver(publication)


@pytest.fixture
def carrier() -> MemoryCarrier:
    return MemoryCarrier()


def track(carrier: MemoryCarrier, **options: Any) -> track_upload:
    options.setdefault("total_rows", 100)
    return track_upload("user-1", "moc-1", "parts.csv", broadcaster=Broadcaster(carrier), **options)


def states_of(carrier: MemoryCarrier) -> list[str]:
    return [m["data"]["status"] for m in carrier.sent_to("user-1") if m["type"] == "upload_progress"]


def progress_of(carrier: MemoryCarrier) -> list[float]:
    return [m["data"]["progress"] for m in carrier.sent_to("user-1") if m["type"] == "upload_progress"]


# Exceptions in groups


async def raising(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


async def in_a_group(errors: list[Exception]) -> None:
    async with asyncio.TaskGroup() as group:
        for error in errors:
            group.create_task(raising(error))


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([UploadFailed("NO_HEADER", "The first line must name the columns")], "NO_HEADER"),
        ([ValueError("secret"), UploadFailed("NO_HEADER", "No header")], "NO_HEADER"),
        ([UploadCancelled(), UploadFailed("NO_HEADER", "No header")], "NO_HEADER"),
        ([UploadCancelled(), ValueError("secret")], "UPLOAD_FAILED"),
    ],
)
async def test_a_failure_out_of_a_task_group_keeps_its_words(
    errors: list[Exception], code: str, carrier: MemoryCarrier
) -> None:
    with pytest.raises(ExceptionGroup):
        async with track(carrier), asyncio.TaskGroup() as outer:
            outer.create_task(in_a_group(errors))
    state, error = carrier.sent_to("user-1")[-2:]
    assert state["data"]["status"] == "failed"
    assert error["data"]["code"] == code
    assert "secret" not in error["data"]["message"]


async def test_a_worker_that_cancels_in_a_task_group_is_cancelled(carrier: MemoryCarrier) -> None:
    with pytest.raises(ExceptionGroup):
        async with track(carrier):
            await in_a_group([UploadCancelled(), UploadCancelled()])
    assert states_of(carrier)[-1] == "cancelled"
    assert carrier.sent_to("user-1")[-1]["type"] == "upload_progress"


# Jobs that are stopped


async def test_a_generator_that_is_closed_was_interrupted(carrier: MemoryCarrier) -> None:
    async def parts() -> AsyncGenerator[int, None]:
        async with track(carrier) as upload:
            async for row in upload.count(range(10)):
                yield row

    generator = parts()
    assert await anext(generator) == 0
    await generator.aclose()
    assert carrier.sent_to("user-1")[-1]["data"]["code"] == "UPLOAD_INTERRUPTED"


def cancelled_at(inner: Coroutine[Any, Any, None], waits: int, times: int) -> asyncio.Task[None]:
    """Start a task that is cancelled when it waits for the nth time, and the following times."""

    class Steps:
        def __await__(self) -> Any:
            step: Callable[[Any], Any] = inner.send
            value: Any = None
            for count in range(1, 10_000):
                try:
                    waiting = step(value)
                except StopIteration:
                    return
                task = asyncio.current_task()
                if task is not None and waits <= count < waits + times:
                    task.cancel()
                try:
                    value, step = (yield waiting), inner.send
                except BaseException as error:  # noqa: BLE001 - passed on to the coroutine
                    value, step = error, inner.throw

    async def run() -> None:
        await Steps()

    return asyncio.create_task(run())


@pytest.mark.parametrize("times", [1, 100], ids=["once", "always"])
@pytest.mark.parametrize("seconds", [0, 0.5])
@pytest.mark.parametrize("waits", range(1, 13))
async def test_a_job_that_is_cancelled_at_any_await_leaves_no_upload_that_seems_to_run(
    seconds: float, waits: int, times: int
) -> None:
    carrier = SlowCarrier(seconds)

    async def job() -> None:
        async with track(carrier, lease_seconds=3, interval_seconds=0.001) as upload:
            async for _ in upload.count(slow_rows(4, seconds=1)):
                await asyncio.sleep(0)

    await asyncio.wait({cancelled_at(job(), waits, times)})
    await asyncio.sleep(60)
    assert not states_of(carrier) or states_of(carrier)[-1] in ("complete", "failed")
    assert not [each for each in asyncio.all_tasks() if each.get_name().startswith("tellwire")]


async def test_a_job_whose_time_is_over_before_it_begins_shows_nothing_that_runs(carrier: MemoryCarrier) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0), track(carrier, lease_seconds=1):
            raise AssertionError("it never begins")
    await asyncio.sleep(60)
    assert not states_of(carrier) or states_of(carrier)[-1] == "failed"
    assert len(carrier.sent) <= 3


def test_the_last_state_is_sent_although_the_event_loop_ends() -> None:
    carrier = SlowCarrier(0.05)

    async def main() -> None:
        async def job() -> None:
            async with track(carrier, lease_seconds=None):
                pass

        task = asyncio.create_task(job())
        while not carrier.sent:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.sleep(0.01)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())
    assert states_of(carrier)[-1] == "complete"


# Entered twice


async def test_a_block_that_is_entered_again_is_a_new_run(carrier: MemoryCarrier) -> None:
    tracked = track(carrier, total_rows=6)
    for _ in range(2):
        async with tracked as upload:
            async for _ in upload.count(range(6)):
                pass
        await asyncio.sleep(0.1)
    assert progress_of(carrier) == [0, 100, 0, 100]


async def test_a_block_that_is_open_cannot_be_entered(carrier: MemoryCarrier) -> None:
    tracked = track(carrier)
    async with tracked:
        with pytest.raises(CannotRunHere, match="entered already"):
            async with tracked:
                pass
    assert progress_of(carrier) == [0, 100]


# Eager tasks, and other processes


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio has eager tasks from Python 3.12 on")
async def test_eager_tasks_send_every_state_and_renew_the_lease(carrier: MemoryCarrier) -> None:
    if sys.version_info >= (3, 12):
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    async with track(carrier, interval_seconds=0.01, lease_seconds=3) as upload:
        for row in range(0, 100, 10):
            upload.update(rows=row)
            await asyncio.sleep(0.02)
        assert progress_of(carrier) == list(range(0, 100, 10))
        await asyncio.sleep(9.5)
    assert len(carrier.sent) >= 10 + 9


async def test_an_upload_cannot_be_sent_to_another_process(carrier: MemoryCarrier) -> None:
    async with track(carrier) as upload:
        with pytest.raises(CannotRunHere, match="belongs to the process"):
            pickle.dumps(upload)


def test_without_an_event_loop_of_asyncio_it_says_so(carrier: MemoryCarrier) -> None:
    async def job() -> None:
        async with track(carrier):
            raise AssertionError("it never begins")

    with pytest.raises(CannotRunHere, match="in trio"):
        job().send(None)
