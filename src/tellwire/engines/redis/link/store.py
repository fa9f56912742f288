"""The Redis of an engine: scripts and commands are called through it, in pipelines, and it knows when Redis is away.

Example:
    store = RedisStore(RedisAddress.parse(url))
    await store.open()
    number = await store.call(script("append"), [key], [payload])
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from tellwire.engines.redis.link.address import Endpoint, RedisAddress
from tellwire.engines.redis.link.cluster import ClusterLanes
from tellwire.engines.redis.link.dial import Dialer
from tellwire.engines.redis.link.fitness import require_fitness
from tellwire.engines.redis.link.one_lane import OneLane
from tellwire.engines.redis.link.scripts import Script
from tellwire.engines.redis.link.waiting import Answer, Answers, Argument, Waiting, packed
from tellwire.errors import HistoryUnavailable
from tellwire.limits import REDIS_PROBE_SECONDS, REDIS_START_SECONDS

logger = logging.getLogger("tellwire.engines.redis")


class Call(Struct, frozen=True, gc=False):
    """A call of a script. All its keys are in one slot."""

    script: Script
    keys: Sequence[bytes]
    args: Sequence[Argument]


class RedisStore:
    """Calls to Redis of one event loop. They run in the order in which they were begun, for each slot of a cluster."""

    def __init__(self, address: RedisAddress, *, wait_replicas: int = 0) -> None:
        self.address = address
        self._dialer = Dialer(address)
        self._on_return: list[Callable[[], None]] = []
        self._lanes: OneLane | ClusterLanes = (
            ClusterLanes(self._dialer, wait_replicas, self._returned)
            if address.kind == "cluster"
            else OneLane(self._dialer, wait_replicas, self._returned)
        )

    async def open(self) -> None:
        """Connect, and look whether it is a Redis that the engine can work with. Without it, the first call connects.

        Raises:
            ConfigError: it is too old, a replica, another kind than its address says, or refuses the login.
            HistoryUnavailable: it cannot be reached, also not a while later.
        """
        for words in require_fitness(await self._first_facts(), self.address.kind):
            logger.warning(words)

    async def call(self, script: Script, keys: Sequence[bytes], args: Sequence[Argument] = ()) -> Any:
        """Run a script, and return its answer: bytes, numbers, lists and None.

        Raises:
            HistoryUnavailable: Redis is away, or refuses. The script may have run.
        """
        answer = Answer()
        words = (b"EVALSHA", script.sha, len(keys), *keys, *args)
        self.begin(Waiting(packed(words), keys[0], script, script.writes, answer.take, answer.is_wanted))
        return await answer

    def begin(self, call: Waiting) -> None:
        """Run a call. It ends with its answer, or with `HistoryUnavailable`."""
        self._lanes.submit(call)

    async def call_all(self, calls: Sequence[Call]) -> list[Any | HistoryUnavailable]:
        """Run scripts one after the other, and return their answers. An error is the answer of its call."""
        answers = Answers(len(calls))
        for index, each in enumerate(calls):
            words = (b"EVALSHA", each.script.sha, len(each.keys), *each.keys, *each.args)
            done = answers.done(index)
            self.begin(Waiting(packed(words), each.keys[0], each.script, each.script.writes, done, answers.is_wanted))
        return await answers.all()

    async def call_together(self, calls: Sequence[Call]) -> list[Any]:
        """Run scripts one after the other, and return their answers.

        Raises:
            HistoryUnavailable: one of them has failed. The others may have run.
        """
        answers = await self.call_all(calls)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers

    async def command(self, *words: Argument, key: bytes, writes: bool = True) -> Any:
        """Run a command that names `key`, such as `command("HGETALL", key, key=key, writes=False)`.

        Raises:
            HistoryUnavailable: Redis is away, or refuses. The command may have run.
        """
        answer = Answer()
        self.begin(Waiting(packed(words), key, None, writes, answer.take, answer.is_wanted))
        return await answer

    def trouble(self, key: bytes | None = None) -> str | None:
        """The reason, in words, that nothing can be written at the moment; None: it can. With a key: for its slot of a
        cluster; without: if no master of a cluster is well.
        """
        return self._lanes.trouble(key)

    def keeps_all(self) -> bool | None:
        """True if every Redis that is in use has on its disk all that it answers (`appendfsync always`); None: none was
        asked yet.
        """
        return self._lanes.keeps_all

    def on_return(self, callback: Callable[[], None]) -> None:
        """Call this each time that Redis is there again after a connection to it was lost."""
        self._on_return.append(callback)

    async def endpoint(self, key: bytes) -> Endpoint:
        """Return the Redis that has a key, or serves a channel, now.

        Raises:
            HistoryUnavailable: nobody says which.
        """
        return await self._lanes.endpoint(key)

    async def close(self) -> None:
        """Close all connections. Calls that still wait fail."""
        await self._lanes.close()
        await self._dialer.close()

    async def _first_facts(self) -> dict[str, str]:
        """Wait a while for a Redis that is being started, too."""
        end = asyncio.get_running_loop().time() + REDIS_START_SECONDS
        is_told = False
        while True:
            try:
                return await self._dialer.probe()
            except HistoryUnavailable as error:
                if asyncio.get_running_loop().time() >= end:
                    raise
                if not is_told:
                    is_told = True
                    logger.warning("waiting for Redis: %s", error.reason)
            await asyncio.sleep(REDIS_PROBE_SECONDS)

    def _returned(self) -> None:
        for callback in self._on_return:
            try:
                callback()
            except Exception:
                logger.exception("a part of the engine cannot go on after Redis has returned")
