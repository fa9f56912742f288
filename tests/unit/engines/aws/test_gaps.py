"""Which empty offsets are holes, and which are forgotten."""

import pytest

from tellwire.engines.aws.gaps import Gaps, find_gaps
from tellwire.engines.aws.history_items import Head, Row
from tellwire.limits import HISTORY_IN_FLIGHT
from tellwire.stream import Entry

OLDEST = 1000.0
OLD, KEPT = OLDEST - 1, OLDEST + 1


def message(offset: int, at: float = KEPT, before: float | None = None) -> Row:
    return Row(offset, at, at if before is None else before, Entry(f"m{offset}", offset, b"{}", at, at))


def hole(offset: int, at: float = KEPT) -> Row:
    return Row(offset, at, 0.0, None)


def gaps(rows: list[Row], low: int, last: int, at: float = KEPT) -> Gaps:
    return find_gaps(rows, low, Head("e", last, at), OLDEST)


def test_a_log_without_gaps_has_none() -> None:
    assert gaps([], 0, 0, 0.0) == Gaps([], forgets=False)
    assert gaps([message(1), message(2)], 0, 2) == Gaps([], forgets=False)
    assert gaps([message(5), message(6)], 5, 6) == Gaps([], forgets=False)
    assert gaps([], 6, 6, OLD) == Gaps([], forgets=False)


def test_above_a_message_that_is_kept_every_empty_offset_is_a_hole() -> None:
    assert gaps([message(1), message(4, before=OLD)], 1, 6, OLD) == Gaps([2, 3, 5, 6], forgets=False)
    assert gaps([message(1), message(100)], 0, 100) == Gaps(list(range(2, 100)), forgets=False)


def test_what_was_given_out_before_anything_that_is_kept_is_forgotten() -> None:
    assert gaps([message(4, before=OLD)], 1, 4) == Gaps([], forgets=True)
    assert gaps([], 3, 9, OLD) == Gaps([], forgets=True)


def test_what_is_there_and_too_old_is_forgotten() -> None:
    assert gaps([message(3, OLD), message(4)], 2, 4) == Gaps([], forgets=True)
    assert gaps([message(2, OLD), message(3)], 2, 3) == Gaps([], forgets=False)


def test_a_hole_is_never_forgotten() -> None:
    assert gaps([hole(3, OLD), message(4)], 2, 4) == Gaps([], forgets=False)


def test_below_what_was_given_out_lately_as_many_are_holes_as_may_be_on_their_way() -> None:
    assert gaps([], 0, 2) == Gaps([1, 2], forgets=False)
    assert gaps([message(5)], 2, 5) == Gaps([3, 4], forgets=False)
    last = HISTORY_IN_FLIGHT + 5
    assert gaps([], 0, last) == Gaps(list(range(6, last + 1)), forgets=True)


def test_below_a_hole_was_judged_when_it_was() -> None:
    assert gaps([hole(5), message(6)], 2, 6) == Gaps([], forgets=True)


@pytest.mark.parametrize("at", [OLD, KEPT])
def test_what_was_put_there_after_the_head_was_read_is_of_no_account(at: float) -> None:
    assert gaps([message(2), message(4, at), message(5)], 1, 2) == Gaps([], forgets=False)
    assert gaps([message(2), message(4, at)], 1, 3) == Gaps([3], forgets=False)
