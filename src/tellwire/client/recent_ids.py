"""Deduplication by message id, as pure code: two connections may bring the same message, and so may a welcome."""

from typing import Final

MAX_IDS: Final = 1000
"""The number of ids to remember: more than arrive in the seconds for which there are two connections."""


class RecentIds:
    """The ids of the last messages that were passed to the application."""

    def __init__(self, max_ids: int = MAX_IDS) -> None:
        self._max_ids = max_ids
        self._ids: dict[str, None] = {}

    def add(self, message_id: str | None) -> bool:
        """Remember an id. Return False if it is already there; a message without an id is always new."""
        if message_id is None:
            return True
        if message_id in self._ids:
            return False
        self._ids[message_id] = None
        if len(self._ids) > self._max_ids:
            del self._ids[next(iter(self._ids))]
        return True
