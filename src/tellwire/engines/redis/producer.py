"""Producers without HTTP: they publish through the script of the nodes, which decides, keeps and sends.

Everything runs on the background event loop of the process. So a process has one connection, which outlives the loops
of its callers; a forked child makes one of its own; and what is published one after the other stays in order.

Rules, as those over HTTP:
- A publish that is kept is tried again, with full jitter, until its time is used up: the history recognises its id.
  Another one that may have been sent is not sent again.
- After a publish that used up its time, others fail at once until Redis answers again (`circuit`). The messages of a
  job, and the last state of every upload, are always tried.
"""

import asyncio
import atexit
import functools
import math
import os
import re
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

from tellwire.background import background_loop
from tellwire.carriers.circuit import Circuit, is_urgent
from tellwire.engines.redis.link.address import RedisAddress
from tellwire.engines.redis.producer_parts import ProducerParts
from tellwire.errors import NEEDS_ASYNCIO, CannotRunHere, ConfigError, HistoryUnavailable, PublishError, shown
from tellwire.http_client import full_jitter
from tellwire.limits import (
    CIRCUIT_PROBE_SECONDS,
    MAX_PUBLISH_TIMEOUT_SECONDS,
    MAX_WAIT_REPLICAS,
    PUBLISH_TIMEOUT_SECONDS,
)
from tellwire.model import ConnectionInfo, Delivery
from tellwire.numeric import finite_number
from tellwire.publication import Publication
from tellwire.row_errors import RowErrorChunk
from tellwire.text import REDIS_PREFIX_PATTERN, REDIS_PREFIX_WORDS

T = TypeVar("T")
Work = Callable[[ProducerParts], Awaitable[T]]

# A restart of Redis takes below a second, a fail-over some seconds: about as many attempts for each of them.
_FIRST_WAIT_SECONDS: Final = 0.1
_LONGEST_WAIT_SECONDS: Final = 2.0
# A publish that was tried for so long opens the circuit, though it has time left: others would wait as long.
_LONG_SECONDS: Final = 1.0
# An exit is held up for no longer, where Redis is away.
_CLOSE_SECONDS: Final = 1.0


def _always(parts: ProducerParts) -> bool:
    return True


class RedisProducer:
    """A `Carrier` that publishes through Redis, for the nodes of the same `prefix`, from any thread and event loop.

    `timeout_seconds` is the time of one publish, with all its attempts; `wait_replicas` the number of replicas that
    must have it before it counts as kept.

    Example:
        eu = Broadcaster(RedisProducer("redis://:password@redis.eu.internal"))

    Raises:
        ConfigError: the URL is no address of a Redis, or an argument is not valid.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "tellwire",
        wait_replicas: int = 0,
        timeout_seconds: float = PUBLISH_TIMEOUT_SECONDS,
    ) -> None:
        address = RedisAddress.parse(url)
        seconds = finite_number(timeout_seconds)
        if seconds is None or not 0 < seconds <= MAX_PUBLISH_TIMEOUT_SECONDS:
            allowed = f"a number of seconds above 0, and at most {MAX_PUBLISH_TIMEOUT_SECONDS:,}"
            raise ConfigError(f"timeout_seconds: got {shown(timeout_seconds)}; allowed: {allowed}")
        if not isinstance(prefix, str) or not re.fullmatch(REDIS_PREFIX_PATTERN, prefix):
            raise ConfigError(f"prefix: got {shown(prefix)}; allowed: {REDIS_PREFIX_WORDS}")
        if type(wait_replicas) is not int or not 0 <= wait_replicas <= MAX_WAIT_REPLICAS:
            allowed = f"a whole number from 0 to {MAX_WAIT_REPLICAS}"
            raise ConfigError(f"wait_replicas: got {shown(wait_replicas)}; allowed: {allowed}")
        self._timeout_seconds = float(seconds)
        self._again = functools.partial(
            RedisProducer, url, prefix=prefix, wait_replicas=wait_replicas, timeout_seconds=float(seconds)
        )
        self._make_parts = functools.partial(ProducerParts, address, prefix, wait_replicas)
        self._parts: ProducerParts | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._circuit = Circuit()
        self._of_other_loops: list[ProducerParts] = []

    def __reduce__(self) -> tuple[Any, ...]:
        # For `multiprocessing`: the other process makes a connection of its own.
        return self._again, ()

    async def deliver(self, publication: Publication) -> Delivery:
        async def deliver(parts: ProducerParts) -> Delivery:
            return await parts.carrier.deliver(publication)

        # The history recognises the id of a kept publication, so publishing it again is safe.
        return await self._publish(
            deliver, may_repeat=lambda parts: parts.keeps(publication), is_last=publication.is_final
        )

    async def add_row_errors(self, chunk: RowErrorChunk) -> None:
        await self._publish(lambda parts: parts.row_errors.add_row_errors(chunk))

    async def connections(self, user_id: str) -> list[ConnectionInfo]:
        return await self._here_or_there(lambda: self._try(lambda parts: parts.carrier.connections(user_id)))

    async def count(self, user_id: str) -> int:
        """Return the number of connections of a user, on all nodes.

        Raises:
            HistoryUnavailable: nobody knows, just now.
        """
        return await self._here_or_there(lambda: self._try(lambda parts: parts.nodes.count(user_id)))

    async def disconnect(self, connection_id: str) -> bool:
        return await self._here_or_there(lambda: self._try(lambda parts: parts.carrier.disconnect(connection_id)))

    async def close(self) -> None:
        """Close the connection to Redis."""
        await self._here_or_there(self._close)

    # --- on the background loop ---------------------------------------------------------------------------------------

    async def _here_or_there(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the result of `work` on the background loop; in an exit handler, which may outlive that, here."""
        running = asyncio._get_running_loop()
        if running is None:
            raise CannotRunHere(NEEDS_ASYNCIO)
        loop = background_loop()
        if loop is running:
            return await work()
        if not loop.is_closed():
            call = work()
            try:
                handed = asyncio.run_coroutine_threadsafe(call, loop)
            except RuntimeError:  # it has been closed since
                call.close()
            else:
                return await asyncio.wrap_future(handed)
        try:
            return await work()
        finally:
            await self._close()

    async def _publish(
        self, work: Work[T], *, may_repeat: Callable[[ProducerParts], bool] = _always, is_last: bool = False
    ) -> T:
        """Publish, unless the circuit is open."""
        passage = "free" if is_last or is_urgent() else self._circuit.enter(CIRCUIT_PROBE_SECONDS)
        match passage:
            case "free":
                return await self._here_or_there(lambda: self._try(work, may_repeat=may_repeat))
            case "probe":
                seconds = min(CIRCUIT_PROBE_SECONDS, self._timeout_seconds)
                return await self._here_or_there(lambda: self._try(work, attempts=1, seconds=seconds))
            case "stop":
                again = f"Redis did not answer before, and is tried again in {self._circuit.seconds_left:.1f} s"
                raise HistoryUnavailable(again)

    async def _try(
        self,
        work: Work[T],
        *,
        may_repeat: Callable[[ProducerParts], bool] = _always,
        attempts: float = math.inf,
        seconds: float | None = None,
    ) -> T:
        began = time.monotonic()
        seconds = self._timeout_seconds if seconds is None else seconds
        waits = full_jitter(_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS)
        parts = self._parts_of_loop()
        # The cause that is told if the time is over in the middle of an attempt.
        cause: PublishError = HistoryUnavailable(f"Redis has not answered within {seconds:g} s")
        while True:
            is_sent = False
            try:
                async with asyncio.timeout(began + seconds - time.monotonic()):
                    await parts.ready()
                    # In trouble, nothing is.
                    is_sent = parts.store.trouble() is None
                    result = await work(parts)
            except TimeoutError:
                self._circuit.failed()
                raise cause from None
            except PublishError as error:
                cause = error
                attempts -= 1
                wait_seconds = next(waits)
                is_late = not attempts or time.monotonic() + wait_seconds >= began + seconds
                if is_late or time.monotonic() - began >= _LONG_SECONDS:
                    self._circuit.failed()
                if is_late or not error.retryable or (is_sent and not may_repeat(parts)):
                    raise
            else:
                self._circuit.succeeded()
                return result
            await asyncio.sleep(wait_seconds)

    def _parts_of_loop(self) -> ProducerParts:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._parts is not None:
                # A parent's, before a fork, or that of a loop that has ended: there is nobody to close it.
                self._of_other_loops.append(self._parts)
            self._parts, self._loop, self._circuit = None, loop, Circuit()
            atexit.register(self._at_exit, os.getpid())
        if self._parts is None:
            self._parts = self._make_parts()
            self._parts.store.on_return(self._circuit.succeeded)
        return self._parts

    async def _close(self) -> None:
        if self._parts is not None and self._loop is asyncio.get_running_loop():
            parts, self._parts = self._parts, None
            await parts.close()

    def _at_exit(self, process_id: int) -> None:
        """Close the connection before the background loop stops, so that no task of it is left."""
        loop = self._loop
        if process_id == os.getpid() and loop is not None and loop.is_running():
            with suppress(Exception):  # nobody is left to hear of it
                asyncio.run_coroutine_threadsafe(self._close(), loop).result(_CLOSE_SECONDS)
