"""The marks of a user on the log: which messages they have read, and which they want to see no more. Pure.

They are one state of the user's stream, `marks`: ranges of offsets, so that marking everything is one range. It is made
of the state before it and takes the place of that one alone, so two devices that mark at once lose nothing: the later
one reads again. Beyond `MAX_MARK_RANGES` the messages between the two oldest ranges count as marked, too.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal

from msgspec import Struct, json, structs

from tellwire import wire
from tellwire.entry import Entry
from tellwire.limits import MAX_MARK_RANGES
from tellwire.model import new_message_id, timestamp
from tellwire.publication import Publication, StreamKey, stream_target

MARKS: Final = "marks"
"""The type, and the key, of the state that holds the marks of a user."""

MarkKind = Literal["read", "dismissed"]
Range = tuple[int, int]


class _State(Struct):
    data: wire.Marks


_state: Final = json.Decoder(_State)


def marks_of(entry: Entry | None, epoch: str) -> wire.Marks:
    """Return the marks of a state. Those of another epoch say nothing about this one; nor does None."""
    marks = None if entry is None else _state.decode(entry.payload).data
    return marks if marks is not None and marks.epoch == epoch else wire.Marks(epoch, [], [])


def marked(marks: wire.Marks, kind: MarkKind, ranges: Iterable[Range]) -> wire.Marks:
    """Return the marks with more of one kind. Who dismisses a message has read it."""
    added = list(ranges)
    read = _merged([*_pairs(marks.read), *added])
    if kind == "read":
        return structs.replace(marks, read=read)
    return structs.replace(marks, read=read, dismissed=_merged([*_pairs(marks.dismissed), *added]))


def marks_state(stream: StreamKey, marks: wire.Marks, known: Entry | None, now: float) -> Publication:
    """Return the state of these marks, in place of the known one, or the first one."""
    message_id = new_message_id()
    payload = wire.encode(wire.MarksMessage(marks, timestamp(now), message_id))
    target = stream_target(stream)
    return Publication(target, stream, message_id, MARKS, payload, now, MARKS, replaces=known.number if known else 0)


def _pairs(ranges: Sequence[Sequence[int]]) -> list[Range]:
    return [(first, last) for first, last in ranges]


def _merged(ranges: list[Range]) -> list[list[int]]:
    """Return the ranges in their order, without overlaps, and at most `MAX_MARK_RANGES`."""
    merged: list[list[int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1][1] = max(merged[-1][1], last)
        else:
            merged.append([first, last])
    surplus = len(merged) - MAX_MARK_RANGES
    return [[merged[0][0], merged[surplus][1]], *merged[surplus + 1 :]] if surplus > 0 else merged
