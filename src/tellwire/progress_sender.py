"""The sender of a job's progress: one message at a time, always the newest state. Failures never stop the job.

A slow gateway makes updates rarer, never late. A gateway that cannot be reached is logged once per episode and counted.
Row errors are sent in chunks, and never delay a newer state.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Iterable
from typing import Final, TypeVar

import msgspec

from tellwire.broadcast import Broadcaster
from tellwire.carriers.circuit import urgent
from tellwire.errors import GatewayRefused, TellwireError
from tellwire.essentials import essentials_of, is_about_content
from tellwire.limits import ROW_ERRORS_CHUNK, ROW_ERRORS_SECONDS
from tellwire.messages import Message
from tellwire.model import Delivery, Target, given, new_message_id
from tellwire.progress_state import ProgressState
from tellwire.row_errors import RowErrorChunk

logger = logging.getLogger("tellwire.progress")

T = TypeVar("T")

_YIELD_SECONDS: Final = 0.0025
_FINISH_SECONDS: Final = 15.0
_ENDING_LOOP_SECONDS: Final = 3.0


class ProgressSender:
    """A sender of the newest state to one user, one message at a time, in order. For one event loop; never raises."""

    def __init__(self, broadcaster: Broadcaster, user_id: str, state: ProgressState) -> None:
        self._broadcaster = broadcaster
        self._target = Target(user=given("target.user", user_id))
        self._state = state
        self._newest: Message | None = None
        self._sending: asyncio.Task[None] | None = None
        self._is_sending = False
        self._is_failing = False
        self._has_begun = False
        self._finished = False
        self.is_cancelled = False
        self.is_superseded = False
        self.sent = 0
        self.failures = 0

    def offer(self, message: Message) -> None:
        """Send `message` after the one that is being sent, unless a newer one is offered by then."""
        if self._finished:
            return  # the final state is being sent, and every update is older
        self._newest = message
        if not self._is_sending:
            # Before the task is made: an eager one (`asyncio.eager_task_factory`) may end before it is returned.
            self._is_sending = True
            self._sending = asyncio.create_task(self._send_newest(), name="tellwire-progress")

    async def yield_to_sender(self) -> None:
        """Give the event loop time to send an offered message, without waiting for a slow gateway."""
        if self._sending is None or self._sending.done() or not _is_here(self._sending):
            await asyncio.sleep(0)
        else:
            await asyncio.wait({self._sending}, timeout=_YIELD_SECONDS)

    async def finish(self, messages: Iterable[Message]) -> None:
        """Send the last messages, after the one that is being sent. A state that was only offered is dropped.

        A caller that is cancelled stops waiting; the messages are sent all the same. Called again, it sends nothing.
        """
        if self._finished:
            return
        self._newest, self._finished = None, True
        if asyncio._get_running_loop() is None:
            return  # the loop was closed with the job in it, and its coroutine is thrown away now
        # With an id, a message that is sent again is the same one. The timeout inside keeps the task alive: the event
        # loop holds its timer.
        with_ids = deque(
            msgspec.structs.replace(each, id=new_message_id()) if each.id is msgspec.UNSET else each
            for each in messages
        )
        last = asyncio.create_task(self._finish(with_ids), name="tellwire-progress-finish")
        await asyncio.wait({last})

    async def _finish(self, messages: deque[Message]) -> None:
        try:
            await self._send_last(messages, _FINISH_SECONDS)
        except asyncio.CancelledError:
            # The event loop is ending: `asyncio.run` cancels every task once, and waits for it.
            await self._send_last(messages, _ENDING_LOOP_SECONDS)

    async def _send_last(self, messages: deque[Message], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                if self._sending is not None and _is_here(self._sending) and not self._sending.done():
                    await asyncio.wait({self._sending}, timeout=seconds / 3)
                    self._sending.cancel()
                # A user who sees the final state may want the list at once.
                await self._send_last_row_errors()
                while messages:
                    await self._send(messages[0])
                    messages.popleft()
                    if self.is_superseded:
                        messages.clear()  # the user sees another run, and no error of this one
        except TimeoutError:
            self._count_failure("no answer in time")

    def drop_offered(self) -> bool:
        """Forget a state that is only offered. True: nothing was sent, so a user knows nothing of this job."""
        self._newest = None
        self._finished = self._finished or not self._has_begun
        return not self._has_begun

    async def _send_newest(self) -> None:
        try:
            while self._newest is not None:
                message, self._newest = self._newest, None
                await self._send(message)
                await self._send_row_errors(at_least=ROW_ERRORS_CHUNK)
        finally:
            self._is_sending = False

    async def _send(self, message: Message) -> None:
        self._has_begun = True
        delivery = await self._attempt(self._broadcast(message))
        if delivery is not None:
            self.sent += 1
            self.is_cancelled = self.is_cancelled or delivery.cancelled
            self.is_superseded = self.is_superseded or delivery.superseded

    async def _broadcast(self, message: Message) -> Delivery:
        try:
            return await self._broadcaster.broadcast(self._target, message)
        except TellwireError as error:
            brief = essentials_of(message) if is_about_content(error) else None
            if brief is None:
                raise
            self._count_failure(f"{error}; it is sent without its words")
            return await self._broadcaster.broadcast(self._target, brief)

    async def _send_last_row_errors(self) -> None:
        try:
            async with asyncio.timeout(ROW_ERRORS_SECONDS):
                await self._send_row_errors(at_least=1)
        except TimeoutError:
            self._count_failure("no answer in time")

    async def _send_row_errors(self, at_least: int) -> None:
        state, row_errors = self._state, self._state.row_errors
        while row_errors.unsent >= at_least:
            total, first, errors = row_errors.next_part(ROW_ERRORS_CHUNK)
            chunk = RowErrorChunk(
                self._target.user or "", state.upload_id, state.file_name, state.run, total, first, errors, state.part
            )
            is_stored = await self._attempt(self._add(chunk))
            if is_stored:
                row_errors.mark_sent(total, len(errors))
            elif is_stored is False:
                row_errors.keep_no_list()
            if not is_stored or self._newest is not None:
                return

    async def _add(self, chunk: RowErrorChunk) -> bool:
        try:
            return await self._broadcaster.add_row_errors(chunk)
        except GatewayRefused as refused:
            # Not retried: a gateway that refuses one chunk, such as an older one, refuses all. A proxy does not.
            if not refused.is_of_gateway:
                raise
            logger.warning("there will be no list of the rows left out: %s", refused)
            return False

    async def _attempt(self, attempt: Awaitable[T]) -> T | None:
        """Return the result of a call; None if it failed, which is counted."""
        try:
            # Nobody waits for a job's messages, and a short lease must be renewed as soon as the gateway is back.
            with urgent():
                result = await attempt
        except TellwireError as error:
            self._count_failure(str(error))
        except Exception as error:  # noqa: BLE001 - no error of a carrier may stop the job
            self._count_failure(repr(error))
        else:
            self._is_failing = False
            return result
        return None

    def _count_failure(self, reason: str) -> None:
        self.failures += 1
        if not self._is_failing:
            logger.warning("progress does not get through, the job goes on: %s", reason)
        self._is_failing = True


def _is_here(task: asyncio.Task[None]) -> bool:
    return task.get_loop() is asyncio.get_running_loop()
