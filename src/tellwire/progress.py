"""The progress of an upload: a job reports it, and its user sees it on every device.

    count / update ─▶ ProgressState (pure) ─▶ ProgressSender (one message at a time, the newest) ─▶ broadcaster

Rules:
- The first and the final state are always sent. In between one is sent when it looks different, at most every
  `interval_seconds` (or, with `every_rows`, once that many rows have gone by).
- Progress never goes backwards, and 100 is sent once: by leaving the block.
- The updates of all uploads on one event loop are sent at the same times (`ticks`), and leave as one request.
- One message is sent at a time, always the newest state. A slow gateway makes updates rarer, never late, and costs the
  job at most a hundredth of its time.
- While the block runs, a state is sent at least three times in `lease_seconds`, which renews the lease. Silence means
  that the worker is gone; the server then publishes that the upload has stalled.
- A job learns that a device has cancelled the upload from the answer to its next message: after a third of a lease at
  most.
- A job that is tried again ends with `retrying`, and without an error.
- A job whose upload was begun again elsewhere goes on, unseen: the user sees the newer run, and no error of this one.
- A gateway that cannot be reached is logged once per episode and counted in `failures`. The job goes on.
- A job that is cancelled, at whatever `await`, leaves no upload that seems to run: the last state is sent all the same.
"""

import asyncio
import hashlib
import logging
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable
from time import monotonic
from types import TracebackType
from typing import Any, NoReturn, SupportsFloat, SupportsIndex, TypeVar

import msgspec

from tellwire.broadcast import Broadcaster, current_broadcaster
from tellwire.errors import NEEDS_ASYNCIO, CannotRunHere, InvalidMessage, UploadCancelled, shown
from tellwire.failure import WillRetry, failure_of, is_cancellation, retry_of
from tellwire.fields import plain_lease, plain_measure
from tellwire.limits import (
    MAX_LEASE_SECONDS,
    MAX_WORDS_CHARACTERS,
    PART_INTERVAL_SECONDS,
    PROGRESS_INTERVAL_SECONDS,
    UPLOAD_LEASE_SECONDS,
)
from tellwire.messages import Message, UploadProgress, create_error_message
from tellwire.numeric import any_number, whole_number
from tellwire.progress_sender import ProgressSender
from tellwire.progress_state import ProgressState, new_run
from tellwire.text import require_part, shortened, string_of
from tellwire.ticks import Ticks, ticks_of

logger = logging.getLogger("tellwire.progress")

T = TypeVar("T")

_OTHER_PROCESS = (
    "an upload belongs to the process that entered track_upload: call track_upload in the other process, or return the "
    "counts to this one"
)
_RENEWALS_PER_LEASE = 3
_SHORTEST_TICK_SECONDS = 0.001


class Upload:
    """An upload in progress. Made by `track_upload`; `update` and `row_error` may be called from any thread.

    It belongs to the process that entered it: a child process gets `CannotRunHere`.
    """

    # `tellwire.sync` uses the private names, too: its upload is this one, on the loop of a background thread.

    def __init__(
        self,
        sender: ProgressSender,
        state: ProgressState,
        interval_seconds: float,
        every_rows: int | None,
        will_retry: WillRetry = False,
    ) -> None:
        self._sender = sender
        self._state = state
        self._will_retry = will_retry
        self._interval_seconds = interval_seconds
        self._every_rows = every_rows
        self._next_at = 0.0
        self._next_row = every_rows or 0
        self._renew_at = float("inf")
        self._has_seen_cancel = False
        self._has_odd_row_error = False
        self._shown: UploadProgress | None = None
        self._ticks: Ticks | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process_id = os.getpid()

    @property
    def rows(self) -> int:
        """Rows done so far."""
        return self._state.rows

    @property
    def sent(self) -> int:
        """Messages that were published."""
        return self._sender.sent

    @property
    def failures(self) -> int:
        """Messages that were not."""
        return self._sender.failures

    @property
    def cancelled(self) -> bool:
        """True if a device has cancelled it. A job that has read True should stop: its final state is then
        "cancelled", not "complete".
        """
        self._has_seen_cancel = self._has_seen_cancel or self._sender.is_cancelled
        return self._has_seen_cancel

    @property
    def superseded(self) -> bool:
        """True if another run of the same upload has begun: the user sees that one, and nothing of this job."""
        return self._sender.is_superseded

    def raise_if_cancelled(self) -> None:
        """Raise `UploadCancelled` if a device has cancelled it."""
        if self.cancelled:
            raise UploadCancelled

    @property
    def summary(self) -> str | None:
        """The text of the final state. None: it is made from the number of rows."""
        return self._state.summary

    @summary.setter
    def summary(self, text: str | None) -> None:
        words = string_of(text)
        if words is None and text is not None:
            raise InvalidMessage("summary", text, "a string")
        self._state.summary = None if words is None else shortened(words, MAX_WORDS_CHARACTERS)

    def update(
        self,
        *,
        rows: SupportsIndex | None = None,
        bytes_read: SupportsIndex | None = None,
        message: str | None = None,
        total_rows: SupportsIndex | None = None,
    ) -> None:
        """Update the totals. A call takes about a microsecond; messages are sent in the background.

        `message` replaces the text that is shown. Rows or bytes lower than before are ignored. `total_rows` is for a
        job that learns late how many rows there are.

        Raises:
            InvalidMessage: a count is negative or not whole, or `message` is not a string.
            CannotRunHere: in a child process.
        """
        self._require_own_process()
        self._state.update(rows, bytes_read, message, total_rows)
        self._offer_if_due()

    def row_error(self, row: object, code: object, message: object) -> None:
        """Report a row that is left out. The state counts them by cause; the gateway has a list of them all.

        `row` is its number, as the user counts; `code` is for programs, `message` for people, and both are cut
        after 200 characters. A call takes a microsecond (four for a new message) and sends nothing.

        A report never ends the job. A number may be another library's or a text, a message any object; a row without a
        number is listed as row 0, and one without a code as `UNKNOWN`. The first such report is logged.

        Raises:
            CannotRunHere: in a child process.

        Example:
            upload.row_error(17, "NO_QUANTITY", "The quantity is missing")
        """
        self._require_own_process()
        if not self._state.add_row_error(row, code, message) and not self._has_odd_row_error:
            self._has_odd_row_error = True
            given = f"{shown(row)}, {shown(code)}"
            logger.warning(
                "row_error: got %s; allowed: a row from 0, and a code. It is listed as well as possible", given
            )

    async def count(self, rows: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
        """Yield `rows`, and count each as done when the next one is requested.

        A plain iterable never yields to the event loop; this does, whenever an update is due.

        Raises:
            UploadCancelled: a device has cancelled the upload.
            CannotRunHere: in a child process.

        Example:
            async for row in upload.count(csv.DictReader(file)):
                save(row)
        """
        self._require_own_process()
        state, sender, by_rows = self._state, self._sender, self._every_rows is not None
        if isinstance(rows, AsyncIterable):
            async for row in rows:
                yield row
                state.count_row()
                if sender.is_cancelled:
                    self.raise_if_cancelled()
                if by_rows or monotonic() >= self._next_at:
                    await self._step()
        else:
            for row in rows:
                yield row
                state.count_row()
                if sender.is_cancelled:
                    self.raise_if_cancelled()
                if by_rows or monotonic() >= self._next_at:
                    await self._step()

    async def _step(self) -> None:
        if self._offer_if_due():
            await self._sender.yield_to_sender()

    def _offer_if_due(self) -> bool:
        """Have the state sent if an update is due. From any thread."""
        is_due = self._take_due()
        if is_due:
            self._call(self._offer)
        return is_due

    def _call(self, callback: Callable[[], None]) -> None:
        """Call `callback` on the event loop of this upload: now if this is it, soon if it is another thread's."""
        if self._loop is None or self._loop is asyncio._get_running_loop():
            callback()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback)

    def _require_own_process(self) -> None:
        if os.getpid() != self._process_id:
            raise CannotRunHere(_OTHER_PROCESS)

    def __reduce__(self) -> NoReturn:
        raise CannotRunHere(_OTHER_PROCESS)

    def _take_due(self, early_seconds: float = 0.0) -> bool:
        """Return True if an update is due, and begin the next interval. From any thread."""
        if self._every_rows is None:
            now = monotonic()
            if now + early_seconds < self._next_at:
                return False
            self._next_at = self._next_tick_after(now)
            return True
        rows = self._state.rows
        if rows < self._next_row:
            return False
        self._next_row = rows - rows % self._every_rows + self._every_rows
        return True

    def _next_tick_after(self, now: float) -> float:
        ticks, seconds = self._ticks, self._interval_seconds
        return now + seconds if ticks is None else ticks.next_after(now, seconds)

    def _offer(self, until: float = 0.0) -> None:
        """Send the state if it differs from the last one, or if the lease must be renewed by now, or before `until`."""
        shown = self._state.show("running")
        now = monotonic()
        if shown != self._shown or now >= self._renew_at or until > self._renew_at:
            self._shown = shown
            self._renew_at = now + self._renewal_seconds
            self._sender.offer(self._state.message_with(shown))

    @property
    def _renewal_seconds(self) -> float:
        lease_seconds = self._state.lease_seconds
        return float("inf") if lease_seconds is None else lease_seconds / _RENEWALS_PER_LEASE

    @property
    def _tick_seconds(self) -> float:
        interval_seconds = self._interval_seconds if self._every_rows is None else float("inf")
        return min(interval_seconds, self._renewal_seconds)

    def _tick(self) -> None:
        # The job may pause after an update that was too early to be sent, or for longer than its lease.
        next_tick_at = monotonic() + self._tick_seconds
        # A timer may be early by a moment.
        by_time = self._every_rows is None and self._take_due(self._tick_seconds / 2)
        if by_time or next_tick_at > self._renew_at:
            self._offer(next_tick_at)

    async def _begin(self) -> None:
        """Send the first state."""
        self._loop = asyncio._get_running_loop()
        if self._loop is None:
            raise CannotRunHere(NEEDS_ASYNCIO)
        now = monotonic()
        self._ticks = ticks_of(self._loop)
        self._ticks.join(now)
        self._next_at = self._next_tick_after(now)
        self._offer()
        if self._tick_seconds != float("inf"):
            self._ticks.start(self._tick_seconds, self._tick)
        try:
            await self._sender.yield_to_sender()
        except BaseException as error:
            await self._abandoned(error)
            raise

    def _abandoned(self, error: BaseException) -> Coroutine[Any, Any, None]:
        """Return the end of an upload whose block is not entered: nobody else will end it. See `_end`."""
        is_own = os.getpid() == self._process_id
        return self._drop_or_send_last(self._last_messages(error) if is_own else None)

    async def _drop_or_send_last(self, messages: list[Message] | None) -> None:
        if self._sender.drop_offered():
            self._stop_ticking()
        else:
            await self._send_last(messages)

    def _end(self, error: BaseException | None) -> Coroutine[Any, Any, None]:
        """Return the sending of the final state, and of an error if it failed.

        They are made now, on the thread of the job: there `will_retry` finds which attempt of its task this is.
        """
        # A child may leave the block it was forked in; the parent's job goes on.
        is_own = os.getpid() == self._process_id
        return self._send_last(self._last_messages(error) if is_own else None)

    async def _send_last(self, messages: list[Message] | None) -> None:
        if messages is not None:
            self._stop_ticking()
            await self._sender.finish(messages)

    def _last_messages(self, error: BaseException | None) -> list[Message]:
        if self._has_seen_cancel or (error is not None and is_cancellation(error)):
            return [self._state.message_of("cancelled")]
        if error is None:
            return [self._state.message_of("complete")]
        if (retry := retry_of(error, self._will_retry)) is not None:
            return [self._state.retrying(*retry)]
        details = {"uploadId": self._state.upload_id, "fileName": self._state.file_name}
        code, text = failure_of(error, self._state.file_name)
        failure = create_error_message(code, text, details)
        if self._state.part is not None or self._loop is None:
            # All parts may fail for the same reason, and several may tell the end of another process: a user should
            # read it once.
            failure = msgspec.structs.replace(failure, id=_error_id(self._state))
        return [self._state.message_of("failed"), failure]

    def _stop_ticking(self) -> None:
        ticks, self._ticks = self._ticks, None
        if ticks is not None and self._loop is not None:
            ticks.leave()
            if not self._loop.is_closed():
                ticks.stop(self._tick_seconds, self._tick)


def _error_id(state: ProgressState) -> str:
    run = hashlib.sha256(f"{state.upload_id}\n{state.run}".encode()).hexdigest()
    return f"upload-failed:{run}"


class TrackUpload:
    """The arguments of the two `track_upload`s, this module's and `tellwire.sync`'s, checked."""

    def __init__(
        self,
        user_id: str,
        upload_id: str,
        file_name: str,
        total_rows: SupportsIndex | None = None,
        *,
        total_bytes: SupportsIndex | None = None,
        interval_seconds: SupportsFloat = PROGRESS_INTERVAL_SECONDS,
        every_rows: SupportsIndex | None = None,
        lease_seconds: SupportsFloat | None = UPLOAD_LEASE_SECONDS,
        run: str | None = None,
        part: str | None = None,
        will_retry: WillRetry = False,
        broadcaster: Broadcaster | None = None,
    ) -> None:
        seconds = any_number(interval_seconds)
        if seconds is None or not seconds > 0:
            raise InvalidMessage("interval_seconds", interval_seconds, "a number above 0")
        seconds = max(_SHORTEST_TICK_SECONDS, min(seconds, MAX_LEASE_SECONDS))
        if part is not None:
            _, of = require_part("part", part)
            if run is None:
                raise InvalidMessage("run", run, "the name of the run, which all its parts share")
            seconds = max(seconds, of * PART_INTERVAL_SECONDS)
        rows_between = None if every_rows is None else whole_number(every_rows) or 0
        if rows_between is not None and rows_between < 1:
            raise InvalidMessage("every_rows", every_rows, "a whole number, 1 or more")
        chosen = broadcaster or current_broadcaster()

        def new_upload() -> Upload:
            state = ProgressState(
                upload_id,
                file_name,
                None if total_rows is None else plain_measure("total_rows", total_rows),
                None if total_bytes is None else plain_measure("total_bytes", total_bytes),
                lease_seconds=None if lease_seconds is None else plain_lease("lease_seconds", lease_seconds),
                run=new_run() if run is None else run,
                part=part,
            )
            sender = ProgressSender(chosen, user_id, state)
            return Upload(sender, state, seconds, rows_between, will_retry)

        self._new_upload = new_upload
        self._upload = new_upload()  # wrong arguments are refused here, not when the block is entered
        self._is_open = False

    def __reduce__(self) -> NoReturn:
        raise CannotRunHere(_OTHER_PROCESS)

    @property
    def file_name(self) -> str:
        """The name for people, as it is shown."""
        return self._upload._state.file_name

    def _end_of_another(self, error: BaseException, summary: str | None = None) -> Coroutine[Any, Any, None]:
        """Return the end of a run that another process had, and cannot tell any more."""
        self._upload._state.summary = summary
        return self._upload._end(error)

    def _open(self) -> Upload:
        """Return the upload of a run that begins now: each entering of the block is one."""
        if self._is_open:
            raise CannotRunHere("this track_upload is entered already: call track_upload once for each upload")
        self._is_open = True
        self._upload = self._new_upload()
        return self._upload


class track_upload(TrackUpload):  # noqa: N801 - used like a function
    """Show a user the progress of an upload, on every device, while the block runs.

    Args:
        user_id: the user.
        upload_id: the id of this upload, for programs.
        file_name: its name, for people.
        total_rows: the number of rows there will be; None if it is not known.
        total_bytes: the size of the file, for a job that knows bytes instead of rows.
        interval_seconds: the shortest time between two updates.
        lease_seconds: the silence after which the server declares the upload stalled, from 1 to 86,400. None: it does
            not stall, and fails after a day of silence.
        run: the name of this run, which all its workers share. None: a new one, which supersedes the run before.
        part: the part of this worker, such as "3/8", if several share the upload. It needs `run`; `total_rows` is that
            of the part. The upload is complete when all parts are, and fails with any of them.
        will_retry: whether an exception means that the job is tried again; or the seconds until then, or a function of
            the exception. The user sees that it is tried again, and gets no `error`. Or raise `UploadWillRetry`.
        every_rows: send an update after this many rows, whatever the time (the guide's "every 100 rows").
        broadcaster: the broadcaster to send with; None means the environment's.

    Leaving the block sends 100. When a device cancels the upload, `upload.cancelled` is true and `upload.count` raises
    `UploadCancelled`, which sends a cancelled state and is raised again. Any other exception sends a failed state and
    an `error` message, and is raised again; raise `UploadFailed` to choose the text. A gateway that cannot be reached
    never stops the job.

    It may be entered again after it was left: that is a new run. Entering it while it is open is `CannotRunHere`.

    Raises:
        InvalidMessage: an id or the file name is empty, or a count is negative.
        ConfigError: no `broadcaster`, and the environment names no gateway.

    Example:
        async with track_upload("user-1", "moc-1", "parts.csv", total_rows=10_000) as upload:
            async for row in upload.count(rows):
                save(row)
    """

    async def __aenter__(self) -> Upload:
        upload = self._open()
        try:
            await upload._begin()
        except BaseException:
            self._is_open = False
            raise
        return upload

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        await self._upload._end(error)
