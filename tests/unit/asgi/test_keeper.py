"""The task that holds a node open."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator

import pytest

from tellwire.asgi.keeper import Keeper


class Thing:
    """A thing that opens when it may, and counts."""

    def __init__(self) -> None:
        self.opened = self.closed = 0
        self.may_open = asyncio.Event()
        self.error: Exception | None = None

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[int]:
        await self.may_open.wait()
        if self.error is not None:
            raise self.error
        self.opened += 1
        try:
            yield self.opened
        finally:
            await asyncio.sleep(0)
            self.closed += 1


async def test_all_who_come_at_once_wait_for_one_opening() -> None:
    thing = Thing()
    keeper = Keeper(thing.open)
    waiting = [asyncio.create_task(keeper.value()) for _ in range(3)]
    await asyncio.sleep(0)
    assert keeper.at_once() is None
    thing.may_open.set()
    assert await asyncio.gather(*waiting) == [1, 1, 1]
    assert keeper.at_once() == 1
    await keeper.close()
    assert (thing.opened, thing.closed, keeper.is_open, keeper.at_once()) == (1, 1, False, None)


async def test_who_stops_waiting_ends_no_opening() -> None:
    thing = Thing()
    keeper = Keeper(thing.open)
    gone = asyncio.create_task(keeper.value())
    await asyncio.sleep(0)
    gone.cancel()
    thing.may_open.set()
    assert await keeper.value() == 1
    await keeper.close()


async def test_an_opening_that_failed_is_told_to_all_and_tried_again() -> None:
    thing = Thing()
    thing.may_open.set()
    thing.error = OSError("no")
    keeper = Keeper(thing.open)
    results = await asyncio.gather(keeper.value(), keeper.value(), return_exceptions=True)
    assert [type(each) for each in results] == [OSError, OSError]
    thing.error = None
    assert await keeper.value() == 1
    await keeper.close()


async def test_an_event_loop_that_ends_closes_it() -> None:
    things: list[Thing] = []

    async def use() -> None:
        things.append(Thing())
        things[0].may_open.set()
        assert await Keeper(things[0].open).value() == 1

    await asyncio.to_thread(lambda: asyncio.run(use()))
    assert things[0].closed == 1


async def test_another_event_loop_is_refused_while_it_is_open() -> None:
    thing = Thing()
    thing.may_open.set()
    keeper = Keeper(thing.open)
    await keeper.value()
    errors: list[BaseException] = []

    def elsewhere() -> None:
        with pytest.raises(RuntimeError, match="open on another event loop") as error:
            asyncio.run(keeper.value())
        errors.append(error.value)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert len(errors) == 1
    await keeper.close()
