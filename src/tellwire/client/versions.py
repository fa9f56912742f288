"""The newest version of each state of a stream, as pure code: an older state never passes after a newer one."""

from typing import Final

from tellwire.client.decode import ReceivedMessage

MAX_KEYS: Final = 1000
"""The number of keys to remember. Those that are quiet for longest go first; their newest state may pass twice."""


class Versions:
    """Versions by key, of one epoch."""

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._max_keys = max_keys
        self._epoch: str | None = None
        self._newest: dict[str, int] = {}

    @property
    def highest(self) -> int | None:
        """The highest version of all; None before the first one."""
        return max(self._newest.values(), default=None)

    def begin(self, epoch: str) -> bool:
        """Begin anew if it is another epoch. Return whether one ended."""
        if epoch == self._epoch:
            return False
        ended = self._epoch is not None
        self._epoch = epoch
        self._newest.clear()
        return ended

    def is_newer(self, message: ReceivedMessage) -> bool:
        """Return whether a state is newer than the last of its key, and remember it if so."""
        if message.key is None or message.version is None:
            return True
        if message.version <= self._newest.get(message.key, 0):
            return False
        self.note(message)
        return True

    def note(self, message: ReceivedMessage) -> None:
        """Remember a state that passes in any case."""
        if message.key is None or message.version is None:
            return
        self._newest.pop(message.key, None)
        self._newest[message.key] = message.version
        if len(self._newest) > self._max_keys:
            del self._newest[next(iter(self._newest))]
