"""The common grid of updates."""

import asyncio
from contextvars import ContextVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellwire import track_upload
from tellwire.broadcast import Broadcaster
from tellwire.model import Delivery
from tellwire.publication import Publication
from tellwire.testing import MemoryCarrier
from tellwire.ticks import Ticks, ticks_of
from tests.virtual_time import virtual_time


def test_the_first_upload_begins_the_grid_and_others_follow_it() -> None:
    ticks = Ticks()
    ticks.join(100.1)
    ticks.join(100.3)
    assert ticks.next_after(100.1, 0.25) == pytest.approx(100.35)
    assert ticks.next_after(100.15, 0.25) == pytest.approx(100.35)
    assert ticks.next_after(100.3, 0.25) == pytest.approx(100.6)
    ticks.leave()
    ticks.join(100.5)
    assert ticks.next_after(100.5, 0.25) == pytest.approx(100.85)
    ticks.leave()
    ticks.leave()
    ticks.join(101.0)
    assert ticks.next_after(101.0, 0.25) == pytest.approx(101.25)


@given(st.floats(0, 1e6), st.floats(0, 1e5), st.floats(0.001, 1e5))
def test_the_next_time_is_half_an_interval_away_at_least_and_one_and_a_half_at_most(
    origin: float, later: float, seconds: float
) -> None:
    ticks = Ticks()
    ticks.join(origin)
    wait = ticks.next_after(origin + later, seconds) - (origin + later)
    assert 0.499 * seconds - 1e-6 <= wait <= 1.501 * seconds + 1e-6


@pytest.mark.virtual_time
async def test_each_loop_has_one_grid() -> None:
    assert ticks_of(asyncio.get_running_loop()) is ticks_of(asyncio.get_running_loop())


class TimedCarrier(MemoryCarrier):
    """Notes when the updates of each upload come."""

    def __init__(self) -> None:
        super().__init__()
        self.times: dict[str, list[float]] = {}

    async def deliver(self, publication: Publication) -> Delivery:
        self.times.setdefault(publication.key or "", []).append(round(virtual_time().time(), 6))
        return await super().deliver(publication)


@pytest.mark.virtual_time
async def test_uploads_that_were_opened_at_any_time_are_updated_together() -> None:
    carrier = TimedCarrier()

    async def job(number: int) -> None:
        await asyncio.sleep(number * 0.07)
        tracked = track_upload("u", str(number), "f.csv", 100, broadcaster=Broadcaster(carrier), interval_seconds=0.25)
        async with tracked as upload:
            for row in range(1, 80):
                upload.update(rows=row)
                await asyncio.sleep(0.013)

    await asyncio.gather(*[job(number) for number in range(5)])
    # Not the first and the last state, which are sent at once.
    updates = [set(times[1:-1]) for times in carrier.times.values()]
    assert len(updates) == 5
    assert len(set.union(*updates)) == 5
    assert all(3 <= len(times) <= 4 for times in updates)


@pytest.mark.virtual_time
async def test_a_tick_runs_in_the_context_of_its_upload_and_one_that_fails_stops_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    name: ContextVar[str] = ContextVar("name", default="")
    ticks = ticks_of(asyncio.get_running_loop())
    ticks.join(virtual_time().time())
    ticked: list[tuple[str, float]] = []

    def tick() -> None:
        ticked.append((name.get(), round(virtual_time().time() - 1000, 6)))

    def fail() -> None:
        raise RuntimeError("a broken state")

    name.set("first")
    ticks.start(0.25, fail)
    ticks.start(0.25, tick)
    name.set("second")
    await asyncio.sleep(0.6)
    ticks.stop(0.25, tick)
    await asyncio.sleep(0.6)
    ticks.stop(0.25, fail)
    ticks.leave()
    assert ticked == [("first", 0.25), ("first", 0.5)]
    assert caplog.text.count("RuntimeError: a broken state") == 4
