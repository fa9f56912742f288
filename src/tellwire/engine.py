"""An engine: the broker, history, carrier, presence, row errors and requests that belong together.

`engines` has a folder for each engine; `engines.registry` opens the one that the settings name.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from tellwire.carriers.hub import Hub
from tellwire.escalations import Escalations
from tellwire.model import new_connection_id
from tellwire.ports import (
    Backups,
    Broker,
    Carrier,
    History,
    Presence,
    RequestLedger,
    RowErrorStore,
    ShutOuts,
    Subscribers,
    TopicPresence,
)
from tellwire.publication import StreamKey, escalation_stream, topic_stream, user_stream
from tellwire.topics import TopicRules

Watch = Callable[[], Coroutine[Any, Any, None]]
"""Work that goes on as long as an engine is used. It never returns."""


HandedOn = Callable[[StreamKey, int], Awaitable[None]]
"""Waits until the connections of this process have the state of a stream with this version. It never raises."""


async def _run_all(watches: Sequence[Watch]) -> None:
    async with asyncio.TaskGroup() as group:
        for watch in watches:
            group.create_task(watch())


async def _nothing() -> None:
    pass


def _no_trouble() -> None:
    pass


def _no_leases(stream: StreamKey) -> None:
    pass


async def _handed_on(stream: StreamKey, version: int) -> None:
    pass


@dataclass
class Engine:
    """The parts that a node, or a function on AWS, works with.

    `carrier` reaches every live connection; `hub` holds those of this process, and `presence` knows all of them
    (None: it holds none). `new_connection_id` makes the id of a connection. `history` is None if no publications
    are kept, `row_errors` if no lists of row errors are, `shut_outs` if nobody can be shut out, `requests` if
    requests of clients are not remembered: one that is repeated may run twice then. `subscribers` is None if it has
    no topics; `topics` are their rules; `topic_presence` knows who is in them (None: nobody does). `escalations` calls
    the targets of notifications that nobody acknowledges. `backups` copies what it keeps in files (None: it has none).
    `watches` run as long as the engine is used, and publish
    leases that expire; `close` releases files and connections. `trouble` returns why nothing can be published at the
    moment, such as a full disk; None: it can. `forget_leases` ends the leases of a stream. `handed_on` waits until the
    connections of this process have a state that was published, where that is later than its publish.

    Example:
        async with await open_engine(settings, clock) as engine:
            await engine.broker.publish(publication)
    """

    broker: Broker
    carrier: Carrier
    history: History | None = None
    row_errors: RowErrorStore | None = None
    shut_outs: ShutOuts | None = None
    requests: RequestLedger | None = None
    hub: Hub | None = None
    presence: Presence | None = None
    subscribers: Subscribers | None = None
    topics: TopicRules = field(default_factory=TopicRules)
    topic_presence: TopicPresence | None = None
    escalations: Escalations | None = None
    backups: Backups | None = None
    watches: Sequence[Watch] = ()
    close: Callable[[], Awaitable[None]] = _nothing
    trouble: Callable[[], str | None] = _no_trouble
    forget_leases: Callable[[StreamKey], None] = _no_leases
    handed_on: HandedOn = _handed_on
    new_connection_id: Callable[[], str] = new_connection_id
    _watching: asyncio.Future[None] | None = None

    async def forget_user(self, user_id: str) -> None:
        """Delete everything that is kept of a user: messages, states, leases, escalations, row errors and requests.
        Not their shut-outs.

        Raises:
            HistoryUnavailable: not all of it is deleted; doing it again does the rest.
        """
        for stream in (user_stream(user_id), escalation_stream(user_id)):
            self.forget_leases(stream)
            if self.history is not None:
                await self.history.forget(stream)
        if self.row_errors is not None:
            await self.row_errors.forget(user_id)
        if self.requests is not None:
            await self.requests.forget(user_id)

    async def forget_topic(self, topic: str) -> None:
        """Delete everything that is kept of a topic: messages, states and leases. Subscriptions stay. Who comes back
        with a cursor is told that something may be missing.

        Raises:
            HistoryUnavailable: not all of it is deleted; doing it again does the rest.
        """
        stream = topic_stream(topic)
        self.forget_leases(stream)
        if self.history is not None:
            await self.history.forget(stream)

    async def __aenter__(self) -> Self:
        if self.watches:
            self._watching = asyncio.create_task(_run_all(self.watches))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._watching is not None:
                self._watching.cancel()
                await asyncio.wait([self._watching])
        finally:
            await self.close()
