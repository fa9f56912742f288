"""Messages that may come by two connections, known by their ids, as pure code."""

from math import inf
from typing import Final

_REMEMBERED_IDS: Final = 8192


class Twins:
    """Remembers ids while there are two connections, or may be, and a little longer."""

    def __init__(self) -> None:
        self._seen: dict[str, None] | None = None
        self.forget_at = inf

    def watch(self) -> None:
        """Begin to remember, or go on, with no end in sight."""
        self._seen = self._seen or {}
        self.forget_at = inf

    def tick(self, now: float) -> None:
        """Forget, when it is time."""
        if now >= self.forget_at:
            self._seen, self.forget_at = None, inf

    def is_first(self, message_id: str | None) -> bool:
        """Tell whether a message is not the second one with its id. One without an id never is."""
        if self._seen is None or message_id is None:
            return True
        if message_id in self._seen:
            return False
        self._seen[message_id] = None
        if len(self._seen) > _REMEMBERED_IDS:
            del self._seen[next(iter(self._seen))]
        return True
