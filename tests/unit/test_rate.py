"""The token bucket."""

from hypothesis import given
from hypothesis import strategies as st

from tellwire.rate import Rate

RATE = Rate(per_second=2.0, burst=5)


def taken(rate: Rate, times: list[float]) -> int:
    """Return the number of times, of these, at which one can be taken."""
    full_at, count = 0.0, 0
    for now in times:
        after = rate.take(full_at, now)
        if after is not None:
            full_at, count = after, count + 1
    return count


def test_a_burst_is_allowed_and_then_the_rate() -> None:
    assert taken(RATE, [100.0] * 20) == 5
    assert taken(RATE, [100.0] * 20 + [101.0] * 20) == 7
    assert taken(RATE, [100.0] * 20 + [1000.0] * 20) == 10


def test_what_is_refused_costs_nothing() -> None:
    full_at = 0.0
    for _ in range(5):
        full_at = RATE.take(full_at, 100.0) or full_at
    assert RATE.take(full_at, 100.0) is None
    assert RATE.take(full_at, 100.5) is not None


def test_more_than_there_is_can_be_owed_and_is_waited_for() -> None:
    full_at = RATE.spend(0.0, 100.0, 9)
    assert RATE.wait_seconds(full_at, 100.0) == 2.0
    assert RATE.wait_seconds(full_at, 102.0) == 0.0


def test_it_says_what_is_allowed() -> None:
    assert str(Rate(20, 50)) == "20 a second, and 50 at once"
    assert str(Rate(0.5, 10)) == "one in 2 seconds, and 10 at once"


@given(st.lists(st.floats(0, 100), max_size=200).map(sorted))
def test_in_no_time_more_is_taken_than_the_burst_and_the_rate(times: list[float]) -> None:
    assert taken(RATE, times) <= RATE.burst + RATE.per_second * (times[-1] - times[0] if times else 0) + 1e-3
