"""The progress of an upload: a job reports it, and its user sees it on every device.

    count / update ─▶ ProgressState (pure) ─▶ ProgressSender (one message at a time, the newest) ─▶ broadcaster

Rules:
- The first and the final state are always sent. In between one is sent when it looks different, at most every
  `interval_seconds` (or, with `every_rows`, once that many rows have gone by).
- Progress never goes backwards, and 100 is sent once: by leaving the block.
- One message is sent at a time, always the newest state. A slow gateway makes updates rarer, never late, and costs the
  job at most a hundredth of its time.
- While the block runs, a state is sent at least three times in `lease_seconds`, which renews the lease. Silence means
  that the worker is gone; the server then publishes that the upload has stalled.
- A job learns that a device has cancelled the upload from the answer to its next message: after a third of a lease at
  most.
- A gateway that cannot be reached is logged once per episode and counted in `failures`. The job goes on.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from time import monotonic
from types import TracebackType
from typing import TypeVar

from tellwire.broadcast import Broadcaster, current_broadcaster
from tellwire.errors import InvalidMessage, UploadCancelled, UploadFailed
from tellwire.limits import PROGRESS_INTERVAL_SECONDS, UPLOAD_LEASE_SECONDS
from tellwire.messages import UploadProgress, UploadProgressMessage, create_error_message
from tellwire.progress_sender import ProgressSender
from tellwire.progress_state import ProgressState

T = TypeVar("T")

_RENEWALS_PER_LEASE = 3
_LONGEST_REASON = 4096


class Upload:
    """An upload in progress. Made by `track_upload`; use it from the event loop it was entered on."""

    # `tellwire.sync` uses the private names, too: its upload is this one, on the loop of a background thread.

    def __init__(
        self, sender: ProgressSender, state: ProgressState, interval_seconds: float, every_rows: int | None
    ) -> None:
        self._sender = sender
        self._state = state
        self._interval_seconds = interval_seconds
        self._every_rows = every_rows
        self._next_at = 0.0
        self._next_row = every_rows or 0
        self._renew_at = float("inf")
        self._has_seen_cancel = False
        self._shown: UploadProgress | None = None
        self._ticker: asyncio.Task[None] | None = None

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
        if text is not None and not isinstance(text, str):
            raise InvalidMessage("summary", text, "a string")
        self._state.summary = text

    def update(self, *, rows: int | None = None, bytes_read: int | None = None, message: str | None = None) -> None:
        """Update the totals. A call takes about a microsecond; messages are sent in the background.

        `message` replaces the text that is shown. Rows or bytes lower than before are ignored.

        Raises:
            InvalidMessage: a count is negative or not whole, or `message` is not a string.
        """
        self._state.update(rows, bytes_read, message)
        if self._take_due():
            self._offer()

    def row_error(self, row: int, code: str, message: str) -> None:
        """Report a row that is left out. The state counts them by cause; the gateway has a list of them all.

        `row` is its number, as the user counts; `code` is for programs, `message` for people, and both are cut
        after 200 characters. A call takes a microsecond (four for a new message) and sends nothing.

        Raises:
            InvalidMessage: `row` is no whole number from 0, `code` is empty, or `message` is no string.

        Example:
            upload.row_error(17, "NO_QUANTITY", "The quantity is missing")
        """
        self._state.row_errors.add(row, code, message)

    async def count(self, rows: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
        """Yield `rows`, and count each as done when the next one is requested.

        A plain iterable never yields to the event loop; this does, whenever an update is due.

        Raises:
            UploadCancelled: a device has cancelled the upload.

        Example:
            async for row in upload.count(csv.DictReader(file)):
                save(row)
        """
        state, sender, by_rows = self._state, self._sender, self._every_rows is not None
        if isinstance(rows, AsyncIterable):
            async for row in rows:
                yield row
                state.rows += 1
                if sender.is_cancelled:
                    self.raise_if_cancelled()
                if by_rows or monotonic() >= self._next_at:
                    await self._step()
        else:
            for row in rows:
                yield row
                state.rows += 1
                if sender.is_cancelled:
                    self.raise_if_cancelled()
                if by_rows or monotonic() >= self._next_at:
                    await self._step()

    async def _step(self) -> None:
        if self._take_due():
            self._offer()
            await self._sender.yield_to_sender()

    def _take_due(self) -> bool:
        """Return True if an update is due, and begin the next interval. From any thread."""
        if self._every_rows is None:
            now = monotonic()
            if now < self._next_at:
                return False
            self._next_at = now + self._interval_seconds
            return True
        rows = self._state.rows
        if rows < self._next_row:
            return False
        self._next_row = rows - rows % self._every_rows + self._every_rows
        return True

    def _offer(self) -> None:
        """Send the state if it differs from the last one, or if the lease must be renewed."""
        shown = self._state.show("running")
        if shown != self._shown or monotonic() >= self._renew_at:
            self._shown = shown
            self._renew_at = monotonic() + self._renewal_seconds
            self._sender.offer(UploadProgressMessage(shown))

    @property
    def _renewal_seconds(self) -> float:
        lease_seconds = self._state.lease_seconds
        return float("inf") if lease_seconds is None else lease_seconds / _RENEWALS_PER_LEASE

    async def _tick(self, seconds: float) -> None:
        # The job may pause after an update that was too early to be sent, or for longer than its lease.
        while True:
            await asyncio.sleep(seconds)
            by_time = self._every_rows is None and self._take_due()
            if by_time or monotonic() >= self._renew_at:
                self._offer()

    async def _begin(self) -> None:
        """Send the first state."""
        self._next_at = monotonic() + self._interval_seconds
        self._offer()
        interval_seconds = self._interval_seconds if self._every_rows is None else float("inf")
        tick_seconds = min(interval_seconds, self._renewal_seconds)
        if tick_seconds != float("inf"):
            self._ticker = asyncio.create_task(self._tick(tick_seconds), name="tellwire-progress-tick")
        await self._sender.yield_to_sender()

    async def _end(self, error: BaseException | None) -> None:
        """Send the final state, and an error if it failed."""
        if self._ticker is not None:
            self._ticker.cancel()
        if isinstance(error, UploadCancelled) or self._has_seen_cancel:
            await self._sender.finish([UploadProgressMessage(self._state.show("cancelled"))])
            return
        if error is None:
            await self._sender.finish([UploadProgressMessage(self._state.show("complete"))])
            return
        details = {"uploadId": self._state.upload_id, "fileName": self._state.file_name}
        last = UploadProgressMessage(self._state.show("failed"))
        await self._sender.finish([last, create_error_message(*_failure(error, self._state.file_name), details)])


def _failure(error: BaseException, file_name: str) -> tuple[str, str]:
    match error:
        case UploadFailed(upload_code=str(code), message=str(message)) if code.strip():
            return code, message[:_LONGEST_REASON]
        case asyncio.CancelledError() | KeyboardInterrupt() | SystemExit():
            return "UPLOAD_INTERRUPTED", f"{file_name} was interrupted before it was done"
        case _:
            # The exception's own text may hold paths, queries or secrets.
            return "UPLOAD_FAILED", f"{file_name} could not be processed"


class TrackUpload:
    """The arguments of the two `track_upload`s, this module's and `tellwire.sync`'s, checked."""

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
        state = ProgressState(upload_id, file_name, total_rows, total_bytes, lease_seconds=lease_seconds)
        sender = ProgressSender(broadcaster or current_broadcaster(), user_id, state)
        self._upload = Upload(sender, state, interval_seconds, every_rows)


class track_upload(TrackUpload):  # noqa: N801 - used like a function
    """Show a user the progress of an upload, on every device, while the block runs.

    Args:
        user_id: the user.
        upload_id: the id of this upload, for programs.
        file_name: its name, for people.
        total_rows: the number of rows there will be; None if it is not known.
        total_bytes: the size of the file, for a job that knows bytes instead of rows.
        interval_seconds: the shortest time between two updates.
        lease_seconds: the silence after which the server declares the upload stalled, from 1 to 86,400; None: never.
        every_rows: send an update after this many rows, whatever the time (the guide's "every 100 rows").
        broadcaster: the broadcaster to send with; None means the environment's.

    Leaving the block sends 100. When a device cancels the upload, `upload.cancelled` is true and `upload.count` raises
    `UploadCancelled`, which sends a cancelled state and is raised again. Any other exception sends a failed state and
    an `error` message, and is raised again; raise `UploadFailed` to choose the text. A gateway that cannot be reached
    never stops the job.

    Raises:
        InvalidMessage: an id or the file name is empty, or a count is negative.
        ConfigError: no `broadcaster`, and the environment names no gateway.

    Example:
        async with track_upload("user-1", "moc-1", "parts.csv", total_rows=10_000) as upload:
            async for row in upload.count(rows):
                save(row)
    """

    async def __aenter__(self) -> Upload:
        await self._upload._begin()
        return self._upload

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._upload._end(error)
