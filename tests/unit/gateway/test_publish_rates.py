"""Publishes of each API key, on a fake clock."""

from tellwire.gateway.publish_rates import PublishRates
from tellwire.ports import NullObserver
from tellwire.rate import Rate
from tellwire.testing import FakeClock

RATE = Rate(10, 20)


async def test_a_key_publishes_its_burst_and_then_its_rate() -> None:
    clock = FakeClock()
    rates = PublishRates(RATE, clock)
    for _ in range(20):
        assert rates.allows("worker")
        rates.spend("worker")
    assert not rates.allows("worker")
    assert rates.allows("other")
    await clock.advance(0.1)
    assert rates.allows("worker")
    rates.spend("worker")
    assert not rates.allows("worker")


async def test_a_batch_beyond_the_burst_passes_and_is_owed() -> None:
    clock = FakeClock()
    rates = PublishRates(RATE, clock)
    rates.spend("worker", 120)
    assert not rates.allows("worker")
    assert rates.refuse(RATE, "worker") == 11  # 100 are owed, and one must be there
    await clock.advance(10)
    assert not rates.allows("worker")
    await clock.advance(0.1)
    assert rates.allows("worker")


def test_refusals_are_counted_and_told() -> None:
    told: list[str] = []

    class Told(NullObserver):
        def publish_refused(self, key: str) -> None:
            told.append(key)

    rates = PublishRates(RATE, FakeClock(), Told())
    rates.refuse(RATE, "worker")
    assert (rates.refused, told) == (1, ["worker"])


def test_without_a_rate_nothing_is_counted() -> None:
    rates = PublishRates(None, FakeClock())
    rates.spend("worker", 1_000_000)
    assert rates.allows("worker")
