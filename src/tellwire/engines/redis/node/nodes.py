"""The nodes: their names, their leases, and who of them lives.

A node claims a name of four characters, with which the ids of its connections begin, and renews its lease every few
seconds. Whoever does not is dead, and one of the others removes its connections. A node that only was away finds its
lease lost, and is told: it then registers its connections again.

    {nodes}:live    a sorted set: name → end of its lease         {node:<name>}:conns   a hash: connection id → user
    {nodes}:gone    names of dead nodes, which nobody takes for a day
"""

import asyncio
import base64
import logging
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.scripts import script, time_of
from tellwire.engines.redis.link.store import RedisStore
from tellwire.engines.redis.node.registry import Registry
from tellwire.errors import HistoryUnavailable
from tellwire.limits import (
    NODE_HEARTBEAT_SECONDS,
    NODE_LEASE_SECONDS,
    NODE_LEAST_PAUSE_SECONDS,
    NODE_RETURN_SECONDS,
)
from tellwire.ports import Clock

logger = logging.getLogger("tellwire.engines.redis")

_CLAIM: Final = script("node_claim")
_BEAT: Final = script("node_beat")
_GONE: Final = script("node_gone")
_NAME_BYTES: Final = 3
_NAME_CHARACTERS: Final = 4
_ID_BYTES: Final = 8
_MAX_DEAD: Final = 10_000
# Above the time between two heartbeats, with which a node hears of the others anyway.
_OLD_SECONDS: Final = 2 * NODE_HEARTBEAT_SECONDS


def node_of(connection_id: str) -> str:
    """Return the name of the node that holds a connection."""
    return connection_id[:_NAME_CHARACTERS]


class LiveNodes:
    """The nodes that live, as Redis has them; for producers, too. Old names are read again when they are asked for.

    `vanished` is called after one was found to live no more.
    """

    def __init__(self, store: RedisStore, names: Names, clock: Clock) -> None:
        self._store = store
        self._names = names
        self._clock = clock
        self._time = time_of(clock)
        self._live: frozenset[str] = frozenset()
        self._unknown: set[str] = set()
        self._dead: dict[str, None] = {}
        self._refreshed_at = float("-inf")
        self._refresh: asyncio.Task[None] | None = None
        self.vanished: Callable[[], None] = lambda: None

    def is_live(self, name: str) -> bool:
        """Return False if a node is known to be dead. One that is not known may have begun a moment ago."""
        if name not in self._live and name not in self._dead:
            self._unknown.add(name)
            self._refresh_soon()
            return True
        # Also of the dead: a node that only was away lives again.
        if self._clock.monotonic() - self._refreshed_at > _OLD_SECONDS:
            self._refresh_soon()
        return name in self._live

    def count_live(self, connection_ids: Iterable[bytes]) -> int:
        """Count the connections of nodes that live."""
        return sum(self.is_live(each[:_NAME_CHARACTERS].decode()) for each in connection_ids)

    async def count_surely(self, connection_ids: Collection[str]) -> int:
        """Count the connections of nodes that live, after a look at those that do unless there was one lately.

        Raises:
            HistoryUnavailable: nobody knows, just now.
        """
        nodes = {node_of(each) for each in connection_ids}
        is_old = self._clock.monotonic() - self._refreshed_at > _OLD_SECONDS
        if nodes and (is_old or not nodes <= self._live):
            await self.refresh()
        return sum(node_of(each) in self._live for each in connection_ids)

    def count_subscribers(self, counts: Sequence[bytes]) -> int:
        """Add up the numbers of nodes that live: `counts` has nodes, each followed by its number."""
        pairs = zip(counts[::2], counts[1::2], strict=True)
        return sum([int(count) for name, count in pairs if self.is_live(name.decode())])

    @property
    def known(self) -> frozenset[str]:
        """The names of the nodes that lived at the last refresh."""
        return self._live

    async def names(self) -> list[str]:
        """Return the names of all nodes that live.

        Raises:
            HistoryUnavailable: nobody knows, just now.
        """
        await self.refresh()
        return sorted(self._live)

    async def refresh(self) -> None:
        """Read the names of the living.

        Raises:
            HistoryUnavailable: it cannot be read.
        """
        _, live, _, _ = await self._store.call(_BEAT, self._keys, [self._time(), "", 0])
        self.note(live)

    async def close(self) -> None:
        """End a refresh that has begun."""
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.wait([self._refresh])

    def note(self, live: Iterable[bytes]) -> None:
        """Take the names of those that live."""
        before, self._live = self._live, frozenset(each.decode() for each in live)
        self._refreshed_at = self._clock.monotonic()
        vanished = before - self._live
        self._dead.update((name, None) for name in (*vanished, *self._unknown))
        self._unknown.clear()
        for name in [each for each in self._live if each in self._dead]:
            del self._dead[name]
        while len(self._dead) > _MAX_DEAD:
            del self._dead[next(iter(self._dead))]
        if vanished:
            self.vanished()

    @property
    def _keys(self) -> list[bytes]:
        return [self._names.of_nodes("live"), self._names.of_nodes("gone")]

    def _refresh_soon(self) -> None:
        if self._refresh is None:
            self._refresh = asyncio.create_task(self._refresh_or_log())

    async def _refresh_or_log(self) -> None:
        try:
            await self.refresh()
        except HistoryUnavailable:
            self._refreshed_at = self._clock.monotonic()  # nobody can be asked now, so not for each message
        except Exception:
            logger.exception("nobody knows which nodes live, trying again")
        finally:
            self._refresh = None


class OwnNode:
    """The node of this process. `lost` is called after its lease was lost: others may have removed its connections."""

    def __init__(self, store: RedisStore, names: Names, clock: Clock, live: LiveNodes, registry: Registry) -> None:
        self._store = store
        self._names = names
        self._clock = clock
        self._time = time_of(clock)
        self._live = live
        self._registry = registry
        self.name = ""
        self._prefix = b""
        self.lost: Callable[[], None] = lambda: None
        self._cleaning: dict[str, asyncio.Task[None]] = {}
        self._first_end_seconds = NODE_HEARTBEAT_SECONDS
        # Since when this node has had its lease.
        self._well_since = clock.monotonic()
        self._returned_at = float("-inf")
        self._return: asyncio.Task[None] | None = None
        store.on_return(self._beat_soon)

    async def open(self) -> None:
        """Claim a name.

        Raises:
            HistoryUnavailable: Redis is away.
        """
        while not self.name:
            prefix = os.urandom(_NAME_BYTES)
            name = base64.urlsafe_b64encode(prefix).decode()
            arguments = [self._time(), NODE_LEASE_SECONDS, name]
            if await self._store.call(_CLAIM, self._keys, [str(each) for each in arguments]):
                self._prefix, self.name = prefix, name
        await self._beat()

    def new_connection_id(self) -> str:
        """Return an id that names this node: 11 bytes in URL-safe base64, as those of API Gateway."""
        return base64.urlsafe_b64encode(self._prefix + os.urandom(_ID_BYTES)).decode("ascii")

    async def run(self) -> None:
        """Renew the lease, and remove the connections of dead nodes. It never returns."""
        while True:
            # A node that has missed its heartbeats is noticed when its lease ends, and not at our next one.
            await self._clock.sleep(min(NODE_HEARTBEAT_SECONDS, self._first_end_seconds))
            await self._beat_or_log()

    async def close(self) -> None:
        """Give the name back, unless connections are left in Redis: then the lease ends, and another node removes them.

        Raises:
            HistoryUnavailable: Redis is away.
        """
        tasks = [*self._cleaning.values(), *([] if self._return is None else [self._return])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self.name and not await self._registry.count_of(self.name):
            live = self._names.of_nodes("live")
            await self._store.command("ZREM", live, self.name, key=live)

    @property
    def is_settled(self) -> bool:
        """True if it has had its lease, and Redis, for so long that all others that live must have renewed theirs."""
        now = self._clock.monotonic()
        is_back = now - self._returned_at >= NODE_RETURN_SECONDS
        return is_back and now - self._well_since >= NODE_LEASE_SECONDS

    @property
    def _keys(self) -> list[bytes]:
        return [self._names.of_nodes("live"), self._names.of_nodes("gone")]

    def _beat_soon(self) -> None:
        # Redis was away, perhaps for longer than all leases, or than those of nodes that are about to renew theirs.
        self._returned_at = self._clock.monotonic()
        if self.name and (self._return is None or self._return.done()):
            self._return = asyncio.create_task(self._beat_or_log())

    async def _beat_or_log(self) -> None:
        try:
            await self._beat()
        except HistoryUnavailable:
            pass  # the store has logged it; the lease is found lost later
        except Exception:
            logger.exception("the lease of this node cannot be renewed, trying again")

    async def _beat(self) -> None:
        arguments = [self._time(), self.name, str(NODE_LEASE_SECONDS)]
        had_lease, live, dead, first_end = await self._store.call(_BEAT, self._keys, arguments)
        self._first_end_seconds = max(NODE_LEAST_PAUSE_SECONDS, float(first_end) + NODE_LEAST_PAUSE_SECONDS)
        self._live.note(live)
        if not had_lease:
            logger.warning("this node was away for longer than its lease: it registers its connections again")
            self._well_since = self._clock.monotonic()
            self.lost()
        # After a time without Redis all leases are lost, and their nodes are about to renew them.
        if self.is_settled:
            for name in dead:
                self._clean_soon(name.decode(), [each.decode() for each in live])

    # --- cleaning after the dead --------------------------------------------------------------------------------------

    def _clean_soon(self, name: str, live: list[str]) -> None:
        # One of the living does it; if their views differ, doing it twice is harmless.
        if name not in self._cleaning and live and sorted(live)[sum(name.encode()) % len(live)] == self.name:
            task = self._cleaning[name] = asyncio.create_task(self._clean(name))
            task.add_done_callback(lambda done: self._cleaning.pop(name, None))

    async def _clean(self, name: str) -> None:
        try:
            count = 0
            while await self._is_gone(name):
                some = await self._registry.some_of(name)
                await self._registry.remove(some)
                count += len(some)
                if not some:
                    await self._is_gone(name, forget=True)
                    logger.warning("node %s has died: its %d connections are removed", name, count)
        except HistoryUnavailable:
            pass  # the next heartbeat begins anew
        except Exception:
            logger.exception("the connections of a dead node cannot be removed, trying again")

    async def _is_gone(self, name: str, *, forget: bool = False) -> bool:
        arguments = [self._time(), name, "1" if forget else ""]
        return bool(await self._store.call(_GONE, self._keys, arguments))
