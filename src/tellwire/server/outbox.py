"""The frames that wait to be written to one client, bounded in messages and in bytes. Pure.

States are conflated: only the newest of a key waits, in the place of the one before it. A final state goes to the
front: a client that is far behind should not see the progress of an upload that has ended.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tellwire.limits import OUTBOX_MAX_BYTES, OUTBOX_MAX_MESSAGES, WRITE_CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class OutboxBounds:
    """The most that may wait for one client."""

    max_messages: int = OUTBOX_MAX_MESSAGES
    max_bytes: int = OUTBOX_MAX_BYTES


class Outbox:
    """A queue of frames for one connection.

    There is one for each of tens of thousands of sockets, nearly always empty: hence slots, and a list, whose empty
    size is a tenth of a deque's.
    """

    __slots__ = ("_bounds", "_finals", "_frames", "_on_conflated", "_states", "_taken", "size_bytes")

    def __init__(self, bounds: OutboxBounds, on_conflated: Callable[[], None] = lambda: None) -> None:
        self._bounds = bounds
        self._on_conflated = on_conflated
        self._frames: list[bytes] = []
        # The newest state of each key, as its number among all frames so far; None unless one waits.
        self._states: dict[str, int] | None = None
        self._taken = 0
        # The number of final states at the front.
        self._finals = 0
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._frames)

    def offer(self, frames: bytes, key: str | None = None, *, is_final: bool = False) -> bool:
        """Add one message's frames if they keep within the bounds; False if not. An empty outbox takes any message.

        With a `key` it is a state: it replaces the waiting state of this key, and goes to the front if it is final.
        """
        if key is not None:
            if is_final:
                return self._put_first(key, frames)
            if self._replace(key, frames):
                return True
        size_bytes = self.size_bytes + len(frames)
        if self._frames and not self._has_room(size_bytes):
            return False
        self._frames.append(frames)
        self.size_bytes = size_bytes
        if key is not None:
            self._states = self._states or {}
            self._states[key] = self._taken + len(self._frames) - 1
        return True

    def _replace(self, key: str, frames: bytes) -> bool:
        index = self._index(key)
        if index is None:
            return False
        size_bytes = self.size_bytes + len(frames) - len(self._frames[index])
        if len(self._frames) > 1 and size_bytes > self._bounds.max_bytes:
            return False
        self.size_bytes = size_bytes
        self._frames[index] = frames
        self._on_conflated()
        return True

    def _index(self, key: str) -> int | None:
        """Return the index of the waiting state of a key; None if there is none."""
        number = None if self._states is None else self._states.get(key)
        return None if number is None or number < self._taken else number - self._taken

    def _put_first(self, key: str, frames: bytes) -> bool:
        index = self._index(key)
        replaced_bytes = 0 if index is None else len(self._frames[index])
        size_bytes = self.size_bytes + len(frames) - replaced_bytes
        if self._frames and not self._has_room(size_bytes):
            return False
        if index is not None:
            del self._frames[index]
            self._on_conflated()
        self._frames.insert(self._finals, frames)
        self._finals += 1
        self.size_bytes = size_bytes
        self._drop_key(key, len(self._frames) if index is None else index)
        return True

    def _drop_key(self, key: str, index: int) -> None:
        """Drop a key, and add one to the numbers of the frames before this index."""
        before = self._taken + index
        states = self._states or {}
        self._states = {k: number + (number < before) for k, number in states.items() if k != key} or None

    def take(self, about_bytes: int = WRITE_CHUNK_BYTES) -> list[bytes]:
        """Remove and return the oldest frames: all of them, or as many as reach `about_bytes`."""
        if self.size_bytes <= about_bytes:
            taken, self._frames = self._frames, []
            self._taken += len(taken)
            self._states = None
            self._finals = 0
            self.size_bytes = 0
            return taken
        taken_bytes = count = 0
        while taken_bytes < about_bytes:
            taken_bytes += len(self._frames[count])
            count += 1
        taken = self._frames[:count]
        del self._frames[:count]
        self._taken += count
        self._finals = max(0, self._finals - count)
        self.size_bytes -= taken_bytes
        return taken

    def _has_room(self, size_bytes: int) -> bool:
        return size_bytes <= self._bounds.max_bytes and len(self._frames) < self._bounds.max_messages

    def clear(self) -> None:
        """Drop all frames."""
        self._frames.clear()
        self._states = None
        self._finals = 0
        self.size_bytes = 0
