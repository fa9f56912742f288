"""The timer wheel."""

from hypothesis import given
from hypothesis import strategies as st

from tellwire.server.timer_wheel import TimerWheel


class Entry:
    def __init__(self, at: float = 0.0) -> None:
        self.at = at
        self.due_slot = 0


def test_an_entry_is_due_at_its_time_and_never_before() -> None:
    wheel: TimerWheel[Entry] = TimerWheel(100.0)
    entry = Entry()
    wheel.put(entry, 105.2)
    assert list(wheel.due(105.9)) == []
    assert list(wheel.due(106.0)) == [entry]
    assert list(wheel.due(200.0)) == []


def test_put_moves_an_entry() -> None:
    wheel: TimerWheel[Entry] = TimerWheel(100.0)
    entry = Entry()
    wheel.put(entry, 101.0)
    wheel.put(entry, 110.0)
    assert list(wheel.due(109.0)) == []
    assert list(wheel.due(110.0)) == [entry]


def test_a_discarded_entry_is_removed_and_may_be_discarded_again() -> None:
    wheel: TimerWheel[Entry] = TimerWheel(100.0)
    entry = Entry()
    wheel.put(entry, 101.0)
    wheel.discard(entry)
    wheel.discard(entry)
    assert list(wheel.due(1000.0)) == []
    assert wheel._slots == {}


def test_a_time_that_has_passed_is_due_at_the_next_check() -> None:
    wheel: TimerWheel[Entry] = TimerWheel(100.0)
    entry = Entry()
    wheel.put(entry, 5.0)
    assert list(wheel.due(101.0)) == [entry]


def test_entries_may_be_put_back_and_discarded_while_others_are_due() -> None:
    wheel: TimerWheel[Entry] = TimerWheel(100.0)
    entries = [Entry() for _ in range(3)]
    for entry in entries:
        wheel.put(entry, 101.0)
    seen = []
    for entry in wheel.due(101.0):
        seen.append(entry)
        wheel.put(entry, 101.0)
        for other in entries:
            if other not in seen:
                wheel.discard(other)
    assert len(seen) == 1
    assert list(wheel.due(102.0)) == seen


def test_a_clock_that_goes_back_is_survived() -> None:
    wheel: TimerWheel[Entry] = TimerWheel(100.0)
    entry = Entry()
    wheel.put(entry, 103.0)
    assert list(wheel.due(50.0)) == []
    assert list(wheel.due(103.0)) == [entry]


@given(st.lists(st.floats(0, 10_000), max_size=30), st.lists(st.floats(0, 20_000), max_size=10))
def test_each_entry_is_due_once_and_at_most_a_second_late(times: list[float], checks: list[float]) -> None:
    wheel: TimerWheel[Entry] = TimerWheel(0.0)
    entries = [Entry(at) for at in times]
    for entry in entries:
        wheel.put(entry, entry.at)
    seen: list[Entry] = []
    for now in sorted(checks):
        due = list(wheel.due(now))
        assert all(entry.at <= now for entry in due)
        seen += due
        assert all(entry in seen for entry in entries if entry.at <= now - 1 and now >= 1)
    assert len(seen) == len(set(map(id, seen)))
