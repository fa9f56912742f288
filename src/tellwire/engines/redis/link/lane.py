"""One connection to one Redis, and the line of calls that wait for it.

    submit ─▶ the line ─▶ at the end of this turn, one pipeline of all that wait ─▶ in flight ─▶ `done` of each call

Some pipelines are in flight at once, and the rest gathers meanwhile. All go over one connection, so calls that were
begun one after the other run in that order, and a busy process pays for a round trip once for many calls. A reply that
asks for the same call again (a script that is missing, a slot that has moved) stops the line until nothing is in
flight: the calls behind it have the same fate, and go after it.

    well ── the connection is lost ──▶ one attempt at once ── it fails ──▶ trouble ── a probe every 0.5 s ──▶ well
      └──────────── an answer takes over 2 s ────────────────────────────▶

A call that waits for too long in the line fails, and is not sent. A write that was in flight when the connection was
lost has failed, and may have happened; a read is repeated. In trouble every call fails at once.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)

from tellwire.engines.redis.link.call_link import CallLink
from tellwire.engines.redis.link.pipeline import Pipelines
from tellwire.engines.redis.link.scripts import script
from tellwire.engines.redis.link.waiting import Answer, Redirected, Waiting, packed
from tellwire.engines.redis.link.words import REFUSED, UNREACHABLE, TooSlow, is_about_the_server, unavailable
from tellwire.errors import ConfigError, HistoryUnavailable
from tellwire.limits import (
    REDIS_LINE_SECONDS,
    REDIS_PIPELINE_BYTES,
    REDIS_PIPELINE_CALLS,
    REDIS_PIPELINES,
    REDIS_PROBE_SECONDS,
    REDIS_REST_SECONDS,
    REDIS_TIMEOUT_SECONDS,
    REDIS_WAITING_BYTES,
)

logger = logging.getLogger("tellwire.engines.redis")

# A read that has lost so many connections may be their reason, as with an answer that nobody can take.
_MOST_LOST: Final = 2
_LOOK_SECONDS: Final = 0.02


class _Closed(Exception):
    """The end of the engine."""


class Lane:
    """The way to one Redis. `dial` opens a connection that is ready for commands.

    `keeps_all`: this Redis has on its disk all that it answers, as it said when the connection was opened;
    None: it was not asked yet.

    `redirect` gets the calls that another node of a cluster must have, with their errors. `returned` is called when a
    connection is there again after one was lost, `troubled` when trouble begins.
    """

    def __init__(
        self,
        dial: Callable[[], Awaitable[CallLink]],
        *,
        wait_replicas: int = 0,
        redirect: Callable[[list[Redirected]], None] | None = None,
        returned: Callable[[], None] = lambda: None,
        troubled: Callable[[], None] = lambda: None,
    ) -> None:
        self.keeps_all: bool | None = None
        self._away: str | None = None
        self._refused: str | None = None
        self._dial = dial
        self._redirect = redirect
        self._returned = returned
        self._troubled = troubled
        self._link: CallLink | None = None
        self._was_lost = False
        self._used_at = 0.0
        self._waiting: deque[Waiting] = deque()
        self._waiting_bytes = 0
        self._pipelines = Pipelines(wait_replicas)
        self._waits_for_replicas = bool(wait_replicas)
        # The oldest pipeline must be answered by then.
        self._answered_by = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._is_late = False
        self._sends_soon = False
        self._is_rested = False
        # While it stands still, calls that are to be sent again, or elsewhere, and the reason to open it anew.
        self._stands_still = False
        self._again: list[Waiting] = []
        self._redirected: list[Redirected] = []
        self._reason: Exception | None = None
        self._opening: asyncio.Task[None] | None = None
        self._prober: asyncio.Task[None] | None = None

    @property
    def trouble(self) -> str | None:
        """The reason, in words, that nothing can be written at the moment; None: it can."""
        return self._away or self._refused

    @property
    def is_away(self) -> bool:
        """True while calls fail at once."""
        return self._away is not None

    def submit(self, call: Waiting) -> None:
        """Put a call in the line. Its answer may be an error."""
        if self._away is not None:
            call.end(HistoryUnavailable(self._away))
            return
        if self._waiting_bytes + call.size > REDIS_WAITING_BYTES and self._waiting:
            call.end(HistoryUnavailable(f"more than {REDIS_WAITING_BYTES:,} bytes wait for Redis"))
            return
        self._waiting.append(call)
        self._waiting_bytes += call.size
        self._send_soon()

    def take_back(self, is_wanted: Callable[[Waiting], bool]) -> list[Waiting]:
        """Remove calls from the line, in their order."""
        taken = [call for call in self._waiting if is_wanted(call)]
        if taken:
            self._waiting = deque(call for call in self._waiting if not is_wanted(call))
            self._waiting_bytes = sum(call.size for call in self._waiting)
        return taken

    async def close(self) -> None:
        """Close the connection. Waiting calls fail."""
        tasks = [task for task in (self._prober, self._opening) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._away = "the engine is closed"
        link = self._link
        self._hang_up(_Closed())
        self._fail_waiting(self._away)
        if link is not None:
            await link.close()

    # --- the line -----------------------------------------------------------------------------------------------------

    def _send_soon(self) -> None:
        if not self._sends_soon:
            self._sends_soon = True
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        self._sends_soon = False
        if not self._waiting or self._stands_still:
            return
        link = self._link
        if link is None:
            self._open_soon()
        elif self._may_be_closed():
            self._send_soon()
        elif link.is_open:
            while self._waiting and self._has_room() and (calls := self._next_pipeline()):
                if not self._pipelines:
                    self._expect_an_answer()
                link.write(self._pipelines.pack(calls))

    def _may_be_closed(self) -> bool:
        """Return True, once after a rest: the loop has not looked yet whether Redis has closed the connection."""
        is_rested = time.monotonic() > self._used_at + REDIS_REST_SECONDS and not self._pipelines
        self._is_rested = is_rested and not self._is_rested
        return self._is_rested

    def _has_room(self) -> bool:
        flying = self._pipelines
        is_below = flying.calls < REDIS_PIPELINE_CALLS and flying.bytes < REDIS_PIPELINE_BYTES
        # A WAIT holds up all that is behind it, so no pipeline is sent to wait for two.
        return is_below and len(flying) < (1 if self._waits_for_replicas else REDIS_PIPELINES)

    def _next_pipeline(self) -> list[Waiting]:
        calls: list[Waiting] = []
        size, oldest = 0, time.monotonic() - REDIS_LINE_SECONDS
        while self._waiting and len(calls) < REDIS_PIPELINE_CALLS:
            if calls and size + self._waiting[0].size > REDIS_PIPELINE_BYTES:
                break
            call = self._waiting.popleft()
            size += call.size
            if call.began_at < oldest:
                # Who waits for it would soon ask again, and make the line longer.
                call.end(HistoryUnavailable(f"Redis is slow: a call has waited for {REDIS_LINE_SECONDS:g} s"))
            elif call.is_wanted is None or call.is_wanted():
                calls.append(call)
        self._waiting_bytes = self._waiting_bytes - size if self._waiting else 0
        return calls

    def _put_first(self, calls: Iterable[Waiting]) -> None:
        for call in calls:
            self._waiting.appendleft(call)
            self._waiting_bytes += call.size

    def _fail_waiting(self, words: str) -> None:
        while self._waiting:
            self._waiting.popleft().end(HistoryUnavailable(words))
        self._waiting_bytes = 0

    # --- replies ------------------------------------------------------------------------------------------------------

    def _expect_an_answer(self) -> None:
        """Give the oldest pipeline its time, from now on."""
        self._answered_by = time.monotonic() + REDIS_TIMEOUT_SECONDS
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(REDIS_TIMEOUT_SECONDS, self._check_time)

    def _check_time(self) -> None:
        self._timer = None
        seconds = self._answered_by - time.monotonic()
        if not self._pipelines:
            return
        # The answer may be here already, if this process was held up: who reads it comes after timers.
        is_late, self._is_late = self._is_late, seconds <= 0
        if is_late and seconds <= 0:
            self._lost(TooSlow())
        else:
            self._timer = asyncio.get_running_loop().call_later(max(seconds, _LOOK_SECONDS), self._check_time)

    def _replied(self, reply: Any) -> None:
        before = len(self._pipelines)
        for call, answer in self._pipelines.take(reply):
            if isinstance(answer, Exception):
                self._take_error(call, answer)
            else:
                self._refused = None if call.proves_writes else self._refused
                call.end(answer)
        if len(self._pipelines) < before:
            self._expect_an_answer()

    def _take_error(self, call: Waiting, error: Exception) -> None:
        if isinstance(error, NoScriptError) and not call.was_loaded_again:
            call.was_loaded_again = True
            self._again.append(call)
        elif self._redirect is not None and isinstance(error, MovedError | AskError | TryAgainError):
            self._redirected.append((call, error))
        else:
            self._refuse(call, error)
            if not is_about_the_server(error):
                return
            self._reason = error
        self._stands_still = True

    def _turn(self) -> None:
        """Go on after the replies of a turn of the event loop."""
        self._used_at = time.monotonic()
        if self._stands_still and not self._pipelines:
            self._go_on()
        if self._waiting:
            self._send_soon()

    def _go_on(self) -> None:
        self._stands_still = False
        again, self._again = self._again, []
        redirected, self._redirected = self._redirected, []
        reason, self._reason = self._reason, None
        self._put_first(reversed(again))
        if self._redirect is not None and redirected:
            self._redirect(redirected)
        if reason is not None:
            self._lost(reason)

    def _refuse(self, call: Waiting, reply: Exception) -> None:
        error = reply if isinstance(reply, HistoryUnavailable) else unavailable(reply)
        call.end(error)
        if error.reason == REFUSED:
            logger.error("Redis refused %s: %s", call.name, reply)
        elif call.writes:
            self._refused = error.reason
            if self._prober is None:
                self._prober = asyncio.create_task(self._probe(), name="tellwire-redis-probe")

    async def _probe(self) -> None:
        """Try to write until that is not refused. Nobody else may: a node that is not ready gets nothing to publish."""
        probe = script("probe")
        while self._refused is not None:
            await asyncio.sleep(REDIS_PROBE_SECONDS)
            # Without a key, no node of a cluster hands it on to another one.
            answer = Answer()
            self.submit(Waiting(packed((b"EVALSHA", probe.sha, 0)), b"", probe, True, answer.take))
            await asyncio.wait([answer])
        self._prober = None

    # --- the connection -----------------------------------------------------------------------------------------------

    def _lost(self, error: Exception) -> None:
        """Go on without the connection, and with another one if it was in use."""
        if self._link is None:
            return
        is_in_use = bool(self._pipelines or self._waiting or self._stands_still)
        if not isinstance(error, RedisError | OSError | TooSlow):
            logger.error("an answer of Redis cannot be read", exc_info=error)
        self._hang_up(error)
        if isinstance(error, TooSlow | ReadOnlyError | ClusterDownError | MasterDownError | BusyLoadingError):
            self._begin_trouble(unavailable(error).reason)
        elif is_in_use:
            self._open_soon()

    def _hang_up(self, error: Exception) -> None:
        link, self._link = self._link, None
        self._was_lost = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if link is not None:
            link.abort()
        words = unavailable(error)
        repeated: list[Waiting] = []
        for call in self._pipelines.clear():
            if call.writes or call.lost >= _MOST_LOST or isinstance(error, TooSlow | _Closed):
                call.end(words)
            else:
                call.lost += 1
                repeated.append(call)
        self._put_first(reversed(repeated))
        if self._stands_still:
            self._go_on()

    def _open_soon(self) -> None:
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(), name="tellwire-redis-lane")

    async def _open(self) -> None:
        """Open a connection: at once, and in trouble after a while, again and again."""
        while self._link is None:
            # In trouble, a connection at once would find the same trouble, as often as calls come.
            if self._away is not None:
                await asyncio.sleep(REDIS_PROBE_SECONDS)
            try:
                await self._connect()
            except Exception:
                # Without its task, no call would ever be answered.
                logger.exception("the connection to Redis cannot be used")
                self._begin_trouble(UNREACHABLE)
        self._opening = None
        self._send_soon()

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
                link = await self._dial()
            try:
                link.start(self._replied, self._turn, self._lost)
            except BaseException:
                link.abort()
                raise
        except (RedisError, OSError, TimeoutError, ConfigError) as error:
            words = error.args[0] if isinstance(error, ConfigError) else unavailable(error).reason
            self._begin_trouble(str(words))
            return
        self._link = link
        self.keeps_all = link.keeps_all
        self._used_at = time.monotonic()
        self._away = None
        if self._was_lost:
            self._was_lost = False
            logger.info("Redis answers again")
            self._returned()

    def _begin_trouble(self, words: str) -> None:
        if self._away is None:
            logger.warning("Redis is away: %s", words)
        self._away = words
        self._was_lost = True
        self._troubled()
        self._fail_waiting(words)
        self._open_soon()
