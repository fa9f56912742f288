"""The facts that the console shows and the HTTP API has not: an overview, topics of this node, uploads in progress.

A list has at most `CONSOLE_ROWS` rows.
"""

import heapq
import platform

import msgspec
from msgspec import Struct

from tellwire._version import __version__
from tellwire.carriers.hub import Hub
from tellwire.counts import Counts
from tellwire.engine import Engine
from tellwire.entry import Entry
from tellwire.errors import HistoryUnavailable
from tellwire.limits import CONSOLE_ROWS
from tellwire.model import timestamp
from tellwire.ports import Clock
from tellwire.publication import topic_of
from tellwire.server.sockets import Sockets


class Overview(Struct, frozen=True, rename="camel"):
    """A node at a moment. Counts begin with its start; `trouble` is the reason why nothing can be published."""

    version: str
    engine: str
    python: str
    started_at: str
    now: str
    trouble: str | None
    is_draining: bool
    connections: int
    subscriptions: int
    nodes: int | None
    connections_on_all_nodes: int | None
    slow_consumers: int
    slow_consumers_closed: int
    publishes: dict[str, int]
    publishes_failed: dict[str, int]
    deliveries: dict[str, int]
    handshakes_refused: dict[str, int]
    leases_expired: dict[str, int]


class Topic(Struct, frozen=True):
    """A topic, and the number of connections to this node that follow it."""

    topic: str
    connections: int


class Topics(Struct, frozen=True):
    """The topics that most connections follow. `more`: there are others."""

    topics: list[Topic]
    more: bool


class Upload(Struct, frozen=True, rename="camel"):
    """An upload in progress. `target` is its user, or a topic."""

    target: str
    upload_id: str
    file_name: str
    status: str
    progress: float
    message: str
    updated_at: str
    silent_until: str


class Uploads(Struct, frozen=True):
    """Some uploads in progress. `more`: there are others."""

    uploads: list[Upload]
    more: bool


class _Progress(Struct, rename="camel"):
    upload_id: str
    file_name: str = ""
    status: str = "running"
    progress: float = 0.0
    message: str = ""


class _State(Struct):
    data: _Progress


class Facts:
    """The facts of one node."""

    def __init__(self, name: str, engine: Engine, hub: Hub, sockets: Sockets, counts: Counts, clock: Clock) -> None:
        self._name = name
        self._engine = engine
        self._hub = hub
        self._sockets = sockets
        self._counts = counts
        self._clock = clock
        self._started_at = timestamp(clock.now())

    async def overview(self) -> Overview:
        """Return the node as it is."""
        counts = self._counts
        nodes, on_all_nodes = await self._on_all_nodes()
        return Overview(
            version=__version__,
            engine=self._name,
            python=platform.python_version(),
            started_at=self._started_at,
            now=timestamp(self._clock.now()),
            trouble=self._engine.trouble(),
            is_draining=self._sockets.drain.has_begun,
            connections=len(self._hub),
            subscriptions=self._hub.count_subscriptions(),
            nodes=nodes,
            connections_on_all_nodes=on_all_nodes,
            slow_consumers=len(self._sockets.behind),
            slow_consumers_closed=self._sockets.slow_closed,
            publishes=counts.published_to,
            publishes_failed=counts.publishes_failed,
            deliveries=counts.deliveries,
            handshakes_refused=counts.refused,
            leases_expired=counts.leases_expired,
        )

    def topics(self, part: str) -> Topics:
        """Return the topics with subscribers on this node whose names have `part` in them."""
        named = ((topic_of(stream), count) for stream, count in self._hub.streams())
        found = (Topic(topic, count) for topic, count in named if topic is not None and part in topic)
        first = heapq.nsmallest(CONSOLE_ROWS + 1, found, key=lambda each: (-each.connections, each.topic))
        return Topics(first[:CONSOLE_ROWS], more=len(first) > CONSOLE_ROWS)

    async def uploads(self) -> Uploads:
        """Return uploads in progress, on all nodes.

        Raises:
            HistoryUnavailable: they cannot be read.
        """
        found: list[Upload] = []
        history = self._engine.history
        if history is None:
            return Uploads([], more=False)
        async for entry in history.leased_uploads():
            upload = None if entry.waits_until is not None else _upload(entry)
            if upload is not None and len(found) == CONSOLE_ROWS:
                return Uploads(found, more=True)
            if upload is not None:
                found.append(upload)
        return Uploads(found, more=False)

    async def _on_all_nodes(self) -> tuple[int | None, int | None]:
        presence = self._engine.presence
        if presence is None:
            return None, None
        try:
            counts = await presence.counts()
        except HistoryUnavailable:
            return None, None
        return counts.nodes, counts.connections


def _upload(entry: Entry) -> Upload | None:
    try:
        data = msgspec.json.decode(entry.payload, type=_State).data
    except msgspec.DecodeError:
        return None  # a state of an own type
    expires_at = entry.lease_expires_at
    return Upload(
        entry.target.user or f"topic {entry.target.topic}",
        data.upload_id,
        data.file_name,
        data.status,
        data.progress,
        data.message,
        timestamp(entry.stored_at),
        "" if expires_at is None else timestamp(expires_at),
    )
