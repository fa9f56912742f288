"""The escalations of a process: it ends those that are acknowledged, and calls the targets of the others.

    a lease expires ─▶ expire: read what is seen and marked ─▶ `cancelled` │ `calling` is kept ─▶ the call, in a task
    the call ends ─▶ `complete` │ `failed` │ `calling` with another lease: it is called again then

Whoever keeps `calling` calls: a state names the version it was made of. What this process does not keep, for it dies or
the store is away, has its lease: then another process, or this one, calls again, with the same id.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final, Literal

from msgspec import Struct

from tellwire import escalation
from tellwire.entry import Entry
from tellwire.errors import PublishError
from tellwire.limited_log import LimitedLog
from tellwire.limits import ESCALATION_PAUSE_SECONDS, ESCALATIONS_AT_ONCE
from tellwire.marks import MARKS
from tellwire.ports import Clock, History, NullObserver, Observer
from tellwire.publication import Publication, StreamKey, escalation_stream, user_stream
from tellwire.stream import SEEN

logger = logging.getLogger("tellwire.escalations")

CallOutcome = Literal["called", "refused", "away", "unknown"]
"""The outcome of a call: the target has it, does not want it, did not answer, or is not known here."""

Call = Callable[[str, bytes, str, str], Awaitable[CallOutcome]]
"""Calls a target, by its name, with a body, the id of the request, and the id of the user."""

_STOP_SECONDS: Final = 5.0


class EscalationCounts(Struct):
    """The numbers of escalations that have ended here, since the process has begun."""

    called: int = 0
    acknowledged: int = 0
    failed: int = 0


async def _no_target(target: str, body: bytes, request_id: str, user_id: str) -> CallOutcome:
    return "unknown"


class Escalations:
    """The escalations that this process notices. `on_kept` is called with every state that is kept.

    `call` calls a target; a server sets it when it has its targets.
    """

    def __init__(
        self,
        history: History,
        clock: Clock,
        on_kept: Callable[[Entry], None] = lambda entry: None,
        observer: Observer | None = None,
    ) -> None:
        self._history = history
        self._clock = clock
        self._on_kept = on_kept
        self._observer = observer or NullObserver()
        self._calls: set[asyncio.Task[None]] = set()
        self._is_stopping = False
        self._log = LimitedLog(logger, logging.WARNING, "escalations", clock)
        self.call: Call = _no_target
        self.counts = EscalationCounts()

    async def expire(self, entry: Entry) -> bool:
        """Act on an escalation whose time has come. False: it is not to be done here, or was done elsewhere.

        Raises:
            HistoryUnavailable: nobody knows what the user has seen, or it cannot be kept.
        """
        if self._is_stopping:
            return False
        user_id = entry.target.user or ""
        if escalation.is_acknowledged(entry, *await seen_and_marks(self._history, user_id)):
            return await self._end(entry, escalation.CANCELLED)
        if escalation.is_given_up(entry, self._clock.now()):
            self._tell("the target %s was away for a day, or is in no settings: a notification is not escalated", entry)
            return await self._end(entry, escalation.FAILED)
        if len(self._calls) >= ESCALATIONS_AT_ONCE:
            wait = random.uniform(ESCALATION_PAUSE_SECONDS, 2 * ESCALATION_PAUSE_SECONDS)  # noqa: S311 - jitter
            return await self._keep(escalation.postponed(entry, wait)) is not None
        state = await self._keep(escalation.calling(entry, self._clock.now()))
        if state is None:
            return False
        task = asyncio.create_task(self._call(state), name="tellwire-escalation")
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return True

    async def idle(self, seconds: float | None = None) -> None:
        """Wait until the calls that are in progress have ended, or for so many seconds."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=seconds)

    async def stop(self) -> None:
        """Begin no more calls, and give those in progress a short time. The others are made again elsewhere."""
        self._is_stopping = True
        if self._calls:
            await asyncio.wait(self._calls, timeout=_STOP_SECONDS)
        for task in list(self._calls):
            task.cancel()
        if self._calls:
            await asyncio.wait(self._calls)

    async def _call(self, state: Entry) -> None:
        data = escalation.escalated(state)
        try:
            body, request_id = escalation.body_of(state, self._clock.now()), escalation.request_id_of(state)
            outcome = await self.call(data.target, body, request_id, state.target.user or "")
            if outcome == "called":
                await self._end(state, escalation.COMPLETE)
            elif outcome == "refused":
                await self._end(state, escalation.FAILED)
            else:
                if outcome == "unknown":
                    self._tell("the target %s is not in the settings of this node", state)
                await self._keep(escalation.called_again(state))
        except PublishError as error:
            self._log.tell_left_out()
            self._log.write("the end of a call cannot be kept, so it is made again: %s", error)
        except Exception:
            # The others go on.
            logger.exception("a call has failed, and is made again")

    async def _end(self, entry: Entry, status: str) -> bool:
        if await self._keep(escalation.ended(entry, status)) is None:
            return False
        match status:
            case escalation.COMPLETE:
                self.counts.called += 1
                self._observer.escalation_ended("called")
            case escalation.CANCELLED:
                self.counts.acknowledged += 1
                self._observer.escalation_ended("acknowledged")
            case _:
                self.counts.failed += 1
                self._observer.escalation_ended("failed")
        return True

    async def _keep(self, state: Publication) -> Entry | None:
        kept = await self._history.append(state)
        if kept is not None:
            self._on_kept(kept)
        return kept

    def _tell(self, text: str, entry: Entry) -> None:
        self._log.tell_left_out()
        self._log.write(text, escalation.escalated(entry).target)


async def seen_and_marks(history: History, user_id: str) -> tuple[Entry | None, Entry | None]:
    """Return the states of a user's log: how far it is seen, and the marks, of all devices.

    Raises:
        HistoryUnavailable: nobody knows, just now.
    """
    stream = user_stream(user_id)
    seen, marks = await asyncio.gather(history.state(stream, SEEN), history.state(stream, MARKS))
    return seen, marks


async def make_room(history: History, user_id: str) -> list[Entry]:
    """End the escalations of a user that wait although they are acknowledged. Return their last states.

    Raises:
        HistoryUnavailable: not all of them are ended.
    """
    waiting = await _waiting(history, escalation_stream(user_id))
    states = escalation.some_room(waiting, *await seen_and_marks(history, user_id))
    return [kept for state in states if (kept := await history.append(state)) is not None]


async def _waiting(history: History, stream: StreamKey) -> list[Entry]:
    return (await history.read(stream, None)).snapshot
