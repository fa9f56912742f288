"""Empty offsets of a log: holes, and evicted messages."""

import pytest

from tellwire.engines.aws.gaps import Gaps, find_gaps
from tellwire.engines.aws.history_items import Head, Row
from tellwire.entry import Entry
from tellwire.limits import HISTORY_IN_FLIGHT_SECONDS
from tellwire.model import Target
from tellwire.publication import user_stream

NOW = 100_000.0
OLDEST = 1000.0
OLD, KEPT = OLDEST - 1, OLDEST + 1
YOUNG = NOW - HISTORY_IN_FLIGHT_SECONDS + 1


def message(offset: int, at: float = KEPT, before: float | None = None) -> Row:
    entry = Entry(
        Target(user="anna"), user_stream("anna"), f"m{offset}", "note", b"{}", at, number=offset, stored_at=at
    )
    return Row(offset, at, at if before is None else before, entry)


def hole(offset: int, at: float = KEPT) -> Row:
    return Row(offset, at, 0.0, None)


def gaps(rows: list[Row], low: int, last: int, at: float = KEPT, began_at: float = 0.0) -> Gaps:
    found = find_gaps(rows, low, Head("e", last, at, began_at), OLDEST, NOW)
    return Gaps(found.holes, found.evicts)


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


def test_every_offset_is_a_hole_while_the_last_may_be_in_flight() -> None:
    assert gaps([], 0, 1, YOUNG) == Gaps([1], evicts=False)
    # Some of them may be evicted, but none may get a message any more.
    assert gaps([], 0, 900, YOUNG) == Gaps(list(range(1, 901)), evicts=True)
    assert gaps([message(5, before=YOUNG)], 2, 5) == Gaps([3, 4], evicts=True)


def test_of_a_run_that_nobody_writes_to_any_more_only_the_last_is_known_to_be_a_hole() -> None:
    assert gaps([message(5)], 3, 5) == Gaps([4], evicts=False)
    assert gaps([message(5)], 2, 5) == Gaps([4], evicts=True)


def test_in_a_log_that_began_within_the_retention_nothing_is_evicted() -> None:
    assert gaps([], 0, 50, KEPT, began_at=KEPT) == Gaps(list(range(1, 51)), evicts=False)
    assert gaps([message(40)], 0, 50, YOUNG, began_at=OLDEST).evicts is False


def test_the_wait_is_for_the_offset_that_was_issued_last() -> None:
    rows = [message(2, before=YOUNG), message(4, before=YOUNG + 7)]
    assert find_gaps(rows, 0, Head("e", 4, YOUNG + 20), OLDEST, NOW).issued_at == YOUNG + 7


def test_below_a_hole_was_judged_when_it_was() -> None:
    assert gaps([hole(5), message(6)], 2, 6) == Gaps([], evicts=True)


@pytest.mark.parametrize("at", [OLD, KEPT])
def test_what_was_put_there_after_the_head_was_read_is_of_no_account(at: float) -> None:
    assert gaps([message(2), message(4, at), message(5)], 1, 2) == Gaps([], evicts=False)
    assert gaps([message(2), message(4, at)], 1, 3) == Gaps([3], evicts=False)
