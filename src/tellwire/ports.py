"""The ports: the interfaces of the core to the outside, and their contracts. One suite of tests runs on every adapter.

Broker          keeps a publication in its stream and hands it to live connections, as one step
History         keeps streams, and reads them back after a cursor
Carrier         delivers publications to live connections
RowErrorSink    stores the row errors of jobs; RowErrorStore also reads them back
Authenticator   verifies tokens
Peer            the client at the other end of a conversation
Observer        receives counts and timings
Clock           the time, and waiting
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Protocol, runtime_checkable

from msgspec import Struct

from tellwire.errors import TellwireError
from tellwire.model import ConnectionInfo, Delivery, Identity
from tellwire.publication import Publication, StreamKey
from tellwire.row_errors import RowError, RowErrorChunk, RowErrorList
from tellwire.stream import Entry, Position, Replay


class Carrier(Protocol):
    """Delivery of publications to live connections."""

    async def deliver(self, publication: Publication) -> Delivery:
        """Hand a publication to every connection of its target and count the outcomes.

        Its payload arrives as one text message, byte for byte. Two deliveries that were awaited one after the other
        arrive in that order on each connection. A waiting state may be conflated with a newer one of its key, and a
        final one may overtake waiting messages.

        A connection that fails is counted, and raises nothing: the others get theirs. A user without connections is no
        error: `Delivery()`. An unknown connection id counts as `gone`.

        Raises:
            PublishError: the carrier itself cannot be reached; the outcome is not known.
        """
        ...

    async def connections(self, user_id: str) -> list[ConnectionInfo]:
        """List the live connections of a user, oldest first; empty when there are none."""
        ...

    async def disconnect(self, connection_id: str) -> bool:
        """Close a connection with 1000, as `DELETE @connections` does. False if there is none with this id."""
        ...


class History(Protocol):
    """Streams that are kept, and read back after a cursor. See `stream`."""

    async def append(self, publication: Publication) -> Entry | None:
        """Keep a publication in its stream. None: it is kept already, or is older than the state of its key.

        When it returns, the publication is safe. Appends that were begun one after the other get their numbers in that
        order, and return in it.

        Raises:
            HistoryUnavailable: it is not kept.
        """
        ...

    async def append_all(self, publications: Sequence[Publication]) -> list[Entry | None]:
        """Append each of these as `append` does, in this order; they are made safe together.

        Raises:
            HistoryUnavailable: not all of them are kept.
        """
        ...

    async def read(self, stream: StreamKey, cursor: str | None) -> Replay:
        """Read all that a client with this cursor has missed. Everything in it is safe.

        Raises:
            HistoryUnavailable: it cannot be read.
        """
        ...

    async def state(self, stream: StreamKey, key: str) -> Entry | None:
        """Return the newest state of a key.

        Raises:
            HistoryUnavailable: it cannot be read.
        """
        ...

    async def position(self, stream: StreamKey) -> Position | None:
        """Return the end of the log; None if it has not begun.

        Raises:
            HistoryUnavailable: it cannot be read.
        """
        ...

    def leased_uploads(self) -> AsyncIterator[Entry]:
        """Yield the state of every upload with a lease that has not ended.

        Raises:
            HistoryUnavailable: it cannot be read.
        """
        ...

    async def close(self) -> None:
        """Release files and connections. Appends that have returned stay."""
        ...


class Published(Struct, frozen=True, gc=False):
    """The outcome of a publish. `entry` is None if the publication has no stream, or was not kept: it was published
    before, or its state is out of date.
    """

    entry: Entry | None
    delivery: Delivery


class Broker(Protocol):
    """The one way to publish: kept in its stream, then handed to live connections, as one step.

    A publication without a stream is only delivered. A double, or a state that is out of date, is not delivered.
    """

    async def publish(self, publication: Publication) -> Published:
        """Publish. A kept publication that cannot be delivered just now counts as `unsent`, at least once: devices find
        it in the history when they come back.

        Raises:
            HistoryUnavailable: it cannot be kept, and was not delivered.
            PublishError: it has no stream, and the carrier cannot be reached.
        """
        ...

    async def publish_all(self, publications: Sequence[Publication]) -> list[Published | Exception]:
        """Publish one after the other, kept together. An error is the outcome of its publication; the others go on."""
        ...


@runtime_checkable
class RowErrorSink(Protocol):
    """A store of row errors, for the list that a user can download."""

    async def add_row_errors(self, chunk: RowErrorChunk) -> None:
        """Add a chunk to a list, idempotently.

        Raises:
            PublishError: the store cannot be reached; the outcome is not known.
        """
        ...


class RowErrorStore(RowErrorSink, Protocol):
    """The lists of row errors: of each upload that of its last run, kept as long as a history."""

    async def row_error_list(self, user_id: str, upload_id: str) -> RowErrorList | None:
        """Return the head of an upload's list; None if there is none.

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
    """The verification of tokens."""

    async def authenticate(self, token: str) -> Identity:
        """Return the identity in a token that is valid at this moment.

        Safe to call for many tokens at once. Never logs the token, nor quotes it in an error.

        Raises:
            TokenInvalid: not signed by the keys we trust, not for us, or malformed.
            TokenExpired: its `exp` has passed.
            KeysUnavailable: the keys that verify it cannot be fetched just now.
        """
        ...


class Peer(Protocol):
    """The client at the other end of a conversation: one connection, on a socket or behind API Gateway."""

    @property
    def connection_id(self) -> str: ...

    @property
    def user_id(self) -> str: ...

    @property
    def expires_at(self) -> float:
        """The expiry of its token or, if that is earlier, of the connection, in epoch seconds."""
        ...

    async def send(self, payload: bytes) -> bool:
        """Send one encoded message. False: the client is gone, which is no error."""
        ...

    async def ready(self) -> None:
        """Wait until the client can take more, or is gone."""
        ...

    async def renew(self, identity: Identity) -> bool:
        """Set the expiry to that of the identity's token. False: the connection is not known any more."""
        ...

    async def close(self, error: TellwireError) -> None:
        """Send an `error` with the reason, then close with the error's close code (on AWS: with 1000)."""
        ...


class Observer(Protocol):
    """Counts and timings. Every call is made on the event loop, and must be quick. See `NullObserver`."""

    def connection_opened(self) -> None:
        """Count a connection that was accepted."""
        ...

    def connection_closed(self, code: int) -> None:
        """Count the end of a connection, by its close code; 1006 if there was none."""
        ...

    def connection_refused(self, code: str) -> None:
        """Count a handshake that was refused, by the code of the refusal."""
        ...

    def frame_conflated(self) -> None:
        """Count a state that a newer one of its key has replaced in an outbox."""
        ...

    def frame_dropped(self) -> None:
        """Count a message that a slow consumer did not get."""
        ...

    def published(self, publication: Publication, published: Published, seconds: float) -> None:
        """Count a publication, and how long it took to keep and deliver it."""
        ...

    def welcomed(self, replay: Replay, seconds: float) -> None:
        """Count a client that came back, and how long its welcome took."""
        ...

    def lease_expired(self, status: str) -> None:
        """Count an upload that was declared `stalled` or `failed`."""
        ...


class NullObserver:
    """An `Observer` that does nothing. A custom observer inherits from it and overrides some methods."""

    def connection_opened(self) -> None:
        """Ignore it."""

    def connection_closed(self, code: int) -> None:
        """Ignore it."""

    def connection_refused(self, code: str) -> None:
        """Ignore it."""

    def frame_conflated(self) -> None:
        """Ignore it."""

    def frame_dropped(self) -> None:
        """Ignore it."""

    def published(self, publication: Publication, published: Published, seconds: float) -> None:
        """Ignore it."""

    def welcomed(self, replay: Replay, seconds: float) -> None:
        """Ignore it."""

    def lease_expired(self, status: str) -> None:
        """Ignore it."""


class Clock(Protocol):
    """The time, and waiting. Everything that expires or times out uses it, so that a test can move the time."""

    def now(self) -> float:
        """Return the time in epoch seconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait. Zero or less only yields to the event loop."""
        ...


class SystemClock:
    """The system's clock."""

    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
