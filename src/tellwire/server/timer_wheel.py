"""A timer wheel of whole seconds. Pure: the time is an argument, in seconds of a monotonic clock.

It replaces one timer for each of tens of thousands of idle sockets. A connection is in one slot; when the slot is due,
the connection checks its deadlines and is put into its next slot. Traffic does not move it.
"""

from collections.abc import Iterator
from math import ceil
from typing import Generic, Protocol, TypeVar


class Due(Protocol):
    """An entry of the wheel, which owns the attribute; 0 means: not on the wheel."""

    due_slot: int


T = TypeVar("T", bound=Due)


class TimerWheel(Generic[T]):
    """Entries by the second they are due in, rounded up: an entry is never early and at most a second late."""

    def __init__(self, now: float) -> None:
        self._slots: dict[int, set[T]] = {}
        self._reached = int(now)

    def put(self, entry: T, at: float) -> None:
        """Make `entry` due at this time, in place of the one it had before."""
        self.discard(entry)
        slot = max(ceil(at), self._reached + 1)
        entry.due_slot = slot
        self._slots.setdefault(slot, set()).add(entry)

    def discard(self, entry: T) -> None:
        """Remove `entry`. It need not be there."""
        if not entry.due_slot:
            return
        slot = self._slots[entry.due_slot]
        slot.discard(entry)
        if not slot:
            del self._slots[entry.due_slot]
        entry.due_slot = 0

    def due(self, now: float) -> Iterator[T]:
        """Yield, and remove from the wheel, the entries that are due. `put` and `discard` are allowed meanwhile."""
        reached = int(now)
        passed = range(self._reached + 1, reached + 1)
        # After a long sleep (a laptop lid, a test's clock) there are fewer slots than seconds.
        slots = passed if len(passed) < len(self._slots) else sorted(s for s in self._slots if s <= reached)
        self._reached = max(reached, self._reached)
        for slot in slots:
            while entries := self._slots.get(slot):
                entry = next(iter(entries))
                self.discard(entry)
                yield entry
