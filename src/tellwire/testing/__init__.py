"""Fakes for tests, ours and yours: a clock that only `advance` moves, and a carrier that records messages.

async def test_the_user_receives_progress():
    carrier = MemoryCarrier()
    with use_broadcaster(Broadcaster(carrier)):
        await my_job("user-1")
    assert carrier.sent_to("user-1")[-1]["data"]["progress"] == 100
"""

from tellwire.testing.carrier import MemoryCarrier
from tellwire.testing.clock import FakeClock

__all__ = ["FakeClock", "MemoryCarrier"]
