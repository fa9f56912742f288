"""The progress of an upload: a job reports where it is, its user sees it on every device.

    count / update ─▶ Tally (pure: what to show) ─▶ Reporter (one message at a time, the newest) ─▶ broadcaster

Rules:
- The first and the last state are always sent. In between one is sent when what is shown has changed, at most every
  `interval_seconds` (or, with `every_rows`, once that many rows have gone by).
- Progress never goes backwards, and 100 is said once: by leaving the block.
- Only one message is on its way at a time, and the next one is the newest. A slow gateway makes updates rarer, never
  late, and never the job slower than a hundredth of its time.
- While the block runs, something is said at least three times in `lease_seconds`, so that silence means that the worker
  is gone: then the server says so, and nobody watches a bar that never moves again.
- When a device has cancelled the upload, the answer to the next message says so: after a third of a lease at most.
- A gateway that cannot be reached is logged once per episode and counted in `failures`. The job goes on.
"""

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Iterable
from dataclasses import dataclass, field
from time import monotonic
from types import TracebackType
from typing import TypeVar

from tellwire.broadcast import Broadcaster, current_broadcaster
from tellwire.errors import GatewayRefused, InvalidMessage, TellwireError, UploadCancelled, UploadFailed
from tellwire.limits import (
    PROGRESS_INTERVAL_SECONDS,
    ROW_ERRORS_CHUNK,
    ROW_ERRORS_SECONDS,
    UPLOAD_LEASE_SECONDS,
)
from tellwire.messages import (
    Message,
    UploadProgress,
    UploadProgressMessage,
    UploadStatus,
    create_error_message,
    require_count,
    require_lease,
)
from tellwire.model import Target, timestamp
from tellwire.row_errors import RowErrorChunk, RowErrorTally

logger = logging.getLogger("tellwire.progress")

T = TypeVar("T")

_HIGHEST_WHILE_RUNNING = 99.0
_YIELD_SECONDS = 0.0025
_LAST_WORDS_SECONDS = 15.0
_RENEWALS_PER_LEASE = 3
_LONGEST_REASON = 4096


@dataclass(slots=True)
class Tally:
    """Where an upload is. Pure: it counts, and says what to show."""

    upload_id: str
    file_name: str
    total_rows: int | None = None
    total_bytes: int | None = None
    rows: int = 0
    bytes_read: int = 0
    lease_seconds: float | None = None
    message: str | None = None
    summary: str | None = None
    row_errors: RowErrorTally = field(default_factory=RowErrorTally)
    started_at: str = field(default_factory=timestamp)

    def __post_init__(self) -> None:
        for name in ("total_rows", "total_bytes"):
            if getattr(self, name) is not None:
                require_count(name, getattr(self, name))
        if self.lease_seconds is not None:
            require_lease("lease_seconds", self.lease_seconds)
        self.show("running")  # An empty id should be refused here, not after an hour's work.

    def update(self, rows: int | None, bytes_read: int | None, message: str | None) -> None:
        """Take new counts. One that is lower than the last is out of date, and ignored."""
        if rows is not None:
            require_count("rows", rows)
            self.rows = max(self.rows, rows)
        if bytes_read is not None:
            require_count("bytes_read", bytes_read)
            self.bytes_read = max(self.bytes_read, bytes_read)
        if message is not None:
            if not isinstance(message, str):
                raise InvalidMessage("message", message, "a string")
            self.message = message

    def show(self, status: UploadStatus) -> UploadProgress:
        """Return what the user should see."""
        progress = 100.0 if status == "complete" else self._reached()
        return UploadProgress(
            upload_id=self.upload_id,
            file_name=self.file_name,
            progress=int(progress) if progress.is_integer() else progress,
            message=self._words(status),
            current_row=self.rows,
            total_rows=self.rows if status == "complete" and self.total_rows is not None else self.total_rows,
            status=status,
            started_at=self.started_at,
            lease_seconds=self.lease_seconds if status == "running" else None,
            row_errors=self.row_errors.summary,
        )

    def _reached(self) -> float:
        if self.total_rows:
            share = self.rows / self.total_rows
        elif self.total_bytes:
            share = self.bytes_read / self.total_bytes
        else:
            share = 0.0
        return min(_HIGHEST_WHILE_RUNNING, round(100 * share, 1))

    def _words(self, status: UploadStatus) -> str:
        if status == "complete":
            return self.summary or (f"Complete: {_rows(self.rows)}" if self.rows else "Complete")
        if status in ("failed", "cancelled"):
            return self.summary or f"{status.capitalize()} after {_rows(self.rows)}"
        if self.message is not None:
            return self.message
        if not self.rows:
            return "Starting…"
        return f"Row {self.rows:,} of {self.total_rows:,}" if self.total_rows else f"Row {self.rows:,}"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


class Reporter:
    """Sends one user what is newest, one message at a time, in order. Lives on one event loop; never raises."""

    def __init__(self, broadcaster: Broadcaster, user_id: str, tally: Tally) -> None:
        self._broadcaster = broadcaster
        self._target = Target(user=user_id)
        self._tally = tally
        self._newest: Message | None = None
        self._sending: asyncio.Task[None] | None = None
        self._in_trouble = False
        self._finished = False
        self.is_cancelled = False
        self.sent = 0
        self.failures = 0

    def offer(self, message: Message) -> None:
        """Send `message` as soon as the one on its way is through, unless a newer one is offered by then."""
        if self._finished:
            return  # The last word has been said; a straggler's update is older.
        self._newest = message
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_newest(), name="tellwire-progress")

    async def breathe(self) -> None:
        """Let a message that was offered leave, without waiting for a gateway that is slow."""
        if self._sending is None:
            await asyncio.sleep(0)
        else:
            await asyncio.wait({self._sending}, timeout=_YIELD_SECONDS)

    async def finish(self, messages: Iterable[Message]) -> None:
        """Send the last messages, all of them, after the one on its way; what waits is out of date."""
        self._newest, self._finished = None, True
        try:
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                if self._sending is not None:
                    await asyncio.wait({self._sending}, timeout=_LAST_WORDS_SECONDS / 3)
                    if self._sending is not None:
                        self._sending.cancel()
                # Who reads the last state may want the list at once.
                await self._hand_on_last_row_errors()
                for message in messages:
                    await self._send(message)
        except TimeoutError:
            self._count_failure("no answer in time")

    async def _send_newest(self) -> None:
        try:
            while self._newest is not None:
                message, self._newest = self._newest, None
                await self._send(message)
                await self._hand_on_row_errors(at_least=ROW_ERRORS_CHUNK)
        finally:
            self._sending = None

    async def _send(self, message: Message) -> None:
        delivery = await self._tried(self._broadcaster.broadcast(self._target, message))
        if delivery is not None:
            self.sent += 1
            self.is_cancelled = self.is_cancelled or delivery.cancelled

    async def _hand_on_last_row_errors(self) -> None:
        try:
            async with asyncio.timeout(ROW_ERRORS_SECONDS):
                await self._hand_on_row_errors(at_least=1)
        except TimeoutError:
            self._count_failure("no answer in time")

    async def _hand_on_row_errors(self, at_least: int) -> None:
        tally, row_errors = self._tally, self._tally.row_errors
        while row_errors.untold >= at_least:
            total, first, errors = row_errors.next_part(ROW_ERRORS_CHUNK)
            chunk = RowErrorChunk(
                self._target.user or "", tally.upload_id, tally.file_name, tally.started_at, total, first, errors
            )
            is_taken = await self._tried(self._offered(chunk))
            if is_taken:
                row_errors.handed_on(total, len(errors))
            elif is_taken is False:
                row_errors.keep_no_list()
            if not is_taken or self._newest is not None:
                return

    async def _offered(self, chunk: RowErrorChunk) -> bool:
        try:
            return await self._broadcaster.add_row_errors(chunk)
        except GatewayRefused as refused:
            # What is refused once, as by a gateway that is older, is refused again.
            logger.warning("there will be no list of the rows left out: %s", refused)
            return False

    async def _tried(self, attempt: Awaitable[T]) -> T | None:
        """Return what came of it; None if it failed, which is counted."""
        try:
            result = await attempt
        except TellwireError as error:
            self._count_failure(str(error))
        except Exception as error:  # noqa: BLE001 - whatever a carrier does, the job must go on
            self._count_failure(repr(error))
        else:
            self._in_trouble = False
            return result
        return None

    def _count_failure(self, reason: str) -> None:
        self.failures += 1
        if not self._in_trouble:
            logger.warning("progress does not get through, the job goes on: %s", reason)
        self._in_trouble = True


class Upload:
    """An upload in progress. Made by `track_upload`; use it from the event loop it was entered on.

    `tally` is where it is; `begin`, `end`, `take_due` and `offer` are for the two `track_upload`s, this module's and
    `tellwire.sync`'s.
    """

    def __init__(self, reporter: Reporter, tally: Tally, interval_seconds: float, every_rows: int | None) -> None:
        self._reporter = reporter
        self.tally = tally
        self._interval_seconds = interval_seconds
        self._every_rows = every_rows
        self._next_at = 0.0
        self._next_row = every_rows or 0
        self._renew_at = float("inf")
        self._knows_of_cancel = False
        self._shown: UploadProgress | None = None
        self._ticker: asyncio.Task[None] | None = None

    @property
    def rows(self) -> int:
        """Rows done so far."""
        return self.tally.rows

    @property
    def sent(self) -> int:
        """Messages that got through to the gateway."""
        return self._reporter.sent

    @property
    def failures(self) -> int:
        """Messages that did not."""
        return self._reporter.failures

    @property
    def cancelled(self) -> bool:
        """Whether a device has cancelled it. Who has asked and been told so is taken to stop: the last state says
        "cancelled", not "complete".
        """
        self._knows_of_cancel = self._knows_of_cancel or self._reporter.is_cancelled
        return self._knows_of_cancel

    def raise_if_cancelled(self) -> None:
        """Raise `UploadCancelled` if a device has cancelled it."""
        if self.cancelled:
            raise UploadCancelled

    @property
    def summary(self) -> str | None:
        """The last state's words. None: they are made from the number of rows."""
        return self.tally.summary

    @summary.setter
    def summary(self, text: str | None) -> None:
        if text is not None and not isinstance(text, str):
            raise InvalidMessage("summary", text, "a string")
        self.tally.summary = text

    def update(self, *, rows: int | None = None, bytes_read: int | None = None, message: str | None = None) -> None:
        """Say where the job is, in totals. Costs next to nothing; what is due is sent in the background.

        `message` replaces the words shown from now on. Rows or bytes lower than before are ignored.

        Raises:
            InvalidMessage: a count is negative or not whole, or `message` is not a string.
        """
        self.tally.update(rows, bytes_read, message)
        if self.take_due():
            self.offer()

    def row_error(self, row: int, code: str, message: str) -> None:
        """Say that a row is left out, and why. What is shown counts them by cause; the gateway has a list of them all.

        `row` is its number, by whatever the user counts; `code` is for programs, `message` for people, and both are cut
        after 200 characters. Costs a microsecond, with a message that is new four, and sends nothing by itself.

        Raises:
            InvalidMessage: `row` is no whole number from 0, `code` is empty, or `message` is no string.

        Example:
            upload.row_error(17, "NO_QUANTITY", "The quantity is missing")
        """
        self.tally.row_errors.add(row, code, message)

    async def count(self, rows: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
        """Pass on `rows`, counting each as done when the next one is asked for.

        A plain iterable never gives way to the event loop; this does, whenever an update is due.

        Raises:
            UploadCancelled: a device has cancelled the upload.

        Example:
            async for row in upload.count(csv.DictReader(file)):
                save(row)
        """
        tally, by_rows = self.tally, self._every_rows is not None
        if isinstance(rows, AsyncIterable):
            async for row in rows:
                yield row
                tally.rows += 1
                if by_rows or monotonic() >= self._next_at:
                    await self._step()
        else:
            for row in rows:
                yield row
                tally.rows += 1
                if by_rows or monotonic() >= self._next_at:
                    await self._step()

    async def _step(self) -> None:
        if self.take_due():
            self.offer()
            await self._reporter.breathe()
            self.raise_if_cancelled()

    def take_due(self) -> bool:
        """Tell whether an update is due and, if it is, wait for the next from here. From any thread."""
        if self._every_rows is None:
            now = monotonic()
            if now < self._next_at:
                return False
            self._next_at = now + self._interval_seconds
            return True
        rows = self.tally.rows
        if rows < self._next_row:
            return False
        self._next_row = rows - rows % self._every_rows + self._every_rows
        return True

    def offer(self) -> None:
        """Send the present state if it looks different from the last, or the lease has to be renewed."""
        shown = self.tally.show("running")
        if shown != self._shown or monotonic() >= self._renew_at:
            self._shown = shown
            self._renew_at = monotonic() + self._renewal_seconds
            self._reporter.offer(UploadProgressMessage(shown))

    @property
    def _renewal_seconds(self) -> float:
        lease_seconds = self.tally.lease_seconds
        return float("inf") if lease_seconds is None else lease_seconds / _RENEWALS_PER_LEASE

    async def _tick(self, seconds: float) -> None:
        # The job may pause just after an update that was too early to send, or for longer than its lease.
        while True:
            await asyncio.sleep(seconds)
            by_time = self._every_rows is None and self.take_due()
            if by_time or monotonic() >= self._renew_at:
                self.offer()

    async def begin(self) -> None:
        """Send the first state."""
        self._next_at = monotonic() + self._interval_seconds
        self.offer()
        interval_seconds = self._interval_seconds if self._every_rows is None else float("inf")
        tick_seconds = min(interval_seconds, self._renewal_seconds)
        if tick_seconds != float("inf"):
            self._ticker = asyncio.create_task(self._tick(tick_seconds), name="tellwire-progress-tick")
        await self._reporter.breathe()

    async def end(self, error: BaseException | None) -> None:
        """Send the last state, and why it failed if it did."""
        if self._ticker is not None:
            self._ticker.cancel()
        if isinstance(error, UploadCancelled) or self._knows_of_cancel:
            await self._reporter.finish([UploadProgressMessage(self.tally.show("cancelled"))])
            return
        if error is None:
            await self._reporter.finish([UploadProgressMessage(self.tally.show("complete"))])
            return
        details = {"uploadId": self.tally.upload_id, "fileName": self.tally.file_name}
        last = UploadProgressMessage(self.tally.show("failed"))
        await self._reporter.finish([last, create_error_message(*_failure(error, self.tally.file_name), details)])


def _failure(error: BaseException, file_name: str) -> tuple[str, str]:
    match error:
        case UploadFailed(upload_code=str(code), message=str(message)) if code.strip():
            return code, message[:_LONGEST_REASON]
        case asyncio.CancelledError() | KeyboardInterrupt() | SystemExit():
            return "UPLOAD_INTERRUPTED", f"{file_name} was interrupted before it was done"
        case _:
            # The exception's own text may hold paths, queries or secrets.
            return "UPLOAD_FAILED", f"{file_name} could not be processed"


class track_upload:  # noqa: N801 - used like a function
    """Show a user the progress of an upload, on every device, while the block runs.

    Args:
        user_id: whose devices are told.
        upload_id: what the client knows this upload by.
        file_name: what the user knows it by.
        total_rows: how many rows there will be; None if nobody knows.
        total_bytes: how big the file is, for a job that knows bytes instead of rows.
        interval_seconds: the shortest time between two updates.
        lease_seconds: after how long a silence the server takes the worker to be gone, from 1 to 86,400; None: never.
        every_rows: send an update after this many rows, whatever the time (the guide's "every 100 rows").
        broadcaster: who sends; None means the environment's.

    Leaving the block sends 100. When a device cancels the upload, `upload.cancelled` is true and `upload.count` raises
    `UploadCancelled`, which sends a cancelled state and goes on its way. Any other exception sends a failed state and
    an `error` message, and goes on its way; raise `UploadFailed` to choose the words. A gateway out of reach never
    disturbs the job.

    Raises:
        InvalidMessage: an id or the file name is empty, or a count is negative.
        ConfigError: no `broadcaster`, and the environment names no gateway.

    Example:
        async with track_upload("user-1", "moc-1", "parts.csv", total_rows=10_000) as upload:
            async for row in upload.count(rows):
                save(row)
    """

    def __init__(
        self,
        user_id: str,
        upload_id: str,
        file_name: str,
        total_rows: int | None = None,
        *,
        total_bytes: int | None = None,
        interval_seconds: float = PROGRESS_INTERVAL_SECONDS,
        every_rows: int | None = None,
        lease_seconds: float | None = UPLOAD_LEASE_SECONDS,
        broadcaster: Broadcaster | None = None,
    ) -> None:
        if not interval_seconds > 0:
            raise InvalidMessage("interval_seconds", interval_seconds, "a number above 0")
        if every_rows is not None and (not isinstance(every_rows, int) or every_rows < 1):
            raise InvalidMessage("every_rows", every_rows, "a whole number, 1 or more")
        tally = Tally(upload_id, file_name, total_rows, total_bytes, lease_seconds=lease_seconds)
        reporter = Reporter(broadcaster or current_broadcaster(), user_id, tally)
        self.upload = Upload(reporter, tally, interval_seconds, every_rows)

    async def __aenter__(self) -> Upload:
        await self.upload.begin()
        return self.upload

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.upload.end(error)
