"""The hub: the live connections of this process, by id and by stream, and delivery to them.

All of it runs on one event loop, without waiting: a message is in the outboxes of all its receivers before the next one
is delivered, so all of them see the same order.
"""

from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import Protocol

from tellwire.model import ConnectionInfo, Delivery
from tellwire.ports import Clock
from tellwire.publication import Publication, StreamKey, user_stream

NO_RECEIVERS = Delivery()


class Sent(Enum):
    """The outcome of one message at one connection."""

    DELIVERED = auto()
    GONE = auto()
    FAILED = auto()


class LiveConnection(Protocol):
    """The hub's view of a connection."""

    @property
    def connection_id(self) -> str: ...

    @property
    def user_id(self) -> str: ...

    @property
    def is_open(self) -> bool:
        """False from the first close frame on, or before the 101."""
        ...

    def send(self, frames: bytes, now: float, key: str | None = None, *, is_final: bool = False) -> Sent:
        """Queue bytes for the client, without waiting and without raising.

        With a `key` they are a state: while a client is behind, it replaces the waiting state of this key, and goes to
        the front if it is final.
        """
        ...

    def close(self, code: int, reason: str) -> None: ...

    def info(self) -> ConnectionInfo: ...


class Hub:
    """A `Carrier` for the connections of this process.

    `frame` turns a message into the bytes of the wire; it is called once per message, for all receivers.
    """

    def __init__(self, clock: Clock, frame: Callable[[bytes], bytes]) -> None:
        self._clock = clock
        self._frame = frame
        self._by_id: dict[str, LiveConnection] = {}
        self._by_stream: dict[StreamKey, dict[str, LiveConnection]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

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
        stream = user_stream(connection.user_id)
        receivers = self._by_stream[stream]
        del receivers[connection_id]
        if not receivers:
            del self._by_stream[stream]

    def get(self, connection_id: str) -> LiveConnection | None:
        """Return an open connection; None when there is none of this id, or it is closing."""
        connection = self._by_id.get(connection_id)
        return connection if connection is not None and connection.is_open else None

    async def deliver(self, publication: Publication) -> Delivery:
        target = publication.target
        stream = publication.stream
        if stream is not None:
            receivers = self._by_stream.get(stream)
            return self._send(receivers.values(), publication) if receivers else NO_RECEIVERS
        if target.all:
            return self._send(self._by_id.values(), publication)
        connection_ids = dict.fromkeys(target.connection_ids)
        found = [self._by_id[each] for each in connection_ids if each in self._by_id]
        return self._send(found, publication) + Delivery(gone=len(connection_ids) - len(found))

    async def connections(self, user_id: str) -> list[ConnectionInfo]:
        return [connection.info() for connection in self._by_stream.get(user_stream(user_id), {}).values()]

    async def disconnect(self, connection_id: str) -> bool:
        connection = self.get(connection_id)
        if connection is None:
            return False
        connection.close(1000, "Connection Closed Normally")
        return True

    def _send(self, connections: Iterable[LiveConnection], publication: Publication) -> Delivery:
        frames = self._frame(publication.payload)
        now = self._clock.now()
        # States are conflated only in a stream, where their versions order them.
        key = None if publication.stream is None else publication.key
        is_final = key is not None and publication.is_final
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
