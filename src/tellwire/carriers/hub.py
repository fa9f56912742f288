"""The hub: the live connections of this process, by id and by stream, and delivery to them.

A connection is in its user's stream, and in those of the topics that it has joined.

All of it runs on one event loop, without waiting: a message is in the outboxes of all its receivers, or on its way to
them, before the next one is delivered, so all of them see the same order.

Several messages for the same receivers are joined once for all, and given at once to the connections that are ready.
Those that are behind get them one by one, since each may be conflated or dropped.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from enum import Enum, auto
from typing import Any, Final, Protocol

from tellwire.errors import TellwireError
from tellwire.limits import WRITE_CHUNK_BYTES
from tellwire.model import ConnectionInfo, Delivery, Target, TokenStamp
from tellwire.ports import Clock, Present
from tellwire.protocol import refusal
from tellwire.publication import Publication, StreamKey, is_of_topic, target_stream, user_stream

NO_RECEIVERS = Delivery()
FEW_RECEIVERS: Final = 4


class Sent(Enum):
    """The outcome of one message at one connection."""

    DELIVERED = auto()
    GONE = auto()
    FAILED = auto()


class LiveConnection(Present, Protocol):
    """The hub's view of a connection."""

    @property
    def is_open(self) -> bool:
        """False from the first close frame on, or before the 101."""
        ...

    def send(self, frames: Any, now: float, key: str | None = None, *, is_final: bool = False) -> Sent:
        """Queue a message that the hub has framed for the client, without waiting and without raising.

        With a `key` they are a state: while a client is behind, it replaces the waiting state of this key, and goes to
        the front if it is final.
        """
        ...

    def close(self, code: int, reason: str) -> None: ...


WriteReady = Callable[[list[Any], Any, float, float], list[Any]]
"""Writes frames at once to the connections that are ready for them, and returns the others. It is given the times of
the wall clock and of the monotonic clock. It raises nothing, and ends no connection before it returns."""


def write_to_none(connections: list[Any], frames: Any, now: float, active_at: float) -> list[Any]:
    """Write to no connection: each gets its frames by its own `send`."""
    return connections


class Hub:
    """A `Carrier` for the connections of this process.

    `frame` turns a message into the bytes of the wire; it is called once per message, for all receivers. Where their
    bytes differ, it returns an object that has a length, and that `join`, `write_ready` and `send` know.
    """

    def __init__(
        self,
        clock: Clock,
        frame: Callable[[bytes], Any],
        write_ready: WriteReady = write_to_none,
        join: Callable[[list[Any]], Any] = b"".join,
    ) -> None:
        self._clock = clock
        self._frame = frame
        self._write_ready = write_ready
        self._join = join
        self._by_id: dict[str, LiveConnection] = {}
        self._by_stream: dict[StreamKey, dict[str, LiveConnection]] = {}
        self._topics: dict[str, tuple[StreamKey, ...]] = {}  # of those connections that have any

    def __len__(self) -> int:
        return len(self._by_id)

    def frame_with(
        self, frame: Callable[[bytes], Any], write_ready: WriteReady, join: Callable[[list[Any]], Any]
    ) -> None:
        """Turn messages into another form from now on, before there is any connection. See the class."""
        self._frame, self._write_ready, self._join = frame, write_ready, join

    def attach(self, connection: LiveConnection) -> None:
        """Add a connection: it receives publications from now on."""
        self._by_id[connection.connection_id] = connection
        receivers = self._by_stream.setdefault(user_stream(connection.user_id), {})
        receivers[connection.connection_id] = connection

    def detach(self, connection_id: str) -> None:
        """Remove a connection. It need not be there."""
        connection = self._by_id.pop(connection_id, None)
        if connection is None:
            return
        self._remove(user_stream(connection.user_id), connection_id)
        for topic in self._topics.pop(connection_id, ()):
            self._remove(topic, connection_id)

    def join(self, stream: StreamKey, connection_id: str) -> bool:
        """Add a connection to the stream of a topic: it receives its publications from now on. False: the connection is
        not here.
        """
        connection = self._by_id.get(connection_id)
        if connection is None:
            return False
        self._by_stream.setdefault(stream, {})[connection_id] = connection
        # Few each, and a set of one takes 150 bytes more.
        topics = self._topics.get(connection_id, ())
        if stream not in topics:
            self._topics[connection_id] = (*topics, stream)
        return True

    def part(self, stream: StreamKey, connection_id: str) -> None:
        """Remove a connection from the stream of a topic. It need not be there."""
        topics = self._topics.get(connection_id, ())
        if stream not in topics:
            return
        self._remove(stream, connection_id)
        left = tuple(each for each in topics if each != stream)
        if left:
            self._topics[connection_id] = left
        else:
            del self._topics[connection_id]

    def topics_of(self, connection_id: str) -> Collection[StreamKey]:
        """Return the streams of the topics that a connection has joined."""
        return self._topics.get(connection_id, ())

    def connections_with_topics(self) -> list[LiveConnection]:
        """Return the connections that have joined a topic."""
        return [self._by_id[each] for each in self._topics]

    def streams(self) -> Iterator[tuple[StreamKey, int]]:
        """Yield each stream with connections, and their number."""
        for stream, connections in list(self._by_stream.items()):
            yield stream, len(connections)

    def count_subscriptions(self) -> int:
        """Return the number of topics that connections have joined, counted for each connection."""
        return sum(map(len, list(self._topics.values())))

    def size(self, stream: StreamKey) -> int:
        """Return the number of connections of a stream."""
        return len(self._by_stream.get(stream, ()))

    def _remove(self, stream: StreamKey, connection_id: str) -> None:
        receivers = self._by_stream[stream]
        del receivers[connection_id]
        if not receivers:
            del self._by_stream[stream]

    def count(self, user_id: str) -> int:
        """Return the number of connections of a user."""
        return len(self._by_stream.get(user_stream(user_id), ()))

    def get(self, connection_id: str) -> LiveConnection | None:
        """Return an open connection; None when there is none of this id, or it is closing."""
        connection = self._by_id.get(connection_id)
        return connection if connection is not None and connection.is_open else None

    def receivers(self, target: Target) -> int:
        """Count the connections that a publication for a target would go to."""
        stream = target_stream(target)
        if stream is not None:
            return len(self._by_stream.get(stream, ()))
        return len(self._by_id) if target.all else len(target.connection_ids)

    async def deliver(self, publication: Publication) -> Delivery:
        target = publication.target
        stream = publication.stream
        if stream is not None:
            return self.hand_out(stream, publication.payload, publication.key, is_final=publication.is_final)
        if target.all:
            return self.hand_to_all(publication.payload)
        return self.hand_to(target.connection_ids, publication.payload)

    def hand_out(
        self, stream: StreamKey, payload: bytes, key: str | None = None, *, is_final: bool = False
    ) -> Delivery:
        """Hand a message to the connections of a stream. With a `key` it is a state, which may be conflated."""
        receivers = self._by_stream.get(stream)
        if not receivers:
            return NO_RECEIVERS
        return self._send(
            receivers.values(), payload, _key_in_outbox(stream, key), is_final=key is not None and is_final
        )

    def hand_to_all(self, payload: bytes) -> Delivery:
        """Hand a message to every connection."""
        return self._send(self._by_id.values(), payload)

    def has_few_receivers(self, publication: Publication) -> bool:
        """Return True if a publication goes to the devices of one user, or to none."""
        return publication.stream is not None and len(self._by_stream.get(publication.stream, ())) <= FEW_RECEIVERS

    def hand_out_alone(self, publication: Publication) -> Delivery:
        """Hand a message to the connections of its stream, at once to those that are ready."""
        receivers = None if publication.stream is None else self._by_stream.get(publication.stream)
        return self._send_alone(list(receivers.values()), publication) if receivers else NO_RECEIVERS

    def hand_out_together(self, stream: StreamKey, publications: Sequence[Publication]) -> list[Delivery]:
        """Hand several messages to the connections of a stream, in order. Returns the delivery of each."""
        receivers = self._by_stream.get(stream)
        if not receivers:
            return [NO_RECEIVERS] * len(publications)
        return self._send_together(receivers.values(), publications)

    def hand_to_all_together(self, publications: Sequence[Publication]) -> list[Delivery]:
        """Hand several messages to every connection, in order. Returns the delivery of each."""
        if not self._by_id:
            return [NO_RECEIVERS] * len(publications)
        return self._send_together(self._by_id.values(), publications)

    def hand_to(self, connection_ids: Iterable[str], payload: bytes) -> Delivery:
        """Hand a message to these connections."""
        wanted = dict.fromkeys(connection_ids)
        found = [self._by_id[each] for each in wanted if each in self._by_id]
        return self._send(found, payload) + Delivery(gone=len(wanted) - len(found))

    def hand_to_ready(self, connection_ids: Iterable[str], payload: bytes) -> None:
        """Hand a message to these connections, at once to those that are ready. Of one id there may be none."""
        found = [self._by_id[each] for each in connection_ids if each in self._by_id]
        frames, now = self._frame(payload), self._clock.now()
        behind = self._write_ready(found, frames, now, self._clock.monotonic())
        self._send_frames(behind, frames, now, None, is_final=False)

    async def connections(self, user_id: str) -> list[ConnectionInfo]:
        return [connection.info() for connection in self._by_stream.get(user_stream(user_id), {}).values()]

    async def disconnect(self, connection_id: str) -> bool:
        return self.close_one(connection_id)

    def close_one(self, connection_id: str) -> bool:
        """Close a connection with 1000. False if there is none with this id."""
        connection = self.get(connection_id)
        if connection is None:
            return False
        connection.close(1000, "Connection Closed Normally")
        return True

    def expel(self, user_id: str, is_meant: Callable[[TokenStamp], bool], error: TellwireError) -> int:
        """Close the connections of a user whose token is meant, each with the error first. Returns their number."""
        found = [each for each in self._by_stream.get(user_stream(user_id), {}).values() if is_meant(each.stamp)]
        return self.close_all(found, error)

    def of_keys(self, is_meant: Callable[[str], bool]) -> list[LiveConnection]:
        """Return the connections whose token was verified by a key that is meant, by its name."""
        meant = {name for name in {each.stamp.key for each in self._by_id.values()} if name and is_meant(name)}
        return [each for each in self._by_id.values() if each.stamp.key in meant] if meant else []

    def close_all(self, connections: Iterable[LiveConnection], error: TellwireError) -> int:
        """Close connections, each with the error first. Returns the number of those that were open."""
        frames = self._frame(refusal(error))
        now = self._clock.now()
        count = 0
        for connection in connections:
            if connection.is_open:
                connection.send(frames, now)
                connection.close(error.close_code, error.code)
                count += 1
        return count

    def _send(
        self, connections: Iterable[LiveConnection], payload: bytes, key: str | None = None, *, is_final: bool = False
    ) -> Delivery:
        # States are conflated only in a stream, where their versions order them.
        return self._send_frames(connections, self._frame(payload), self._clock.now(), key, is_final=is_final)

    def _send_frames(
        self, connections: Iterable[LiveConnection], frames: Any, now: float, key: str | None, *, is_final: bool
    ) -> Delivery:
        delivered = gone = failed = 0
        is_delivered, is_gone = Sent.DELIVERED, Sent.GONE
        for connection in connections:
            sent = connection.send(frames, now, key, is_final=is_final)
            if sent is is_delivered:
                delivered += 1
            elif sent is is_gone:
                gone += 1
            else:
                failed += 1
        return Delivery(delivered, gone, failed)

    def _send_alone(self, receivers: list[LiveConnection], publication: Publication) -> Delivery:
        frames, now = self._frame(publication.payload), self._clock.now()
        behind = self._write_ready(receivers, frames, now, self._clock.monotonic())
        return self._plus(Delivery(len(receivers) - len(behind)), behind, publication, frames, now)

    def _send_together(
        self, connections: Iterable[LiveConnection], publications: Sequence[Publication]
    ) -> list[Delivery]:
        receivers = list(connections)
        if len(publications) == 1:
            return [self._send_alone(receivers, publications[0])]
        now, active_at = self._clock.now(), self._clock.monotonic()
        deliveries: list[Delivery] = []
        for group in _groups([(each, self._frame(each.payload)) for each in publications]):
            joined = self._join([frames for _, frames in group])
            behind = self._write_ready(receivers, joined, now, active_at)
            delivery = Delivery(len(receivers) - len(behind))
            deliveries += [self._plus(delivery, behind, each, frames, now) for each, frames in group]
        return deliveries

    def _plus(
        self, ready: Delivery, behind: list[LiveConnection], publication: Publication, frames: Any, now: float
    ) -> Delivery:
        """Send to those that are behind, and add their outcome to that of the others."""
        if not behind:
            return ready
        key = None if publication.stream is None else _key_in_outbox(publication.stream, publication.key)
        is_final = key is not None and publication.is_final
        return ready + self._send_frames(behind, frames, now, key, is_final=is_final)


def _key_in_outbox(stream: StreamKey, key: str | None) -> str | None:
    """Return the key of a state among those of all streams that come to one connection: of users it has one alone."""
    return f"{stream}\n{key}" if key is not None and is_of_topic(stream) else key


def _groups(framed: list[tuple[Publication, Any]]) -> Iterator[list[tuple[Publication, Any]]]:
    """Yield publications in groups of no more bytes than a transport may hold beside the outbox."""
    size_bytes = first = 0
    for index, (_, frames) in enumerate(framed):
        size_bytes += len(frames)
        if size_bytes > WRITE_CHUNK_BYTES and index > first:
            yield framed[first:index]
            first, size_bytes = index, len(frames)
    yield framed[first:]
