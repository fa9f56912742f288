"""The sender of a job's progress: one message at a time, always the newest state. Failures never stop the job.

A slow gateway makes updates rarer, never late. A gateway that cannot be reached is logged once per episode and counted.
Row errors are sent in chunks, and never delay a newer state.
"""

import asyncio
import logging
from collections.abc import Awaitable, Iterable
from typing import Final, TypeVar

from tellwire.broadcast import Broadcaster
from tellwire.errors import GatewayRefused, TellwireError
from tellwire.limits import ROW_ERRORS_CHUNK, ROW_ERRORS_SECONDS
from tellwire.messages import Message
from tellwire.model import Target
from tellwire.progress_state import ProgressState
from tellwire.row_errors import RowErrorChunk

logger = logging.getLogger("tellwire.progress")

T = TypeVar("T")

_YIELD_SECONDS: Final = 0.0025
_FINISH_SECONDS: Final = 15.0


class ProgressSender:
    """A sender of the newest state to one user, one message at a time, in order. For one event loop; never raises."""

    def __init__(self, broadcaster: Broadcaster, user_id: str, state: ProgressState) -> None:
        self._broadcaster = broadcaster
        self._target = Target(user=user_id)
        self._state = state
        self._newest: Message | None = None
        self._sending: asyncio.Task[None] | None = None
        self._is_failing = False
        self._finished = False
        self.is_cancelled = False
        self.sent = 0
        self.failures = 0

    def offer(self, message: Message) -> None:
        """Send `message` after the one that is being sent, unless a newer one is offered by then."""
        if self._finished:
            return  # the final state is being sent, and every update is older
        self._newest = message
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_newest(), name="tellwire-progress")

    async def yield_to_sender(self) -> None:
        """Give the event loop time to send an offered message, without waiting for a slow gateway."""
        if self._sending is None:
            await asyncio.sleep(0)
        else:
            await asyncio.wait({self._sending}, timeout=_YIELD_SECONDS)

    async def finish(self, messages: Iterable[Message]) -> None:
        """Send the last messages, after the one that is being sent. A state that was only offered is dropped."""
        self._newest, self._finished = None, True
        try:
            async with asyncio.timeout(_FINISH_SECONDS):
                if self._sending is not None:
                    await asyncio.wait({self._sending}, timeout=_FINISH_SECONDS / 3)
                    if self._sending is not None:
                        self._sending.cancel()
                # A user who sees the final state may want the list at once.
                await self._send_last_row_errors()
                for message in messages:
                    await self._send(message)
        except TimeoutError:
            self._count_failure("no answer in time")

    async def _send_newest(self) -> None:
        try:
            while self._newest is not None:
                message, self._newest = self._newest, None
                await self._send(message)
                await self._send_row_errors(at_least=ROW_ERRORS_CHUNK)
        finally:
            self._sending = None

    async def _send(self, message: Message) -> None:
        delivery = await self._attempt(self._broadcaster.broadcast(self._target, message))
        if delivery is not None:
            self.sent += 1
            self.is_cancelled = self.is_cancelled or delivery.cancelled

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
                self._target.user or "", state.upload_id, state.file_name, state.started_at, total, first, errors
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
            # Not retried: a gateway that refuses one chunk, such as an older one, refuses all.
            logger.warning("there will be no list of the rows left out: %s", refused)
            return False

    async def _attempt(self, attempt: Awaitable[T]) -> T | None:
        """Return the result of a call; None if it failed, which is counted."""
        try:
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
