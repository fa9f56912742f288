"""The ports: what the core asks of the outside, and what it may count on. One contract suite runs on every adapter."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Protocol, runtime_checkable

from tellwire.model import ConnectionInfo, Delivery, Identity, Target
from tellwire.row_errors import RowError, RowErrorChunk, RowErrorList
from tellwire.stream import Entry, Replay, Said


class Carrier(Protocol):
    """How a message travels to live connections."""

    async def deliver(self, target: Target, payload: bytes) -> Delivery:
        """Hand `payload` to every connection of `target` and count what became of it.

        `payload` is one encoded message, at most `limits.MAX_MESSAGE_BYTES`; it arrives as one text message, byte for
        byte. Two deliveries that were awaited one after the other arrive in that order on each connection.

        One connection's trouble is counted and never raised: the others get theirs. A user without connections is no
        error: `Delivery()`. A connection id nobody has counts as `gone`.

        Raises:
            GatewayError: the carrier itself is out of reach; what became of the message is not known.
        """
        ...

    async def connections(self, user_id: str) -> list[ConnectionInfo]:
        """List the live connections of a user, oldest first; empty when there are none."""
        ...

    async def disconnect(self, connection_id: str) -> bool:
        """Close a connection with 1000, as `DELETE @connections` does. False if nobody has that id."""
        ...


class History(Protocol):
    """What was said to users, each in a stream of their own. See `stream`."""

    def open(self) -> None:
        """Begin. Nothing else may be called before.

        Raises:
            ConfigError: the place where it is kept cannot be used.
        """
        ...

    async def append(self, user_id: str, said: Said) -> Entry | None:
        """Keep a message, and return it in its place. None: it is kept already, or older than what is known of its key.

        When it returns, the message is safe. Appends that were begun one after the other get their places in that
        order, and return in it.

        Raises:
            HistoryUnavailable: it is not kept.
        """
        ...

    async def append_all(self, messages: Sequence[tuple[str, Said]]) -> list[Entry | None]:
        """Append a message for each of these users as `append` does, in this order; they are made safe together.

        Raises:
            HistoryUnavailable: some of them are not kept, or none.
        """
        ...

    async def read(self, user_id: str, cursor: str | None) -> Replay:
        """Return what a client with this cursor has missed. Everything in it is safe.

        Raises:
            HistoryUnavailable: it cannot be read.
        """
        ...

    async def state(self, user_id: str, key: str) -> Entry | None:
        """Return the newest state of a key.

        Raises:
            HistoryUnavailable: it cannot be read.
        """
        ...

    async def acknowledge(self, user_id: str, cursor: str) -> Entry | None:
        """Keep that the user has seen the log up to here, and return it in its place: it is a state.

        None: they had seen that much, or it is no cursor of ours.

        Raises:
            HistoryUnavailable: it is not kept.
        """
        ...

    def leased(self) -> AsyncIterator[tuple[str, Entry]]:
        """Yield the user and the state of every upload with a lease that has not ended.

        Raises:
            HistoryUnavailable: it cannot be read.
        """
        ...

    async def close(self) -> None:
        """Let go of what is held. Appends that have returned stay."""
        ...


@runtime_checkable
class TakesRowErrors(Protocol):
    """A carrier that also takes the rows that a job left out, for a list that its user can download."""

    async def add_row_errors(self, chunk: RowErrorChunk) -> None:
        """Put a part of the list into its place. The same part twice is there once.

        Raises:
            GatewayError: the carrier is out of reach; whether it took them is not known.
            HistoryUnavailable: they are not kept.
        """
        ...


class RowErrorStore(TakesRowErrors, Protocol):
    """Keeps the lists of row errors, of each upload that of its last run, as long as a history."""

    async def row_error_list(self, user_id: str, upload_id: str) -> RowErrorList | None:
        """Return what is known of an upload's list; None if there is none.

        Raises:
            HistoryUnavailable: it cannot be read.
        """
        ...

    async def row_errors(
        self, user_id: str, upload_id: str, started_at: str, first: int, at_most: int
    ) -> list[RowError]:
        """Return a part of a run's list, in its order; none if another run has begun.

        Raises:
            HistoryUnavailable: it cannot be read.
        """
        ...


class Authenticator(Protocol):
    """Who is behind a token."""

    async def authenticate(self, token: str) -> Identity:
        """Return who the token says it is, valid at this moment.

        Safe to call for many tokens at once. Never logs the token, nor quotes it in an error.

        Raises:
            TokenInvalid: not signed by the keys we trust, not for us, or malformed.
            TokenExpired: its `exp` has passed.
            KeysUnavailable: the keys to check it cannot be had just now.
        """
        ...


class Clock(Protocol):
    """The time, and waiting. Everything that expires or times out asks this, so that a test can move it."""

    def now(self) -> float:
        """Return the time in epoch seconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait. Zero or less only yields to the event loop."""
        ...


class SystemClock:
    """The clock on the wall."""

    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
