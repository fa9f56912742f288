"""Empty offsets of a log: holes, and evicted messages."""

import pytest

from tellwire.engines.aws.gaps import Gaps, find_gaps
from tellwire.engines.aws.history_items import Head, Row
from tellwire.limits import HISTORY_IN_FLIGHT
from tellwire.model import Target
from tellwire.publication import user_stream
from tellwire.stream import Entry

OLDEST = 1000.0
OLD, KEPT = OLDEST - 1, OLDEST + 1


def message(offset: int, at: float = KEPT, before: float | None = None) -> Row:
    entry = Entry(
        Target(user="anna"), user_stream("anna"), f"m{offset}", "note", b"{}", at, number=offset, stored_at=at
    )
    return Row(offset, at, at if before is None else before, entry)


def hole(offset: int, at: float = KEPT) -> Row:
    return Row(offset, at, 0.0, None)


def gaps(rows: list[Row], low: int, last: int, at: float = KEPT) -> Gaps:
    return find_gaps(rows, low, Head("e", last, at), OLDEST)


def test_a_log_without_gaps_has_none() -> None:
    assert gaps([], 0, 0, 0.0) == Gaps([], evicts=False)
    assert gaps([message(1), message(2)], 0, 2) == Gaps([], evicts=False)
    assert gaps([message(5), message(6)], 5, 6) == Gaps([], evicts=False)
    assert gaps([], 6, 6, OLD) == Gaps([], evicts=False)


def test_above_a_message_that_is_kept_every_empty_offset_is_a_hole() -> None:
    assert gaps([message(1), message(4, before=OLD)], 1, 6, OLD) == Gaps([2, 3, 5, 6], evicts=False)
    assert gaps([message(1), message(100)], 0, 100) == Gaps(list(range(2, 100)), evicts=False)


def test_offsets_issued_before_the_retention_are_evicted() -> None:
    assert gaps([message(4, before=OLD)], 1, 4) == Gaps([], evicts=True)
    assert gaps([], 3, 9, OLD) == Gaps([], evicts=True)


def test_a_message_that_is_too_old_is_evicted() -> None:
    assert gaps([message(3, OLD), message(4)], 2, 4) == Gaps([], evicts=True)
    assert gaps([message(2, OLD), message(3)], 2, 3) == Gaps([], evicts=False)


def test_a_hole_is_never_evicted() -> None:
    assert gaps([hole(3, OLD), message(4)], 2, 4) == Gaps([], evicts=False)


def test_below_a_recent_offset_as_many_are_holes_as_can_be_in_flight() -> None:
    assert gaps([], 0, 2) == Gaps([1, 2], evicts=False)
    assert gaps([message(5)], 2, 5) == Gaps([3, 4], evicts=False)
    last = HISTORY_IN_FLIGHT + 5
    assert gaps([], 0, last) == Gaps(list(range(6, last + 1)), evicts=True)


def test_below_a_hole_was_judged_when_it_was() -> None:
    assert gaps([hole(5), message(6)], 2, 6) == Gaps([], evicts=True)


@pytest.mark.parametrize("at", [OLD, KEPT])
def test_what_was_put_there_after_the_head_was_read_is_of_no_account(at: float) -> None:
    assert gaps([message(2), message(4, at), message(5)], 1, 2) == Gaps([], evicts=False)
    assert gaps([message(2), message(4, at)], 1, 3) == Gaps([3], evicts=False)
