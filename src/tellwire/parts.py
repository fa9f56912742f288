"""The parts of an upload that several workers share, and the whole that they make. Pure.

    a part's state ─▶ Part ─▶ in place of the same part's last one ─▶ whole: one ordinary upload, for the devices

Rules:
- Each part counts the same: the progress of the whole is the mean of all, those that have not begun included.
- A part that has failed makes the whole fail; all that are complete make it complete, once.
- Each part has its own lease. One that has not begun an hour after the last word of the others is lost, too.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct, structs

from tellwire.limits import MAX_LEASE_SECONDS, QUEUED_LEASE_SECONDS
from tellwire.messages import TERMINAL_STATUSES, UploadProgress, UploadStatus
from tellwire.row_errors import MAX_NUMBER, RowErrors, summed
from tellwire.text import require_part

_HIGHEST_WHILE_RUNNING: Final = 99.0


class Part(Struct, frozen=True, gc=False, array_like=True):
    """The last state of one part. `published_at` is by its worker's clock, `stored_at` by the server's."""

    number: int
    of: int
    status: UploadStatus
    progress: float
    published_at: float
    stored_at: float
    started_at: str | None = None
    lease_seconds: float | None = None
    rows: int | None = None
    total_rows: int | None = None
    row_errors: RowErrors | None = None

    @classmethod
    def of_upload(cls, data: UploadProgress, status: UploadStatus, published_at: float) -> "Part":
        """Return the part that an upload's state tells of."""
        number, of = require_part("data.part", data.part)
        return cls(
            number,
            of,
            status,
            data.progress,
            published_at,
            published_at,
            data.started_at,
            data.lease_seconds,
            data.current_row,
            data.total_rows,
            data.row_errors,
        )

    @property
    def is_final(self) -> bool:
        """True if its worker is done."""
        return self.status in TERMINAL_STATUSES

    @property
    def begins(self) -> bool:
        """True if this looks like its first state."""
        return self.progress == 0 and not self.is_final

    @property
    def expires_at(self) -> float:
        """The next expiry of its lease, in epoch seconds: the second one, if it is stalled."""
        lease_seconds = MAX_LEASE_SECONDS if self.lease_seconds is None else self.lease_seconds
        return self.stored_at + (2 * lease_seconds if self.status == "stalled" else lease_seconds)


def next_expiry(parts: Sequence[Part]) -> float:
    """Return the time at which the first of the leases expires, in epoch seconds."""
    running = [part.expires_at for part in parts if not part.is_final]
    return min(running, default=max(part.stored_at for part in parts) + QUEUED_LEASE_SECONDS)


def with_part(parts: Sequence[Part], part: Part) -> tuple[Part, ...]:
    """Return the parts with this one in place of its last state, in the order of their numbers."""
    return tuple(sorted([*(each for each in parts if each.number != part.number), part], key=lambda each: each.number))


def ended(parts: Sequence[Part], status: UploadStatus) -> tuple[Part, ...]:
    """Return the parts with those that still run ended by this status."""
    return tuple(part if part.is_final else structs.replace(part, status=status) for part in parts)


def missing_parts(parts: Sequence[Part], now: float) -> list[Part]:
    """Return the parts that have not begun, as running ones."""
    numbers = {part.number for part in parts}
    of = max(part.of for part in parts)
    return [Part(number, of, "running", 0, now, now) for number in range(1, of + 1) if number not in numbers]


def whole(data: UploadProgress, parts: Sequence[Part]) -> UploadProgress:
    """Return the upload that these parts make. `data` is the state of one of them, or of the whole."""
    of = max(part.of for part in parts)
    done = sum(part.status == "complete" for part in parts)
    status = _status(parts, of, done)
    rows = [part.rows for part in parts if part.rows is not None]
    totals = [part.total_rows for part in parts if part.total_rows is not None]
    current_row = min(sum(rows), MAX_NUMBER) if rows else None
    total_rows = min(sum(totals), MAX_NUMBER) if len(totals) == of else None
    reached = sum(100 if part.status == "complete" else part.progress for part in parts) / of
    progress = 100 if status == "complete" else min(_HIGHEST_WHILE_RUNNING, round(reached, 1))
    leases = [part.lease_seconds for part in parts if part.lease_seconds is not None and not part.is_final]
    return structs.replace(
        data,
        part=None,
        progress=int(progress) if progress == int(progress) else progress,
        status=status,
        message=data.message if of == 1 else _text(status, current_row, total_rows, done, of),
        current_row=current_row,
        total_rows=total_rows,
        started_at=min((part.started_at for part in parts if part.started_at is not None), default=None),
        lease_seconds=min(leases, default=None) if status not in TERMINAL_STATUSES else None,
        row_errors=summed([part.row_errors for part in parts if part.row_errors is not None]),
    )


def _status(parts: Sequence[Part], of: int, done: int) -> UploadStatus:
    statuses = {part.status for part in parts}
    order: tuple[UploadStatus, ...] = ("failed", "cancelled", "stalled", "running", "retrying")
    for status in order:
        if status in statuses:
            return status
    return "complete" if done == of else "running" if done else "queued"


def _text(status: UploadStatus, rows: int | None, total_rows: int | None, done: int, of: int) -> str:
    counted = "1 row" if rows == 1 else f"{rows or 0:,} rows"
    match status:
        case "complete":
            return f"Complete: {counted}" if rows else "Complete"
        case "failed" | "cancelled":
            return f"{status.capitalize()} after {counted}"
    parts = f"{done} of {of} parts are done"
    if not rows:
        return parts
    return f"Row {rows:,} of {total_rows:,}; {parts}" if total_rows and rows <= total_rows else f"Row {rows:,}; {parts}"
