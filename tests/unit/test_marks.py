"""The marks of a user on the log."""

from hypothesis import given
from hypothesis import strategies as st

from tellwire.limits import MAX_MARK_RANGES
from tellwire.marks import marked, marks_of, marks_state
from tellwire.publication import user_stream
from tellwire.wire import Marks

NONE = Marks("e", [], [])


def offsets(ranges: list[list[int]]) -> set[int]:
    return {offset for first, last in ranges for offset in range(first, last + 1)}


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)), max_size=30))
def test_they_are_the_fewest_ranges_in_order_that_have_all_marked_messages(given_ranges: list[tuple[int, int]]) -> None:
    ranges = [(first, first + more) for first, more in given_ranges]
    marks = NONE
    for each in ranges:
        marks = marked(marks, "read", [each])
    assert marks == marked(NONE, "read", ranges)
    assert offsets(marks.read) == {offset for first, last in ranges for offset in range(first, last + 1)}
    assert all(before[1] + 1 < after[0] for before, after in zip(marks.read, marks.read[1:], strict=False))


def test_what_is_dismissed_is_read() -> None:
    assert marked(NONE, "dismissed", [(3, 4)]) == Marks("e", [[3, 4]], [[3, 4]])


def test_beyond_the_most_ranges_the_oldest_messages_between_them_are_marked_too() -> None:
    marks = marked(NONE, "read", [(2 * number, 2 * number) for number in range(1, MAX_MARK_RANGES + 3)])
    assert len(marks.read) == MAX_MARK_RANGES
    assert marks.read[:2] == [[2, 6], [8, 8]]


def test_marks_of_another_epoch_begin_anew() -> None:
    state = marks_state(user_stream("u"), marked(NONE, "read", [(1, 2)]), None, 1.0)
    assert state.replaces == 0
    assert marks_of(state, "e").read == [[1, 2]]  # type: ignore[arg-type]
    assert marks_of(state, "f") == Marks("f", [], [])  # type: ignore[arg-type]
    assert marks_of(None, "e") == NONE
