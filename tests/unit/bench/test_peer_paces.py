import pytest

from bench.native import Times
from bench.peers.crowd_scenarios import require_pace
from bench.peers.load import Outcome, Pace
from bench.peers.rounds import Samples, Stalled

PACE = Pace(0.5, per_second=20)


def outcome(seconds: float) -> Outcome:
    return Outcome(
        seconds, load_busy=0.1, requests=10, deliveries=1000, unordered=0, closed=0, behind_seconds=0, times=Times([])
    )


def test_a_server_that_is_behind_the_pace_for_a_moment_keeps_it() -> None:
    require_pace(outcome(1.4), PACE)


def test_a_server_that_falls_further_and_further_behind_the_pace_stalls_and_has_not_failed() -> None:
    samples = Samples()

    def measure() -> dict[str, float]:
        require_pace(outcome(2.0), PACE)
        return {"p99": 1.0}

    samples.take("channels", measure)
    assert samples.stalled == {"channels": "it cannot keep the pace: 500 of 2,000 deliveries/s"}
    assert not samples.failures
    assert not samples.rounds


def test_too_slow_is_no_miss() -> None:
    with pytest.raises(Stalled):
        require_pace(outcome(60.0), PACE)
