"""The leases of the uploads of all nodes, in an index in Redis of which every node watches a share.

Each bucket of streams has an index: a sorted set by the time at which a lease expires, kept by the script that appends.
So the node that took a worker's last word may die: another one finds the lease. Two nodes that find it at once publish
the same verdict about the same version, and the second one is out of date.

    a lease expires ── it has lasted as long as all ran well here ─▶ stalled, failed
                    └─ not yet ─▶ its place in the index moves

Nobody is silent who could not be heard. So a lease begins anew when it expires after

- a time in which this node could not check: Redis was away, or the process stood still, or has just begun;
- a time in which Redis took nothing, as with a full memory;
- a step of the clock in Redis, as after a fail-over to another machine;
- the death of a node: its workers need another one. That prolongs a lease once, so nodes that die again and again
  hold up no verdict for long.

An escalation waits for a date, and none of these moves it.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import Final, Protocol

from msgspec import Struct

from tellwire.engines.redis.keys import Names, upload_of
from tellwire.engines.redis.lease_times import LATE_SECONDS, Share, expiry
from tellwire.engines.redis.link.scripts import script, time_of
from tellwire.engines.redis.link.store import Call, RedisStore
from tellwire.entry import Entry
from tellwire.errors import PublishError
from tellwire.limits import LEASE_WATCH_SECONDS, LEASES_AT_ONCE, REDIS_BUCKETS
from tellwire.ports import Clock, History
from tellwire.publication import StreamKey

logger = logging.getLogger("tellwire.engines.redis")

_TURNS: Final = 8
_RETRY_SECONDS: Final = 5.0

_DUE: Final = script("due_leases")
_MOVE: Final = script("move_lease")


class Expire(Protocol):
    """Publishes that a lease has expired: `LeaseExpiry.expire`."""

    async def __call__(self, entry: Entry, silent_seconds: float) -> bool: ...


class _Lease(Struct, frozen=True):
    """A lease in the index of a bucket, at a time that has come."""

    bucket: int
    member: bytes
    score: bytes

    @property
    def upload(self) -> tuple[StreamKey, str]:
        return upload_of(self.member)


class _Since(Struct, frozen=True):
    """The time of a check, since when all has run well, and when a node was lost, in the time of Redis."""

    now: float
    well: float
    node_left: float


class LeaseWatch:
    """The watch of a node, `name`, over its share of the buckets. `live` returns the names of all live nodes."""

    def __init__(
        self,
        store: RedisStore,
        names: Names,
        history: History,
        clock: Clock,
        expire: Expire,
        name: str,
        live: Callable[[], Iterable[str]],
    ) -> None:
        self._store = store
        self._names = names
        self._history = history
        self._clock = clock
        self._time = time_of(clock)
        self._expire = expire
        self._name = name
        self._live = live
        self._known: frozenset[str] = frozenset()
        self._node_left_at = -inf
        self._beginnings = 0
        # The keys of one call of a cluster are in one slot.
        size = 1 if store.address.kind == "cluster" else REDIS_BUCKETS // _TURNS
        shares = [Share(range(first, first + size)) for first in range(0, REDIS_BUCKETS, size)]
        # In turns, so that no turn of the event loop is long.
        self._turns = [shares[first::_TURNS] for first in range(_TURNS)]
        store.on_return(self._begin_anew)

    async def watch(self) -> None:
        """Publish leases that expire. It never returns."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._check_always())
            group.create_task(self._feel_pauses())

    async def check(self) -> bool:
        """Check all own buckets once, and publish leases that have expired. True: some have more."""
        return any([await self._check(turn) for turn in self._turns])

    async def _check_always(self) -> None:
        has_more = False
        while True:
            # Buckets with many expired leases have turns like the others, one soon after the other.
            seconds = 0.0 if has_more else LEASE_WATCH_SECONDS / _TURNS
            has_more = False
            for turn in self._turns:
                await self._sleep(seconds)
                try:
                    has_more = await self._check(turn) or has_more
                except Exception:
                    # Nobody else would notice that the watch has ended.
                    logger.exception("leases cannot be checked, trying again")

    async def _feel_pauses(self) -> None:
        # Beside the checks, which may take long and wait for Redis.
        while True:
            await self._sleep(LATE_SECONDS / 2)

    async def _sleep(self, seconds: float) -> None:
        monotonic, wall = self._clock.monotonic(), self._clock.now()
        await self._clock.sleep(seconds)
        # The monotonic clock of Linux stands still while the machine sleeps.
        slept = max(self._clock.monotonic() - monotonic, self._clock.now() - wall)
        if slept > seconds + LATE_SECONDS:
            logger.warning("nothing ran here for %.0f s, or the clock was set forward: leases begin anew", slept)
            self._begin_anew()

    def _begin_anew(self) -> None:
        self._beginnings += 1
        for turn in self._turns:
            for share in turn:
                share.begin_anew()

    async def _check(self, shares: Sequence[Share]) -> bool:
        """Publish some of the expired leases of each own bucket of these shares. True: a bucket has more."""
        rank, count = self._place()
        mine = [(share, [each for each in share.buckets if each % count == rank]) for share in shares]
        checks = [(share, buckets) for share, buckets in mine if buckets]
        calls = [
            Call(_DUE, [self._names.of_bucket("leases", each) for each in buckets], (self._time(), LEASES_AT_ONCE))
            for _, buckets in checks
        ]
        has_more = False
        for (share, buckets), answer in zip(checks, await self._store.call_all(calls), strict=True):
            if isinstance(answer, Exception):
                logger.debug("leases cannot be checked just now: %s", answer)
                continue
            now, redis_now = self._clock.monotonic(), float(answer[0])
            since = _Since(redis_now, share.checked(now, redis_now), redis_now - now + self._node_left_at)
            due = [
                _Lease(buckets[number], member, score)
                for number, member, score in zip(answer[1::3], answer[2::3], answer[3::3], strict=True)
            ]
            await self._judge(due, since)
            has_more = has_more or max(Counter(each.bucket for each in due).values(), default=0) >= LEASES_AT_ONCE
        return has_more

    async def _judge(self, due: Sequence[_Lease], since: _Since) -> None:
        for first in range(0, len(due), LEASES_AT_ONCE):
            some = due[first : first + LEASES_AT_ONCE]
            times = await asyncio.gather(*[self._end(each, since, self._beginnings) for each in some])
            await self._move(some, times)

    async def _end(self, lease: _Lease, since: _Since, beginnings: int) -> float | None:
        """Publish the end of a lease, unless it lasts. Return its place in the index if nobody has moved it; None: it
        has none.
        """
        try:
            entry = await self._history.state(*lease.upload)
            silence_seconds = None if entry is None else entry.silence_seconds
            if entry is None or silence_seconds is None:
                return None
            expires_at = entry.waits_until
            if expires_at is None:
                expires_at = expiry(entry.stored_at, silence_seconds, since.well, since.node_left)
            if since.now < expires_at:
                return expires_at
            # A pause in this very moment is one, too.
            if beginnings == self._beginnings:
                # One lease, however late this is: an upload is stalled before it has failed.
                await self._expire(entry, silence_seconds)
        except PublishError as error:
            # As a full memory, which takes no words of the workers either.
            self._begin_anew()
            logger.warning("a lease has expired and that cannot be published yet: leases begin anew: %s", error)
        except Exception:
            # An error with one upload must not stop the watch of the others.
            logger.exception("a lease has expired and that cannot be published, trying again")
        return since.now + _RETRY_SECONDS

    async def _move(self, leases: Sequence[_Lease], times: Sequence[float | None]) -> None:
        args: dict[int, list[bytes | str]] = {}
        for lease, time in zip(leases, times, strict=True):
            score = "" if time is None else f"{time:.6f}"
            args.setdefault(lease.bucket, []).extend((lease.member, lease.score, score))
        # Where it fails, Redis is away, and the leases are found again.
        await self._store.call_all(
            [Call(_MOVE, [self._names.of_bucket("leases", bucket)], each) for bucket, each in args.items()]
        )

    def _place(self) -> tuple[int, int]:
        """Return the rank of this node among the live ones, which share the buckets, and their number."""
        live = frozenset(self._live()) | {self._name}
        if not self._known <= live:
            self._node_left_at = self._clock.monotonic()
        self._known = live
        return sorted(live).index(self._name), len(live)
