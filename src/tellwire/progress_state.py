"""The state of an upload's progress, and its text for the user. Pure.

Progress never goes backwards, and stays below 100 until the upload is complete.
"""

from dataclasses import dataclass, field
from typing import Final

from tellwire.errors import InvalidMessage
from tellwire.messages import UploadProgress, UploadStatus, require_count, require_lease
from tellwire.model import timestamp
from tellwire.row_errors import RowErrorCounts

_HIGHEST_WHILE_RUNNING: Final = 99.0


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

    def __post_init__(self) -> None:
        for name in ("total_rows", "total_bytes"):
            if getattr(self, name) is not None:
                require_count(name, getattr(self, name))
        if self.lease_seconds is not None:
            require_lease("lease_seconds", self.lease_seconds)
        self.show("running")  # an invalid id is refused here, not after an hour's work

    def update(self, rows: int | None, bytes_read: int | None, message: str | None) -> None:
        """Update the counts. A count lower than the last one is out of date, and ignored."""
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
        """Return the state as the user should see it."""
        progress = 100.0 if status == "complete" else self._reached()
        return UploadProgress(
            upload_id=self.upload_id,
            file_name=self.file_name,
            progress=int(progress) if progress.is_integer() else progress,
            message=self._text(status),
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

    def _text(self, status: UploadStatus) -> str:
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
