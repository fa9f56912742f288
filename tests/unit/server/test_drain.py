"""The pace at which a drain closes sockets, and the end of a wait."""

import asyncio
from collections import Counter
from dataclasses import dataclass

import pytest

from tellwire import limits
from tellwire.server.drain import Drain

pytestmark = pytest.mark.virtual_time


@dataclass
class FakeSocket:
    number: int
    closed_at: list[float]
    order: list[int]
    is_open: bool = True

    def close_when_idle(self) -> None:
        self.closed_at.append(asyncio.get_running_loop().time())
        self.order.append(self.number)


def started(seconds: float, spread_seconds: float) -> Drain:
    drain = Drain(seconds, spread_seconds)
    drain.begin()
    drain.start_clock()
    return drain


def sockets(count: int) -> tuple[list[FakeSocket], list[float], list[int]]:
    times: list[float] = []
    order: list[int] = []
    return [FakeSocket(number, times, order) for number in range(count)], times, order


async def test_twenty_thousand_sockets_go_at_an_even_pace_and_in_no_order() -> None:
    everyone, times, order = sockets(20_000)
    began = asyncio.get_running_loop().time()
    await started(10, 5).close_all(everyone)
    per_tenth = Counter(int((at - began) * 10) for at in times)
    assert sorted(order) == list(range(20_000))
    assert order[:100] != sorted(order[:100])
    assert set(per_tenth) <= set(range(51))
    assert all(300 <= per_tenth[tenth] <= 500 for tenth in range(49))


@pytest.mark.parametrize(("count", "seconds"), [(1, 0.0), (50, 0.5), (200, 2.0), (10_000, 5.0)])
async def test_a_spread_takes_no_more_time_than_its_sockets_need(count: int, seconds: float) -> None:
    everyone, times, _ = sockets(count)
    began = asyncio.get_running_loop().time()
    await started(10, 5).close_all(everyone)
    assert max(times) - began == pytest.approx(seconds, abs=0.05)


async def test_a_spread_ends_when_all_others_have_left_by_themselves() -> None:
    everyone, times, _ = sockets(10_000)
    drain = started(100, 100)
    spreading = asyncio.create_task(drain.close_all(everyone))
    await asyncio.sleep(1)
    for each in everyone:
        each.is_open = False
    await asyncio.sleep(0.1)
    assert spreading.done()
    assert len(times) < 200


async def test_a_spread_as_long_as_the_drain_ends_before_the_last_moments() -> None:
    everyone, times, _ = sockets(10_000)
    drain = started(10, 10)
    await drain.close_all(everyone)
    assert len(times) == 10_000
    assert max(times) <= drain.last_moments_at == drain.ends_at - limits.DRAIN_LAST_SECONDS


async def test_who_forces_the_end_waits_for_nothing() -> None:
    everyone, times, _ = sockets(10_000)
    drain = started(100, 100)
    work = asyncio.create_task(drain.close_all(everyone))
    waiting = asyncio.create_task(drain.until(lambda: False, drain.ends_at))
    await asyncio.sleep(0.5)
    assert not any(each.done() for each in (work, waiting))
    drain.force()
    await asyncio.sleep(0.1)
    assert work.done()
    assert waiting.done()
    assert len(times) < 100


async def test_a_wait_ends_when_it_is_done_or_late() -> None:
    loop = asyncio.get_running_loop()
    drain = started(10, 5)
    began = loop.time()
    await drain.until(lambda: loop.time() > began + 1, began + 5)
    assert loop.time() - began < 1.2
    await drain.until(lambda: False, began + 2)
    assert loop.time() - began == pytest.approx(2)


async def test_the_work_of_the_program_comes_first_for_half_of_the_seconds_at_most(
    caplog: pytest.LogCaptureFixture,
) -> None:
    began = asyncio.get_running_loop().time()
    ended: list[str] = []

    async def short() -> None:
        await asyncio.sleep(1)
        ended.append("short")

    async def fails() -> None:
        raise ValueError("no such table")

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    await started(10, 5).work_first([short, fails])
    assert asyncio.get_running_loop().time() - began == pytest.approx(1, abs=0.1)
    await started(10, 5).work_first([endless])
    assert asyncio.get_running_loop().time() - began == pytest.approx(6, abs=0.2)
    assert ended == ["short", "cancelled"]
    texts = [record.getMessage() for record in caplog.records]
    assert texts == [
        "a callback of before_drain failed",
        "a callback of before_drain has not ended in half of drain_seconds, and is cancelled",
    ]
