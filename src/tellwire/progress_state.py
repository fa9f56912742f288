"""The state of an upload's progress, and its text for the user. Pure.

Progress never goes backwards, and stays below 100 until the upload is complete. Any thread may change it.
"""

import os
import threading
import time
from dataclasses import dataclass, field
from typing import Final

import msgspec

from tellwire.errors import InvalidMessage
from tellwire.fields import plain_measure
from tellwire.limits import (
    MAX_FILE_NAME_CHARACTERS,
    MAX_LEASE_SECONDS,
    MAX_WORDS_CHARACTERS,
    MIN_LEASE_SECONDS,
)
from tellwire.messages import UploadProgress, UploadProgressMessage, UploadStatus
from tellwire.model import timestamp
from tellwire.row_errors import MAX_NUMBER, RowErrorCounts
from tellwire.text import shortened, string_of

_HIGHEST_WHILE_RUNNING: Final = 99.0


def new_run() -> str:
    """Return a name for a new run."""
    return os.urandom(8).hex()


@dataclass(slots=True)
class ProgressState:
    """The counts of one run of an upload."""

    upload_id: str
    file_name: str
    total_rows: int | None = None
    total_bytes: int | None = None
    rows: int = 0
    bytes_read: int = 0
    lease_seconds: float | None = None
    message: str | None = None
    summary: str | None = None
    row_errors: RowErrorCounts = field(default_factory=RowErrorCounts)
    started_at: str = field(default_factory=timestamp)
    run: str = field(default_factory=new_run)
    part: str | None = None
    _highest: float = field(default=0.0, repr=False, compare=False)
    _began_at: float = field(default_factory=time.time, repr=False, compare=False)
    _began: float = field(default_factory=time.monotonic, repr=False, compare=False)
    _changing: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def __post_init__(self) -> None:
        if (name := string_of(self.file_name)) is not None:
            self.file_name = shortened(name, MAX_FILE_NAME_CHARACTERS)
        # An invalid id is refused here, not after an hour's work.
        self.upload_id = self.show("running").upload_id

    def update(self, rows: object, bytes_read: object, message: str | None, total_rows: object = None) -> None:
        """Update the counts. A count lower than the last one is out of date, and ignored."""
        new_total = None if total_rows is None else plain_measure("total_rows", total_rows)
        new_rows = 0 if rows is None else plain_measure("rows", rows)
        new_bytes = 0 if bytes_read is None else plain_measure("bytes_read", bytes_read)
        text = string_of(message)
        if text is None and message is not None:
            raise InvalidMessage("message", message, "a string")
        words = None if text is None else shortened(text, MAX_WORDS_CHARACTERS)
        # Two threads that update at once must not replace a newer count with an older one.
        with self._changing:
            self.rows = max(self.rows, new_rows)
            self.bytes_read = max(self.bytes_read, new_bytes)
            self.message = self.message if words is None else words
            self.total_rows = self.total_rows if new_total is None else new_total

    def count_row(self) -> None:
        """Count one more row as done."""
        with self._changing:
            self.rows += 1

    def add_row_error(self, row: object, code: object, message: object) -> bool:
        """Add a row that is left out. See `RowErrorCounts.add`."""
        with self._changing:
            return self.row_errors.add(row, code, message)

    def message_of(self, status: UploadStatus) -> UploadProgressMessage:
        """Return the state as a message. See `message_with`."""
        return self.message_with(self.show(status))

    def message_with(self, shown: UploadProgress) -> UploadProgressMessage:
        """Return a message with this view of the state. Its time is that of the start plus the seconds since: a clock
        that is set back meanwhile does not make it look older than those before it.
        """
        now = self._began_at + time.monotonic() - self._began
        return UploadProgressMessage(shown, timestamp(now))

    def retrying(self, text: str | None, within_seconds: float) -> UploadProgressMessage:
        """Return the state of an upload that is tried again, at the latest in so many seconds."""
        message = self.message_of("retrying")
        words = "It is tried again…" if text is None else shortened(text, MAX_WORDS_CHARACTERS)
        lease_seconds = min(max(within_seconds, MIN_LEASE_SECONDS), MAX_LEASE_SECONDS)
        data = msgspec.structs.replace(message.data, message=words, lease_seconds=lease_seconds)
        return msgspec.structs.replace(message, data=data)

    def show(self, status: UploadStatus) -> UploadProgress:
        """Return the state as the user should see it."""
        progress = 100.0 if status == "complete" else self._reached()
        total_rows = self.total_rows
        if total_rows is not None and (status == "complete" or self.rows > total_rows):
            total_rows = self.rows if status == "complete" else None  # more than there should be: nobody knows
        return UploadProgress(
            upload_id=self.upload_id,
            file_name=self.file_name,
            progress=int(progress) if progress.is_integer() else progress,
            message=self._text(status),
            current_row=_bounded(self.rows),
            total_rows=None if total_rows is None else _bounded(total_rows),
            status=status,
            run=self.run,
            part=self.part,
            started_at=self.started_at,
            lease_seconds=self.lease_seconds if status in ("queued", "running") else None,
            row_errors=self.row_errors.summary,
        )

    def _reached(self) -> float:
        done, total = (self.rows, self.total_rows) if self.total_rows else (self.bytes_read, self.total_bytes)
        share = min(done, total) / total if total else 0.0
        # A total may become known late, or grow.
        self._highest = max(self._highest, min(_HIGHEST_WHILE_RUNNING, round(100 * share, 1)))
        return self._highest

    def _text(self, status: UploadStatus) -> str:
        if status == "complete":
            return self.summary or (f"Complete: {_rows(self.rows)}" if self.rows else "Complete")
        if status in ("failed", "cancelled"):
            return self.summary or f"{status.capitalize()} after {_rows(self.rows)}"
        if self.message is not None:
            return self.message
        if not self.rows:
            return "Starting…"
        if self.total_rows and self.rows <= self.total_rows:
            return f"Row {_bounded(self.rows):,} of {_bounded(self.total_rows):,}"
        return f"Row {_bounded(self.rows):,}"


def _bounded(count: int) -> int:
    """Return the highest number that a message may have, for a higher one: no count ends a job."""
    return min(count, MAX_NUMBER)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{_bounded(count):,} rows"
