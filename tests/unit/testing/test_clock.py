"""The fake clock."""

import asyncio

import pytest

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


async def test_pushes_at_the_same_time_add_up_and_time_never_goes_back() -> None:
    clock = FakeClock(0)
    seen: list[float] = []

    async def watch() -> None:
        while True:
            await clock.sleep(1)
            seen.append(clock.now())

    watching = asyncio.create_task(watch())
    await asyncio.gather(clock.advance(50), clock.advance(10), clock.advance(500))
    assert clock.now() == 560
    assert seen == sorted(seen)
    watching.cancel()


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
async def test_time_does_not_go_back(seconds: float) -> None:
    with pytest.raises(ValueError, match="allowed: zero or more"):
        await FakeClock().advance(seconds)


async def test_a_sleeper_that_is_cancelled_is_forgotten() -> None:
    clock = FakeClock()
    sleepers = [asyncio.create_task(clock.sleep(seconds)) for seconds in range(1, 100)]
    await asyncio.sleep(0)
    for sleeper in sleepers[10:]:
        sleeper.cancel()
    await asyncio.gather(*sleepers[10:], return_exceptions=True)
    assert len(clock._sleepers) == 10
    await clock.advance(100)
    assert all(sleeper.done() for sleeper in sleepers)


async def test_the_wall_can_be_set_alone_and_wakes_nobody() -> None:
    clock = FakeClock(100.0)
    beginning = clock.monotonic()
    sleeper = asyncio.create_task(clock.sleep(10))
    await clock.advance(1)
    clock.step(-50)
    assert (clock.now(), clock.monotonic() - beginning) == (51.0, 1.0)
    clock.step(3600)
    await clock.advance(8.9)
    assert not sleeper.done()
    await clock.advance(0.1)
    assert sleeper.done()


async def test_after_a_pause_a_sleeper_wakes_late_with_the_next_move() -> None:
    clock = FakeClock(0.0)
    woken: list[float] = []

    async def sleep() -> None:
        await clock.sleep(1)
        woken.append(clock.now())

    sleeper = asyncio.create_task(sleep())
    await asyncio.sleep(0)
    clock.skip(70)
    await asyncio.sleep(0)
    assert woken == []
    await clock.advance(0)
    assert woken == [70.0]
    await sleeper


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -float("inf")])
def test_the_wall_is_set_to_a_real_time(seconds: float) -> None:
    with pytest.raises(ValueError, match="allowed: a finite number"):
        FakeClock().step(seconds)


def test_a_pause_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="allowed: zero or more"):
        FakeClock().skip(-1)
