"""A carrier for tests: it records messages and delivers none."""

from typing import Any

import msgspec

from tellwire.model import ConnectionInfo, Delivery, Target
from tellwire.publication import Publication
from tellwire.row_errors import RowError, RowErrorChunk


class MemoryCarrier:
    """A `Carrier` that records messages. Every delivery returns `answer`; `error`, if set, is raised.

    `row_errors` are the row errors that jobs reported, oldest first. Users in `online` have a connection.
    """

    def __init__(self, answer: Delivery | None = None) -> None:
        self.answer = answer or Delivery(delivered=1)
        self.error: Exception | None = None
        self.sent: list[tuple[Target, dict[str, Any]]] = []
        self.row_errors: list[RowError] = []
        self.online: set[str] = set()

    def sent_to(self, user_id: str) -> list[dict[str, Any]]:
        """Return the messages sent to a user, oldest first, as a browser would decode them."""
        return [message for target, message in self.sent if target.user == user_id]

    async def deliver(self, publication: Publication) -> Delivery:
        if self.error is not None:
            raise self.error
        self.sent.append((publication.target, msgspec.json.decode(publication.payload)))
        return self.answer

    async def add_row_errors(self, chunk: RowErrorChunk) -> None:
        if self.error is not None:
            raise self.error
        self.row_errors += chunk.errors

    async def connections(self, user_id: str) -> list[ConnectionInfo]:
        return []

    async def count(self, user_id: str) -> int:
        if self.error is not None:
            raise self.error
        return int(user_id in self.online)

    async def disconnect(self, connection_id: str) -> bool:
        return False
