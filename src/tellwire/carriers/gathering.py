"""The gathering of publishes: those that are concurrent on one event loop leave as one request.

    publish ─▶ the end of this turn of the loop ─┬─▶ one alone: a request of its own
                                                 └─▶ several: a batch, which has an answer for each

Rules:
- A publish waits for no other one while no request is on its way: only for the end of the turn.
- What comes while a request is on its way leaves together after it, or after `GATHER_SECONDS`; with each further one on
  its way, after twice the time. A request that hangs delays the others by a moment, and a slow gateway gets few, large
  batches.
- Publishes of one key leave in the order in which they were called: none leaves while another one of its key is on its
  way.
- Each has its own time, answer and error. One that is late, or cancelled, before it leaves was not sent.
- A batch that is refused as a whole is sent one by one: the refusal may be about one of them, or about batches.
- Each event loop gathers for itself, so one that stands still or ends holds up no other. Synchronous code shares one.
"""

import asyncio
import math
import os
from collections.abc import Sequence
from itertools import chain
from typing import Final, Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary

from tellwire.errors import NEEDS_ASYNCIO, CannotRunHere
from tellwire.limits import GATHER_BYTES, GATHER_LINES, GATHER_SECONDS

T = TypeVar("T")
Outcome = TypeVar("Outcome", covariant=True)

REFUSED: Final = None
"""The outcome of a batch that was refused as a whole. Nothing of it was published."""


class Way(Protocol[Outcome]):
    """The way to a gateway: it sends publishes, alone or several at once, and returns their outcomes."""

    async def one(self, body: bytes, seconds: float) -> Outcome:
        """Send a publish, and return its outcome within so many seconds."""
        ...

    async def batch(self, bodies: Sequence[bytes], seconds: float) -> Sequence[Outcome] | None:
        """Send several publishes as one request, and return the outcome of each. `REFUSED`: none was published."""
        ...

    def late(self, *, was_sent: bool) -> Outcome:
        """Return the outcome of a publish without an answer, which may have arrived if it was sent."""
        ...


class _Line(Generic[T]):
    """A publish. Its outcome is None when its caller must send it, because it leaves alone."""

    __slots__ = ("body", "gives_up_at", "has_left", "key", "leaves_alone", "must_be_alone", "outcome")

    def __init__(self, body: bytes, key: str | None, gives_up_at: float, outcome: asyncio.Future[T | None]) -> None:
        self.body = body
        self.key = key
        self.gives_up_at = gives_up_at
        self.outcome = outcome
        # A line break, which JSON may have between its fields, would end the line.
        self.must_be_alone = b"\n" in body
        self.leaves_alone = False
        self.has_left = False


class Gathering(Generic[T]):
    """The publishes of one event loop over one way."""

    def __init__(self, way: Way[T]) -> None:
        self._way = way
        self._waiting: list[_Line[T]] = []
        self._departure: asyncio.Handle | None = None
        self._on_way = 0
        self._keys_on_way: set[str] = set()
        self._posts: dict[asyncio.Task[None], list[_Line[T]]] = {}
        self._late_at = math.inf
        self._late_timer: asyncio.TimerHandle | None = None

    async def publish(self, body: bytes, key: str | None, seconds: float) -> T:
        """Send the body of a publish, alone or with others. Those with the same `key` keep their order; None: any."""
        loop = asyncio.get_running_loop()
        line: _Line[T] = _Line(body, key, loop.time() + seconds, loop.create_future())
        self._waiting.append(line)
        self._schedule(loop)
        if line.gives_up_at < self._late_at:
            self._set_late_timer(line.gives_up_at)
        try:
            outcome = await line.outcome
            if outcome is None:
                outcome = await self._way.one(body, line.gives_up_at - loop.time())
            return outcome
        finally:
            if line.leaves_alone:
                self._returned([line])

    def _set_late_timer(self, at: float) -> None:
        """Look for late ones at a time, with one timer for all: most have the same time left. `inf`: no more."""
        if self._late_timer is not None:
            self._late_timer.cancel()
        self._late_at = at
        self._late_timer = None if at == math.inf else asyncio.get_running_loop().call_at(at, self._end_late)

    def _end_late(self) -> None:
        now = asyncio.get_running_loop().time()
        open_lines = [line for line in chain(self._waiting, *self._posts.values()) if not line.outcome.done()]
        for line in open_lines:
            if line.gives_up_at <= now:
                line.outcome.set_result(self._way.late(was_sent=line.has_left))
        self._set_late_timer(min((line.gives_up_at for line in open_lines if line.gives_up_at > now), default=math.inf))

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._departure is not None:
            return
        if self._on_way:
            self._departure = loop.call_later(GATHER_SECONDS * 2 ** (self._on_way - 1), self._depart)
        else:
            self._departure = loop.call_soon(self._depart)

    def _depart(self) -> None:
        self._departure = None
        lines = self._take()
        if not lines:
            return  # what waits is behind what is on its way
        loop = asyncio.get_running_loop()
        self._on_way += 1
        for line in lines:
            line.has_left = True
            if line.key is not None:
                self._keys_on_way.add(line.key)
        if len(lines) == 1:
            lines[0].leaves_alone = True
            lines[0].outcome.set_result(None)
        else:
            post = loop.create_task(self._post(lines), name="tellwire-publish")
            self._posts[post] = lines
            post.add_done_callback(self._posts.pop)
        if self._waiting:
            self._schedule(loop)

    def _take(self) -> list[_Line[T]]:
        """Take the lines that may leave now as one request, the first ones first."""
        taken: list[_Line[T]] = []
        left: list[_Line[T]] = []
        behind = set(self._keys_on_way)
        size = 0
        for number, line in enumerate(self._waiting):
            if line.outcome.done():
                continue  # late, or cancelled
            if line.key is not None and line.key in behind:
                left.append(line)
                continue
            size += len(line.body)
            is_full = size > GATHER_BYTES or len(taken) == GATHER_LINES
            if taken and (is_full or line.must_be_alone or taken[0].must_be_alone):
                left += self._waiting[number:]
                break
            taken.append(line)
        self._waiting = left
        return taken

    async def _post(self, lines: list[_Line[T]]) -> None:
        loop = asyncio.get_running_loop()
        seconds = max(line.gives_up_at for line in lines) - loop.time()
        try:
            outcomes = await self._way.batch([line.body for line in lines], seconds)
            if outcomes is REFUSED:
                self._send_one_by_one(lines)
            else:
                for line, outcome in zip(lines, outcomes, strict=True):
                    if not line.outcome.done():
                        line.outcome.set_result(outcome)
        except Exception as error:  # noqa: BLE001 - it is that of each of them
            for line in lines:
                if not line.outcome.done():
                    line.outcome.set_exception(error)
        finally:
            self._returned(lines)

    def _send_one_by_one(self, lines: list[_Line[T]]) -> None:
        for line in lines:
            line.must_be_alone = True
            line.has_left = False
        self._waiting[:0] = lines

    def _returned(self, lines: list[_Line[T]]) -> None:
        """End the time of a request on its way: those that waited for it leave."""
        for line in lines:
            # Without an outcome, its request was interrupted, or it is sent again.
            if line.has_left and not line.outcome.done():
                line.outcome.set_result(self._way.late(was_sent=True))
            if line.key is not None:
                self._keys_on_way.discard(line.key)
        self._on_way -= 1
        if self._departure is not None:
            self._departure.cancel()
            self._departure = None
        if self._waiting:
            self._departure = asyncio.get_running_loop().call_soon(self._depart)
        elif not self._on_way:
            self._set_late_timer(math.inf)


class Gatherings(Generic[T]):
    """The gathering of each event loop of this process over one way."""

    def __init__(self, way: Way[T]) -> None:
        self._way = way
        self._process_id = 0
        self._of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Gathering[T]] = WeakKeyDictionary()

    def here(self) -> Gathering[T]:
        """Return that of the running loop.

        Raises:
            CannotRunHere: no event loop of asyncio runs, as in trio.
        """
        if self._process_id != os.getpid():
            # The requests of a parent are not answered here.
            self._process_id = os.getpid()
            self._of_loops = WeakKeyDictionary()
        loop = asyncio._get_running_loop()
        if loop is None:
            raise CannotRunHere(NEEDS_ASYNCIO)
        found = self._of_loops.get(loop)
        if found is None:
            found = self._of_loops[loop] = Gathering(self._way)
        return found
