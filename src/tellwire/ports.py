"""The ports: the interfaces of the core to the outside, and their contracts. One suite of tests runs on every adapter.

Broker          keeps a publication in its stream and hands it to live connections, as one step
History         keeps streams, and reads them back after a cursor
Carrier         delivers publications to live connections
Presence        knows the live connections of all nodes
Subscribers     brings the publications of topics to the connections that are subscribed to them
TopicPresence   knows the users in each topic, on all nodes, and tells who comes and goes
TopicAuthorizer decides who may subscribe and publish to a topic
RequestLedger   remembers the requests of clients, so that a repeated one runs once
RowErrorSink    stores the row errors of jobs; RowErrorStore also reads them back
Authenticator   verifies tokens
ShutOuts        users and tokens that are shut out until a time
Backups         copies of all that an engine keeps, while it works
Peer            the client at the other end of a conversation
Observer        receives counts and timings
Clock           the time, and waiting
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from typing import Protocol, runtime_checkable

from msgspec import Struct

from tellwire.entry import Entry
from tellwire.errors import HistoryUnavailable, TellwireError
from tellwire.limits import MAX_PRESENCE_MEMBERS
from tellwire.model import ConnectionInfo, Delivery, Identity, PresenceCounts, TokenStamp
from tellwire.position import Position, StreamEnd
from tellwire.publication import Publication, StreamKey
from tellwire.row_errors import Place, RowErrorChunk, RowErrorList, RowErrorPage
from tellwire.shut_out import ShutOut
from tellwire.stream import HistoryPage, Replay
from tellwire.topic_members import Members


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
        """Close a connection with 1000, as `DELETE @connections` does. False if there is none with this id.

        Another node may know it for a moment after its end.
        """
        ...


@runtime_checkable
class ConnectionCounter(Protocol):
    """A carrier that counts the connections of a user without listing them."""

    def count(self, user_id: str) -> int | Awaitable[int]:
        """Return the number of live connections of a user, at once or after a wait.

        Raises:
            PublishError: nobody knows, just now.
        """
        ...


class Present(Protocol):
    """The presence's view of a connection."""

    @property
    def connection_id(self) -> str: ...

    @property
    def user_id(self) -> str: ...

    @property
    def stamp(self) -> TokenStamp:
        """The traits of the token that opened it, or renewed it last."""
        ...

    def info(self) -> ConnectionInfo: ...


class Presence(Protocol):
    """The live connections of all nodes: those that have entered and have not left.

    A connection of this process is counted at once, and is no more when `leave` was called; of another node, within
    moments. A node that dies takes its connections with it, within seconds.
    """

    @property
    def admits(self) -> bool:
        """True if `enter` refuses who is shut out: a handshake need not ask `ShutOuts.admit` before."""
        ...

    async def enter(self, connection: Present, at_most: int) -> bool:
        """Add a connection, before its handshake is answered. False: its user has `at_most` connections, and it is not
        added. Two that enter at once do not both get the last place.

        When it returns, the connection's publications come to this process; the caller hands it to the hub at once.

        Raises:
            HistoryUnavailable: nobody knows, just now. `leave` must be called.
            UserShutOut: its user or its token is shut out. `leave` must be called.
        """
        ...

    def enters_at_once(self, connection: Present, at_most: int) -> bool:
        """Add a connection, if that waits for nothing. False: it is not added, and `enter` must be asked."""
        ...

    def leave(self, connection: Present) -> None:
        """Remove a connection. It need not be there. Never raises: where it cannot be done now, it is done later."""
        ...

    async def renewed(self, connection: Present) -> None:
        """Tell the other nodes that a connection has another token. Never raises: where it cannot be done now, it is
        done later.
        """
        ...

    async def connections(self, user_id: str) -> list[ConnectionInfo]:
        """List the connections of a user, oldest first. `last_active_at` is exact on the connection's own node, and may
        be some minutes old on the others.

        Raises:
            HistoryUnavailable: nobody knows, just now.
        """
        ...

    async def count(self, user_id: str) -> int:
        """Return the number of connections of a user.

        Raises:
            HistoryUnavailable: nobody knows, just now.
        """
        ...

    async def counts(self) -> PresenceCounts:
        """Count all nodes and connections.

        Raises:
            HistoryUnavailable: nobody knows, just now.
        """
        ...


class Subscribers(Protocol):
    """The connections of this process that are subscribed to topics.

    A connection that leaves, or was never there, is subscribed to nothing: `Presence.leave` and `Hub.detach` end all
    its subscriptions, and one that is under way then does not begin.
    """

    async def subscribe(self, connection: Present, stream: StreamKey) -> None:
        """Begin: when it returns, all publications of the stream that are kept later come to this connection, each
        once. It may be subscribed already.

        Raises:
            HistoryUnavailable: it is not subscribed, and nothing was changed.
        """
        ...

    def unsubscribe(self, connection: Present, stream: StreamKey) -> None:
        """End: nothing of the stream comes to this connection any more. It need not be subscribed. Never raises: where
        something cannot be done now, it is done later.
        """
        ...


class TopicPresence(Protocol):
    """The users in each topic. A user is a member while a connection of theirs is subscribed to it, on any node, and
    for `PRESENCE_GRACE_SECONDS` after that. Several connections of one user are one member.

    It is told of topics with presence alone; whoever calls it asks the rules. The subscription itself is the matter of
    `Subscribers`, and comes first.

    Watchers are connections that get a `presence` first, and then each change as a `join`, a `leave`, or a `presence`;
    see `topic_members.Telling`. A join of a member whom a watcher knows means another info. What a watcher makes of all
    that is right within moments; within the lease of a node, if one has died. Neither a return within the grace time,
    nor a node that drains, is told.
    """

    def subscribed(self, connection: Present, stream: StreamKey, info: bytes | None) -> None:
        """A connection is subscribed to a topic, and stays so until `unsubscribed`. `info` is an encoded JSON object of
        at most `MAX_PRESENCE_INFO_BYTES`; None: its token has none, and that of the user's other connections stays.

        It may be called again for a connection, with another info, that replaces the user's. Never raises: where it
        cannot be done now, it is done later.
        """
        ...

    def unsubscribed(self, connection: Present, stream: StreamKey) -> None:
        """A connection is subscribed no more, or has ended: it watches no more, either. It need not be there. Never
        raises: where it cannot be done now, it is done later.
        """
        ...

    async def watch(self, connection: Present, stream: StreamKey) -> None:
        """Send a subscribed connection a `presence`, and from then on each change. It may watch already: then it gets
        another `presence`. A connection that ends meanwhile watches nothing, which is no error.

        Raises:
            HistoryUnavailable: nobody knows, just now. It does not watch.
        """
        ...

    async def members(self, stream: StreamKey, limit: int = MAX_PRESENCE_MEMBERS) -> Members:
        """Return the number of members of a topic, and at most `limit` of them.

        Raises:
            HistoryUnavailable: nobody knows, just now.
        """
        ...


@runtime_checkable
class ToldCounter(Protocol):
    """A `TopicPresence` that counts the changes that this process has told its watchers."""

    @property
    def told(self) -> int:
        """Those that were told by name."""
        ...

    @property
    def untold(self) -> int:
        """Those that were told only as a number, since there were many members."""
        ...


class TopicAuthorizer(Protocol):
    """The rights to topics. It fails closed: who is not known to have a right has none."""

    async def may_subscribe(self, identity: Identity, topic: str) -> bool:
        """Return True if a user may subscribe to a topic.

        Raises:
            TopicRightsUnavailable: nobody knows, just now.
        """
        ...

    async def may_publish(self, identity: Identity, topic: str) -> bool:
        """Return True if a user's client may publish messages of own types to a topic.

        Raises:
            TopicRightsUnavailable: nobody knows, just now.
        """
        ...


class History(Protocol):
    """Streams that are kept, and read back after a cursor. See `stream`."""

    async def append(self, publication: Publication) -> Entry | None:
        """Keep a publication in its stream. None: it is kept already, it is late, or there is no room for it.

        When it returns, the publication is safe. Appends that were begun one after the other get their numbers in that
        order, and return in it.

        One with an escalation is kept together with the first state of that, both or none: a state of the stream
        `escalations:<user id>`, see `escalation`.

        Raises:
            HistoryUnavailable: it is not kept.
            TooManyEscalations: it is not kept: too many of its user wait.
            InvalidMessage: it is not kept: `EscalationRules` do not allow its escalation.
        """
        ...

    async def append_all(self, publications: Sequence[Publication]) -> list[Entry | None]:
        """Append each of these as `append` does, in this order; they are made safe together.

        Raises:
            TellwireError: not all of them are kept.
        """
        ...

    async def append_linked(self, publications: Sequence[Publication]) -> list[Entry | None]:
        """Append publications of one stream of which the others depend on the first, a state that names the version it
        was made of: if that is not kept, none is. They are made safe together.

        Raises:
            HistoryUnavailable: none of them is kept.
        """
        ...

    async def read(self, stream: StreamKey, cursor: str | None, version: int | None = None) -> Replay:
        """Read all that a client with this cursor has missed. Everything in it is safe.

        `version` is the highest one that the client has of a state; None: it has none. Uploads that have ended a long
        time ago are in the snapshot only if their version is above it.

        Raises:
            HistoryUnavailable: it cannot be read.
        """
        ...

    async def page(self, stream: StreamKey, before: int | None, limit: int, max_bytes: int) -> HistoryPage:
        """Read the newest messages of the log below an offset, the newest first. None: from the end.

        As many as are allowed and fit into `max_bytes`, but one at least. Those whose time to live has passed are left
        out. Everything in it is safe.

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

    async def end(self, stream: StreamKey) -> StreamEnd | None:
        """Return the end of both lanes; None if neither has begun. It may be late by moments.

        Raises:
            HistoryUnavailable: it cannot be read.
        """
        ...

    def known_end(self, stream: StreamKey) -> StreamEnd | None:
        """Return the end of both lanes without a read; None if this process does not know it."""
        ...

    async def position(self, stream: StreamKey) -> Position | None:
        """Return the end of the log; None if it has not begun.

        Raises:
            HistoryUnavailable: it cannot be read.
        """
        ...

    async def forget(self, stream: StreamKey) -> None:
        """Delete everything that is kept of a stream. A publication that is kept later begins it anew, with another
        epoch; its versions are higher than those before.

        Raises:
            HistoryUnavailable: not all of it is deleted.
        """
        ...

    def leased_uploads(self) -> AsyncIterator[Entry]:
        """Yield the state of every upload, and of every escalation, that has not ended.

        Raises:
            HistoryUnavailable: it cannot be read.
        """
        ...

    async def close(self) -> None:
        """Release files and connections. Appends that have returned stay."""
        ...


class LocalHistory(History, Protocol):
    """A history of this process, which assigns a number without waiting. Outcomes of one stream come in its order."""

    on_escalation: Callable[[Entry], None]
    """Gets the first state of each escalation that is kept, as its lease begins."""

    def append_soon(self, publication: Publication, done: Callable[[Entry | TellwireError | None], None]) -> None:
        """Call `done` with the outcome of `append`, at once or in a later turn of the event loop."""
        ...

    def append_linked_soon(
        self, publications: Sequence[Publication], done: Callable[[list[Entry | None] | HistoryUnavailable], None]
    ) -> None:
        """Call `done` with the outcome of `append_linked`, at once or in a later turn of the event loop."""
        ...


class Published(Struct, frozen=True, gc=False):
    """The outcome of a publish. `entry` is None if the publication has no stream, or was not kept: it was published
    before, or its state is out of date.
    """

    entry: Entry | None
    delivery: Delivery


PublishDone = Callable[[Published | Exception], None]
"""Takes the outcome of a publish. It never raises."""


class Broker(Protocol):
    """The one way to publish: kept in its stream, then handed to live connections, as one step.

    A publication without a stream is only delivered. A duplicate, or a state that is out of date, is not delivered.
    """

    async def publish(self, publication: Publication) -> Published:
        """Publish. A kept publication that cannot be delivered just now counts as `unsent`, at least once: devices find
        it in the history when they come back.

        Raises:
            HistoryUnavailable: it cannot be kept, and was not delivered.
            PublishError: it has no stream, and the carrier cannot be reached; or the carrier refuses for good, such as
                for a missing right. What was kept stays kept.
        """
        ...

    def publish_soon(self, publication: Publication, done: PublishDone) -> None:
        """Publish, and call `done` with the outcome, at once or in a later turn of the event loop.

        For who answers many publishes a second: `publish` needs a task of its own. Both keep one order.
        """
        ...

    async def publish_linked(self, publications: Sequence[Publication]) -> list[Published]:
        """Publish the publications that `History.append_linked` keeps together, one after the other.

        Raises:
            HistoryUnavailable: none of them is kept, or was delivered.
        """
        ...

    async def publish_all(self, publications: Sequence[Publication]) -> list[Published | Exception]:
        """Publish one after the other, kept together. An error is the outcome of its publication; the others go on."""
        ...


class RequestLedger(Protocol):
    """The requests of users that are remembered for `REQUEST_KEEP_SECONDS` from their `begin`, over restarts and on all
    nodes, so that a repeated one is not run again.

    Of one user the last `REQUESTS_PER_USER` are remembered (on AWS, all). An older one, and one whose handler runs for
    longer, may run again. One whose node has died does not: nobody knows how far it came.
    """

    async def begin(self, user_id: str, request_id: str) -> bytes | None:
        """Claim a request before it is run. None: it is the caller's to run. Otherwise it was run, and this is its
        answer. Of two callers at once only one gets None.

        Raises:
            RequestRunning: another caller has begun it, and has not finished.
            HistoryUnavailable: nobody knows, just now. It must not be run.
        """
        ...

    async def finish(self, user_id: str, request_id: str, answer: bytes) -> None:
        """Keep the answer of a request that was run, of up to `MAX_REQUEST_ANSWER_BYTES`.

        Raises:
            HistoryUnavailable: it is not kept. The request counts as one that is still running.
        """
        ...

    async def forget(self, user_id: str) -> None:
        """Delete all requests of a user.

        Raises:
            HistoryUnavailable: not all of them are deleted.
        """
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
    """The lists of row errors, one for each run of an upload. The last two of each are kept, as long as a history."""

    async def row_error_list(self, user_id: str, upload_id: str, run: str | None = None) -> RowErrorList | None:
        """Return the head of a run's list; None if there is none. Without a run: of the one that began last.

        Raises:
            HistoryUnavailable: it cannot be read.
        """
        ...

    async def row_errors(
        self, user_id: str, upload_id: str, run: str, after: Place | None, at_most: int
    ) -> RowErrorPage:
        """Return the row errors of a run that come after a place, in the order of their places. None: from the first.

        Raises:
            HistoryUnavailable: it cannot be read.
        """
        ...

    async def forget(self, user_id: str) -> None:
        """Delete all lists of a user.

        Raises:
            HistoryUnavailable: not all of them are deleted.
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


class ShutOuts(Protocol):
    """Users and tokens that are shut out until a time, on all nodes. They are kept as safely as a history."""

    async def shut_out(self, entry: ShutOut) -> int:
        """Keep it, in place of an earlier one of its kind; then close the live connections it is for, each with an
        `error` first and with 4403. Returns their number. A handshake that begins later is refused by `admit`.

        Raises:
            HistoryUnavailable: it is not kept, and nothing was closed.
            PublishError: it is kept, and some connections may still be open.
        """
        ...

    async def let_in(self, user_id: str) -> int:
        """End all shut-outs of a user. Returns how many lasted still.

        Raises:
            PublishError: some may last.
        """
        ...

    async def of(self, user_id: str) -> list[ShutOut]:
        """Return the shut-outs of a user that last.

        Raises:
            PublishError: they cannot be read.
        """
        ...

    def admits_at_once(self, identity: Identity) -> bool:
        """Return True if the token of this identity is not shut out, and nobody else need be asked; False: `admit`
        tells.
        """
        ...

    async def admit(self, identity: Identity) -> None:
        """Raise if the token of this identity is shut out.

        Raises:
            UserShutOut: it is.
            PublishError: nobody knows, just now.
        """
        ...


class Backup(Protocol):
    """A copy of all that an engine keeps. Whoever has it closes it."""

    @property
    def size_bytes(self) -> int:
        """The length of all chunks together."""
        ...

    def chunks(self) -> Iterator[bytes]:
        """Yield it in pieces. It reads files: not on an event loop."""
        ...

    def close(self) -> None:
        """Give back the room that it takes."""
        ...


class Backups(Protocol):
    """Copies of all that an engine keeps, made while it goes on to work. One is made at a time."""

    async def make(self) -> Backup | None:
        """Make one. None: another one is not closed yet.

        Raises:
            HistoryUnavailable: it cannot be made just now.
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

    async def ready(self, size_bytes: int) -> None:
        """Wait until the client may get so many bytes of a replay, or is gone."""
        ...

    async def renew(self, identity: Identity) -> bool:
        """Set the expiry to that of the identity's token. False: the connection is not known any more."""
        ...

    @property
    def subscriptions(self) -> Collection[StreamKey]:
        """The streams of the topics that it is subscribed to."""
        ...

    async def grants(self) -> Identity:
        """Return the user in its token, with the claims that the rights to topics need."""
        ...

    async def subscribe(self, stream: StreamKey) -> None:
        """Begin with the publications of a topic: when it returns, those that are kept later come to this client.

        It may be subscribed already. A client that is gone is subscribed to nothing, which is no error.

        Raises:
            TooManySubscriptions: it has as many as it may.
            HistoryUnavailable: it is not subscribed.
        """
        ...

    async def unsubscribe(self, stream: StreamKey) -> None:
        """End the publications of a topic. It need not be subscribed.

        Raises:
            HistoryUnavailable: it may still be subscribed.
        """
        ...

    async def watch(self, stream: StreamKey) -> None:
        """Send the client a `presence` with the users in a topic that it is subscribed to, and from then on who comes
        and goes, until it is unsubscribed.

        Raises:
            PresenceOff: the server has no presence of topics.
            HistoryUnavailable: nobody knows, just now.
        """
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

    def publish_failed(self, code: str) -> None:
        """Count a publication that was neither kept nor delivered, by the code of its error."""
        ...

    def publish_refused(self, key: str) -> None:
        """Count a publish, or a batch of them, of an API key that sends too many. `key` is its name."""
        ...

    def frames_written(self, seconds: float) -> None:
        """Count a turn of the event loop in which outboxes were written to their sockets, and how long the first of
        its frames had waited for that.
        """
        ...

    def request_refused(self, code: str) -> None:
        """Count a request of a client that sends more than is allowed, by the code of the refusal."""
        ...

    def welcomed(self, replay: Replay, seconds: float) -> None:
        """Count a client that came back, and how long its welcome took."""
        ...

    def lease_expired(self, status: str) -> None:
        """Count an upload that was declared `stalled` or `failed`."""
        ...

    def escalation_ended(self, outcome: str) -> None:
        """Count an escalation that has ended: its target was `called`, the user had `acknowledged` the notification
        before, or it `failed`.
        """
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

    def publish_failed(self, code: str) -> None:
        """Ignore it."""

    def publish_refused(self, key: str) -> None:
        """Ignore it."""

    def frames_written(self, seconds: float) -> None:
        """Ignore it."""

    def request_refused(self, code: str) -> None:
        """Ignore it."""

    def welcomed(self, replay: Replay, seconds: float) -> None:
        """Ignore it."""

    def lease_expired(self, status: str) -> None:
        """Ignore it."""

    def escalation_ended(self, outcome: str) -> None:
        """Ignore it."""


class Clock(Protocol):
    """The time, and waiting. Everything that expires or times out uses it, so that a test can move the time.

    `now` is for what has a date: timestamps, tokens, retention. It may step, forward or back. `monotonic` is for what
    is measured: leases, idle and close timeouts, rates, retries.
    """

    def now(self) -> float:
        """Return the time in epoch seconds."""
        ...

    def monotonic(self) -> float:
        """Return seconds that only grow, since any moment. They may stand still while the machine sleeps."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait. Zero or less only yields to the event loop."""
        ...


class SystemClock:
    """The system's clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
