"""Offsets of a log without a message: holes and evicted messages. Pure.

A writer on AWS gets an offset first and then writes its message there, so an offset may be empty:

    a hole    the message is not written yet, or never will be
    evicted   the message is older than the retention, and DynamoDB has deleted it

A run of empty offsets is of one kind. It is a run of holes if the message below it is still kept, or if its last offset
was issued within the retention. In the second case its lower part may be evicted: only as many offsets as can be in
flight at once count as holes.
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

    `rows` are those of the log, in order, with that at `low` if there is one. `oldest` is the earliest storage time
    of messages that are still kept, in epoch seconds.
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
