"""One stream of a client, as pure code: the position in it, the ids that have passed, and its end as a pong told it."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import Any, Final

from tellwire.client.cursors import has_position
from tellwire.client.decode import ReceivedMessage
from tellwire.client.recent_ids import MAX_IDS, RecentIds
from tellwire.client.resequencer import MAX_BUFFERED, Mode, Resequencer
from tellwire.client.versions import MAX_KEYS

_BEHIND_SECONDS: Final = 2.0
"""Time after a pong in which messages that it knows of already may still come."""

MAX_HELLO_TOPICS: Final = 40
"""The number of topics in a hello. A server takes frames of 32 KiB; a longer hello would fail each time."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that a client remembers of a stream, and the most topics that its hello says."""

    buffered_messages: int = MAX_BUFFERED
    recent_ids: int = MAX_IDS
    state_keys: int = MAX_KEYS
    hello_topics: int = MAX_HELLO_TOPICS


class Stream:
    """The user's own stream, or that of a topic. It begins at `cursor`; see `Resequencer`, which passes messages on.

    Ids decide where it cannot: for messages without a position, and where the server keeps no history.
    """

    def __init__(self, cursor: str | None = None, bounds: Bounds | None = None) -> None:
        bounds = bounds or Bounds()
        self.resequencer: Final = Resequencer(cursor, bounds.buffered_messages, bounds.state_keys)
        self._recent_ids = RecentIds(bounds.recent_ids)
        self._told: tuple[str | None, int] = (None, 0)  # the end of the stream, as the last pong told it
        self.check_at = inf

    @property
    def wants_resync(self) -> bool:
        """True if something is missing that has to be asked for."""
        return self.resequencer.mode is Mode.RESYNC

    def cursor_to_store(self, waiting: str | None) -> str | None:
        """Return the cursor to come back with. `waiting`: that before the first message that was not taken."""
        return self.resequencer.lost_at or waiting or self.resequencer.cursor

    def receive(self, message: ReceivedMessage, *, is_beside: bool) -> list[ReceivedMessage]:
        """Take a live message, and return those that pass now. `is_beside`: not by the open connection."""
        if not has_position(message):
            return self.new([message])
        if is_beside and self.resequencer.mode is not Mode.PASS_THROUGH:
            # It is in the answer on the current connection, or comes there, too.
            return []
        return self.new(self.resequencer.receive(message))

    def new(self, messages: Iterable[ReceivedMessage]) -> list[ReceivedMessage]:
        """Return those that have not passed yet, and remember them."""
        return [message for message in messages if self._recent_ids.add(message.id)]

    # --- the end of the stream, as a pong tells it --------------------------------------------------------------------

    def pong(self, data: Any, now: float) -> None:
        """Note the end of the stream. If the client is still behind a moment later, it has missed something."""
        cursor, version = (data.get("cursor"), data.get("version")) if isinstance(data, dict) else (None, None)
        end = (cursor if isinstance(cursor, str) else None, version if isinstance(version, int) else 0)
        if self.resequencer.is_behind(*end):
            self._told = end
            self.check_at = min(self.check_at, now + _BEHIND_SECONDS)

    def check(self, now: float) -> None:
        """Ask for the rest, if that time has come."""
        if now < self.check_at:
            return
        self.check_at = inf
        if self.resequencer.is_behind(*self._told):
            self.resequencer.ask_up_to(self._told[1])

    def end(self) -> None:
        """Forget the end of the stream: the connection that told it has ended."""
        self.check_at = inf
