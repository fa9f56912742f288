"""Which offsets of a log have no message, and why: nobody put one there, or it was kept and is forgotten. Pure.

A writer on AWS is given an offset first and puts its message there then, so an offset may be empty:

    a hole      its writer is about to put it, or never will
    forgotten   it is older than what is kept, and DynamoDB has deleted it

Empty offsets in a row are of one kind. They are holes if the message below them is one that is still kept, or if the
last of them was given out within the time that messages are kept. In the second case those far below may be both: as
many as may be on their way at once count as holes, and the others as forgotten.
"""

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from tellwire.engines.aws.history_items import Head, Row
from tellwire.limits import HISTORY_IN_FLIGHT


class Gaps(Struct, frozen=True):
    """What is missing of a log: the holes, and whether anything is forgotten."""

    holes: list[int]
    forgets: bool


def find_gaps(rows: Sequence[Row], low: int, head: Head, oldest: float) -> Gaps:
    """Look at the offsets above `low`, up to the head.

    `rows` are what is there, in order; the one at `low` helps to tell, if it is there. `oldest` is when messages that
    are still kept were put there at the earliest, in epoch seconds.
    """
    holes: list[int] = []
    forgets = False
    for first, last, is_above_kept, given_out_at in _empty_runs(rows, low, head, oldest):
        run = range(first, last + 1)
        found = run if is_above_kept else run[-HISTORY_IN_FLIGHT:] if given_out_at >= oldest else ()
        holes += found
        forgets = forgets or len(found) < len(run)
    old = any(low < row.offset <= head.offset and _is_forgotten(row, oldest) for row in rows)
    return Gaps(holes, forgets or old)


def _empty_runs(rows: Iterable[Row], low: int, head: Head, oldest: float) -> Iterator[tuple[int, int, bool, float]]:
    """Yield offsets without anything: the first and last in a row, what is below, and when the last was given out."""
    below, is_kept = low, False
    for row in rows:
        if row.offset > head.offset:
            break
        if row.offset > below + 1:
            yield below + 1, row.offset - 1, is_kept, row.before
        below, is_kept = row.offset, row.at >= oldest
    if below < head.offset:
        yield below + 1, head.offset, is_kept, head.at


def _is_forgotten(row: Row, oldest: float) -> bool:
    return row.entry is not None and row.at < oldest
