"""Offsets of a log without a message: holes, which nobody filled, and evicted messages. Pure.

A writer on AWS is issued an offset first and puts its message there then, so an offset may be empty:

    a hole    its writer is about to put it, or never will
    evicted   it is older than the retention, and DynamoDB has deleted it

Empty offsets in a row are of one kind. They are holes if the message below them is one that is still kept, or if the
last of them was issued within the retention. In the second case those far below may be both: as many as may be on their
way at once count as holes, and the others as evicted.
"""

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from tellwire.engines.aws.history_items import Head, Row
from tellwire.limits import HISTORY_IN_FLIGHT


class Gaps(Struct, frozen=True):
    """The holes of a log, and whether any of its messages are evicted."""

    holes: list[int]
    evicts: bool


def find_gaps(rows: Sequence[Row], low: int, head: Head, oldest: float) -> Gaps:
    """Find the gaps above the offset `low`, up to the head.

    `rows` are those of the log, in order; the one at `low` helps to tell, if it is there. `oldest` is when messages
    that are still kept were stored at the earliest, in epoch seconds.
    """
    holes: list[int] = []
    evicts = False
    for first, last, is_above_kept, issued_at in _empty_runs(rows, low, head, oldest):
        run = range(first, last + 1)
        found = run if is_above_kept else run[-HISTORY_IN_FLIGHT:] if issued_at >= oldest else ()
        holes += found
        evicts = evicts or len(found) < len(run)
    old = any(low < row.offset <= head.offset and _is_evicted(row, oldest) for row in rows)
    return Gaps(holes, evicts or old)


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
