"""The masters of a Redis Cluster: a lane for each, and the slots that it has.

    MOVED      the slot is elsewhere from now on: this call and those that wait for the slot go there, in their order
    ASK        the slot is on its way, and these keys have arrived: this call goes there
    TRYAGAIN   some of these keys have arrived, and some not: calls of the slot are held for a moment
    trouble    one master is away: calls of its slots fail at once, until the others have put another one in its place

The slots are read again after each of these, from any node that answers.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from typing import Final

from redis.crc import key_slot
from redis.exceptions import AskError, MovedError, RedisError

from tellwire.engines.redis.link.address import Endpoint
from tellwire.engines.redis.link.dial import Dialer
from tellwire.engines.redis.link.lane import Lane
from tellwire.engines.redis.link.waiting import Redirected, Waiting
from tellwire.engines.redis.link.words import UNREACHABLE, unavailable
from tellwire.errors import ConfigError, HistoryUnavailable
from tellwire.limits import REDIS_PROBE_SECONDS, REDIS_TIMEOUT_SECONDS, REDIS_TRYAGAIN_SECONDS, REDIS_WAITING_BYTES

logger = logging.getLogger("tellwire.engines.redis")

_MOST_REDIRECTS: Final = int(REDIS_TIMEOUT_SECONDS / REDIS_TRYAGAIN_SECONDS)


class ClusterLanes:
    """The lanes of a cluster. `returned` is called when slots that were in trouble are well again."""

    def __init__(self, dialer: Dialer, wait_replicas: int, returned: Callable[[], None]) -> None:
        self._dialer = dialer
        self._wait_replicas = wait_replicas
        self._returned = returned
        self._slots: dict[int, Endpoint] = {}
        self._lanes: dict[Endpoint, Lane] = {}
        self._held: dict[int, list[Waiting]] = {}
        self._unrouted: list[Waiting] = []
        # Of both of them.
        self._held_bytes = 0
        self._is_closed = False
        self._refreshed_at = -math.inf
        self._trouble: str | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def submit(self, call: Waiting) -> None:
        """Put a call in the line of its slot's master."""
        slot = call.slot = key_slot(call.key)
        if slot in self._held:
            self._keep(call, self._held[slot])
            return
        endpoint = self._slots.get(slot)
        if endpoint is not None:
            self._lane(endpoint).submit(call)
        elif self._trouble is not None or self._slots:
            self._refresh_soon()
            call.end(HistoryUnavailable(self._trouble or "no master of the Redis Cluster has the slot of this user"))
        else:
            self._keep(call, self._unrouted)
            self._refresh_soon()

    def trouble(self, key: bytes | None) -> str | None:
        """The trouble of a key's master; without a key: of the whole cluster, if no master is well."""
        if key is not None:
            endpoint = self._slots.get(key_slot(key))
            return self._trouble if endpoint is None else self._lane(endpoint).trouble
        troubles = [lane.trouble for lane in self._lanes.values()]
        return self._trouble or next((each for each in troubles if None not in troubles), None)

    @property
    def keeps_all(self) -> bool | None:
        """True if all masters that were asked have on their disks all that they answer; None: none was asked yet."""
        asked = [lane.keeps_all for lane in self._lanes.values() if lane.keeps_all is not None]
        return all(asked) if asked else None

    async def endpoint(self, key: bytes) -> Endpoint:
        """Return the master of a key, after the slots have been read if they are not known, or it is in trouble.

        Raises:
            HistoryUnavailable: nobody says which it is.
        """
        known = self._slots.get(key_slot(key))
        is_in_question = known is None or self._lane(known).trouble is not None
        # Thousands of channels of one master ask, one after the other.
        if is_in_question and time.monotonic() >= self._refreshed_at + REDIS_PROBE_SECONDS:
            await self.refresh()
            known = self._slots.get(key_slot(key))
        if known is None:
            raise HistoryUnavailable(self._trouble or UNREACHABLE)
        return known

    async def refresh(self) -> None:
        """Read the slots from any node that answers. If none does, that is the trouble."""
        for endpoint in self._places():
            try:
                async with asyncio.timeout(REDIS_TIMEOUT_SECONDS / 2):
                    found = await self._dialer.slots(endpoint)
            except (RedisError, OSError, TimeoutError, ConfigError) as error:
                words = error.args[0] if isinstance(error, ConfigError) else unavailable(error).reason
                self._trouble = str(words)
                continue
            except Exception:
                # Calls wait for the slots, and nobody else would answer them.
                logger.exception("the slots of the Redis Cluster cannot be read")
                self._trouble = UNREACHABLE
                continue
            if found:
                self._take(found)
                break
            self._trouble = "the Redis Cluster has no slots yet"
        else:
            self._fail_unrouted()
        self._refreshed_at = time.monotonic()

    async def close(self) -> None:
        """Close all lanes. Waiting calls fail."""
        self._is_closed = True
        for task in [self._refreshing, *self._closing]:
            if task is not None and not task.done():
                task.cancel()
                await asyncio.wait([task])
        self._trouble = "the engine is closed"
        for call in chain(*self._held.values(), self._unrouted):
            call.end(HistoryUnavailable(self._trouble))
        await asyncio.gather(*(lane.close() for lane in self._lanes.values()))

    def _lane(self, endpoint: Endpoint) -> Lane:
        lane = self._lanes.get(endpoint)
        if lane is None:
            lane = self._lanes[endpoint] = Lane(
                partial(self._dialer.dial_to, endpoint),
                wait_replicas=self._wait_replicas,
                redirect=partial(self._redirect, endpoint),
                returned=self._returned,
                troubled=self._refresh_soon,
            )
        return lane

    def _places(self) -> Iterable[Endpoint]:
        well = [endpoint for endpoint, lane in self._lanes.items() if lane.trouble is None]
        return dict.fromkeys([*well, *self._dialer.address.hosts, *self._slots.values()])

    def _take(self, slots: dict[int, Endpoint]) -> None:
        self._trouble = None
        before, self._slots = self._slots, slots
        in_trouble = {endpoint for endpoint, lane in self._lanes.items() if lane.trouble is not None}
        is_well_again = any(before.get(slot) in in_trouble - {endpoint} for slot, endpoint in slots.items())
        masters = set(slots.values())
        for endpoint in self._lanes.keys() - masters:
            lane = self._lanes.pop(endpoint)
            for call in lane.take_back(lambda call: True):
                self.submit(call)
            task = asyncio.create_task(lane.close(), name="tellwire-redis-close")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        for call in self._taken(self._unrouted):
            self.submit(call)
        if is_well_again:
            self._returned()

    def _redirect(self, endpoint: Endpoint, calls: list[Redirected]) -> None:
        for call, error in calls:
            call.redirects += 1
            slot = key_slot(call.key)
            if call.redirects > _MOST_REDIRECTS:
                call.end(unavailable(error))
            elif isinstance(error, MovedError):
                call.is_asking = False
                self._slots[slot] = Endpoint(error.host or endpoint.host, int(error.port))
                self._lane(self._slots[slot]).submit(call)
            elif isinstance(error, AskError):
                call.is_asking = True
                self._lane(Endpoint(error.host or endpoint.host, int(error.port))).submit(call)
            else:
                call.is_asking = False
                self._hold(slot, call)
        moved = {key_slot(call.key) for call, error in calls if isinstance(error, MovedError)}
        for call in self._lane(endpoint).take_back(lambda call: key_slot(call.key) in moved):
            self.submit(call)
        if moved:
            self._refresh_soon()

    def _hold(self, slot: int, call: Waiting) -> None:
        held = self._held.get(slot)
        if held is None:
            held = self._held[slot] = []
            asyncio.get_running_loop().call_later(REDIS_TRYAGAIN_SECONDS, self._submit_held, slot)
        self._keep(call, held)

    def _submit_held(self, slot: int) -> None:
        for call in self._taken(self._held.pop(slot, [])):
            self.submit(call)

    def _keep(self, call: Waiting, calls: list[Waiting]) -> None:
        """Add a call to those that wait outside of the lanes."""
        if self._held_bytes + call.size > REDIS_WAITING_BYTES:
            call.end(HistoryUnavailable(f"more than {REDIS_WAITING_BYTES:,} bytes wait for the Redis Cluster"))
            return
        calls.append(call)
        self._held_bytes += call.size

    def _taken(self, calls: list[Waiting]) -> list[Waiting]:
        """Return the calls, which wait no longer here."""
        taken = calls[:]
        calls.clear()
        self._held_bytes -= sum(call.size for call in taken)
        return taken

    def _refresh_soon(self) -> None:
        if not self._is_closed and (self._refreshing is None or self._refreshing.done()):
            self._refreshing = asyncio.create_task(self._refresh_until_well(), name="tellwire-redis-slots")

    async def _refresh_until_well(self) -> None:
        await self.refresh()
        while self._trouble is not None or any(lane.is_away for lane in self._lanes.values()):
            await asyncio.sleep(REDIS_PROBE_SECONDS)
            await self.refresh()

    def _fail_unrouted(self) -> None:
        for call in self._taken(self._unrouted):
            call.end(HistoryUnavailable(self._trouble or UNREACHABLE))
