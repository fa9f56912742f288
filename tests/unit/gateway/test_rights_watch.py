"""The watch over rights to topics, on a fake clock."""

import asyncio

from tellwire.gateway.rights_watch import RightsWatch
from tellwire.limits import TOPIC_RIGHTS_WATCH_SECONDS
from tellwire.testing import FakeClock
from tests.tools import until


async def test_the_watch_looks_at_each_connection_and_survives_a_failure() -> None:
    clock = FakeClock()
    looked: list[int] = []

    async def recheck(connection: int) -> None:
        looked.append(connection)
        if connection == 3:
            raise RuntimeError("broken")

    watch = RightsWatch(lambda: range(50), recheck, clock)
    watching = asyncio.create_task(watch.watch(60))
    try:
        await asyncio.sleep(0)
        await clock.advance(59)
        assert looked == []
        await clock.advance(1)
        await until(lambda: len(looked) == 50)
        await clock.advance(60)
        await until(lambda: len(looked) == 100)
        assert TOPIC_RIGHTS_WATCH_SECONDS < 60
    finally:
        watching.cancel()
