"""The pace of the application's requests; spec/client/requests.json has the whole client's."""

from tellwire.client.pacing import Pacing


def sent_at(pacing: Pacing, count: int) -> list[float]:
    """Send so many as soon as they may be, and return the seconds after which each was."""
    now = 100.0
    times: list[float] = []
    while len(times) < count:
        at = pacing.turn(now)
        if at <= now:
            times.append(round(now - 100, 4))
        now = max(now, at)
    return times


def test_without_limits_no_request_waits() -> None:
    pacing = Pacing()
    pacing.obey(None, 50)
    pacing.obey(20, None)
    assert sent_at(pacing, 100) == [0.0] * 100


def test_four_fifths_of_the_limits_are_used() -> None:
    pacing = Pacing()
    pacing.obey(20, 50)
    times = sent_at(pacing, 42)
    assert (times[:40], times[40:]) == ([0.0] * 40, [0.0625, 0.125])


def test_a_burst_of_one_is_one_request_at_a_time() -> None:
    pacing = Pacing()
    pacing.obey(10, 1)
    assert sent_at(pacing, 3) == [0.0, 0.125, 0.25]
