"""Offsets of a log without a message: holes and evicted messages. Pure.

A writer on AWS gets an offset first and then writes its message there, so an offset may be empty:

    a hole    the message is not written yet, or never will be
    evicted   the message is older than the retention, and DynamoDB has deleted it

A run of empty offsets is known by its last one, whose time of issue is in the row above it, or in the head:

    above a message that is kept, or in a log that began within the retention    all are holes
    the last was issued before the retention                                     all are evicted
    the last was issued just now                                                 all may be holes, and some are evicted
    else                                                                         the last is a hole, others are evicted

So however many write at once, every offset that may still get a message is a hole. What a reader has judged to be one
never gets a message.
"""

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from tellwire.engines.aws.history_items import Head, Row
from tellwire.limits import HISTORY_IN_FLIGHT_SECONDS


class Gaps(Struct, frozen=True):
    """The holes of a log, the time at which the last of them was issued, and whether messages may be evicted."""

    holes: list[int]
    evicts: bool
    issued_at: float = 0.0


def find_gaps(rows: Sequence[Row], low: int, head: Head, oldest: float, now: float) -> Gaps:
    """Find the gaps above the offset `low`, up to the head.

    `rows` are those of the log, in order, with that at `low` if there is one. `oldest` is the earliest storage time
    of messages that are still kept, in epoch seconds.
    """
    holes: list[int] = []
    evicts = False
    last_issued_at = 0.0
    for first, last, is_above_kept, issued_at in _empty_runs(rows, low, head, oldest):
        run = range(first, last + 1)
        is_certain = is_above_kept or head.began_at >= oldest
        if is_certain or (issued_at >= oldest and is_in_flight(issued_at, now)):
            found = run
        else:
            found = run[-1:] if issued_at >= oldest else run[:0]
        holes += found
        evicts = evicts or len(run if is_certain else found[-1:]) < len(run)
        last_issued_at = max(last_issued_at, issued_at if found else 0.0)
    old = any(low < row.offset <= head.offset and _is_evicted(row, oldest) for row in rows)
    return Gaps(holes, evicts or old, last_issued_at)


def is_in_flight(issued_at: float, now: float) -> bool:
    """Return True if the writer of an offset that was issued then may still be writing its message."""
    return issued_at > now - HISTORY_IN_FLIGHT_SECONDS


def is_settled_below(rows: Sequence[Row], now: float) -> bool:
    """Return True if no writer is at work below the first of these rows, as its row tells."""
    return bool(rows) and not is_in_flight(rows[0].previous_issued_at, now)


def _empty_runs(rows: Iterable[Row], low: int, head: Head, oldest: float) -> Iterator[tuple[int, int, bool, float]]:
    """Yield runs of empty offsets: the first and last, whether the row below is kept, and when the last was issued."""
    below, is_kept = low, False
    for row in rows:
        if row.offset > head.offset:
            break
        if row.offset > below + 1:
            yield below + 1, row.offset - 1, is_kept, row.previous_issued_at
        below, is_kept = row.offset, row.stored_at >= oldest
    if below < head.offset:
        yield below + 1, head.offset, is_kept, head.issued_at


def _is_evicted(row: Row, oldest: float) -> bool:
    return row.entry is not None and row.stored_at < oldest
