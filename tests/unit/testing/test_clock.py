"""The clock for tests."""

import asyncio

from tellwire.testing import FakeClock


async def test_time_stands_still_until_it_is_moved() -> None:
    clock = FakeClock(100.0)
    woken: list[float] = []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(clock.now())

    tasks = [asyncio.create_task(sleeper(seconds)) for seconds in (30, 10, 20)]
    await clock.advance(9.9)
    assert woken == []
    await clock.advance(15)
    assert woken == [110.0, 120.0]
    await clock.advance(1000)
    assert woken == [110.0, 120.0, 130.0]
    await asyncio.gather(*tasks)


async def test_whoever_sleeps_again_is_woken_again() -> None:
    clock = FakeClock(0.0)
    ticks: list[float] = []

    async def ticker() -> None:
        while True:
            await clock.sleep(1.0)
            ticks.append(clock.now())

    task = asyncio.create_task(ticker())
    await clock.advance(7200)
    task.cancel()
    assert len(ticks) == 7200


async def test_a_cancelled_sleeper_is_passed_over() -> None:
    clock = FakeClock()
    task = asyncio.create_task(clock.sleep(5))
    await asyncio.sleep(0)
    task.cancel()
    await clock.advance(10)
    assert task.cancelled()


async def test_sleeping_for_nothing_only_yields() -> None:
    await FakeClock().sleep(0)
