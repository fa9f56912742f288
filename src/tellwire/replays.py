"""The sending of missed messages to a client: those of its user's stream, and of topics.

    history.read ─▶ pages ─▶ the client, each page when there is room for it

A long one waits for its room without its messages, and reads them again when it has it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator

from tellwire.engine import Engine
from tellwire.errors import HistoryUnavailable
from tellwire.lease_expiry import LeaseExpiry
from tellwire.limits import WELCOME_PAGE_SECONDS
from tellwire.ports import Clock, History, Observer, Peer
from tellwire.publication import StreamKey
from tellwire.stream import Replay
from tellwire.welcome_room import WelcomeRoom

logger = logging.getLogger("tellwire.conversation")


class Ended(Exception):
    """The connection was closed, or is gone, or nobody wants the rest: no answer is waited for."""


Pages = Callable[[Replay], Iterator[bytes]]


def _always() -> bool:
    return True


class Replays:
    """The replays of all clients of a process."""

    def __init__(self, engine: Engine, clock: Clock, observer: Observer) -> None:
        self._engine = engine
        self._clock = clock
        self._observer = observer
        self._room = WelcomeRoom()

    async def send(
        self,
        peer: Peer,
        stream: StreamKey,
        cursor: str | None,
        version: int | None,
        pages: Pages,
        is_wanted: Callable[[], bool] = _always,
    ) -> Replay:
        """Send all that a client with this cursor has missed, as these pages. A stream that is not kept has nothing.

        Raises:
            HistoryUnavailable: it cannot be read.
            Ended: the client is gone, or takes nothing, or the replay is not wanted any more.
        """
        history = self._engine.history
        if history is None or self._engine.topics.retention_of(stream) is None:
            replay = Replay(cursor is None, "", [], [])
            await self._send(peer, pages(replay), is_wanted)
            return replay
        replay = await self._read(history, stream, cursor, version)
        size_bytes = replay.size_bytes
        if not self._room.is_long(size_bytes):
            await self._send(peer, pages(replay), is_wanted)
            return replay
        # While it waits, its messages are in no one's memory.
        del replay
        async with self._room.taken(size_bytes):
            replay = await self._read(history, stream, cursor, version)
            await self._send(peer, pages(replay), is_wanted)
        return replay

    async def ready(self, peer: Peer, size_bytes: int) -> None:
        """Wait until the client may get the next page of its history: the outbox must have room for live publications.

        Raises:
            Ended: it takes nothing.
        """
        try:
            async with asyncio.timeout(WELCOME_PAGE_SECONDS):
                await peer.ready(size_bytes)
        except TimeoutError as error:
            reason = f"the client took no page of its history for {WELCOME_PAGE_SECONDS:.0f} seconds"
            logger.info("%s: %s", peer.connection_id, reason)
            await peer.close(HistoryUnavailable(reason))
            raise Ended from error

    async def _send(self, peer: Peer, pages: Iterator[bytes], is_wanted: Callable[[], bool]) -> None:
        for page in pages:
            await self.ready(peer, len(page))
            if not is_wanted() or not await peer.send(page):
                raise Ended

    async def _read(self, history: History, stream: StreamKey, cursor: str | None, version: int | None) -> Replay:
        replay = await history.read(stream, cursor, version)
        if self._engine.watches:
            return replay  # it measures the leases, and knows of pauses
        leases = LeaseExpiry(self._engine.broker, self._clock, self._observer)
        if any([await leases.expire(entry) for entry in replay.snapshot]):
            replay = await history.read(stream, cursor, version)
        return replay
