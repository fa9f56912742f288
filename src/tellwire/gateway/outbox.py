"""What waits to be written to one client, bounded in messages and in bytes. Pure: it holds frames and counts them."""

from tellwire.limits import WRITE_BUFFER_HIGH_BYTES


class Outbox:
    """A queue of frames for one connection.

    There is one for each of tens of thousands of sockets, nearly always empty: hence slots, and a list, which is a
    tenth of a deque when there is nothing in it.
    """

    __slots__ = ("_frames", "size_bytes")

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._frames)

    def offer(self, frames: bytes, max_messages: int, max_bytes: int) -> bool:
        """Add one message's frames if they keep within the bounds; False if not. An empty outbox takes any message."""
        waiting = self._frames
        size_bytes = self.size_bytes + len(frames)
        if waiting and (size_bytes > max_bytes or len(waiting) >= max_messages):
            return False
        waiting.append(frames)
        self.size_bytes = size_bytes
        return True

    def take(self, about_bytes: int = WRITE_BUFFER_HIGH_BYTES) -> list[bytes]:
        """Remove and return the oldest frames: all of them, or as many as reach `about_bytes`."""
        if self.size_bytes <= about_bytes:
            taken, self._frames = self._frames, []
            self.size_bytes = 0
            return taken
        taken_bytes = count = 0
        while taken_bytes < about_bytes:
            taken_bytes += len(self._frames[count])
            count += 1
        taken = self._frames[:count]
        del self._frames[:count]
        self.size_bytes -= taken_bytes
        return taken

    def clear(self) -> None:
        """Forget what waits."""
        self._frames.clear()
        self.size_bytes = 0
