"""Row errors: the rows that a job left out, counted by cause, and listed for download. Pure.

    row_error ─▶ RowErrorCounts ─▶ summary: total and causes, in the upload's state (bounded, so a state stays small)
                                └▶ waiting: all of them, in chunks, for the list that can be downloaded

A cause is a code and a message. The bounds of a state's causes and of a list are here and in `limits`.
"""

import re
from collections.abc import Sized
from typing import Annotated, Final, NamedTuple

from msgspec import Meta, Struct

from tellwire.errors import InvalidMessage
from tellwire.limits import MAX_ROW_ERRORS

MAX_CAUSES: Final = 20
"""Most causes in a state: the most frequent ones."""

MAX_ROWS_OF_CAUSE: Final = 10
"""Most rows of a cause in a state: the first ones."""

MAX_TEXT: Final = 200
"""Characters of a code or a message. A longer one is cut."""

MAX_NUMBER: Final = 2**53 - 1
"""The highest number that every language reads from JSON exactly."""

# Messages that differ in every row are no causes. Above this number, new ones count only in the total.
_MAX_COUNTED_CAUSES: Final = 1000

# One form only, so that the order of texts is the order of time.
_STARTED_AT: Final = re.compile(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$")

Count = Annotated[int, Meta(extra_json_schema={"minimum": 0, "maximum": MAX_NUMBER})]
Code = Annotated[str, Meta(extra_json_schema={"minLength": 1, "pattern": r"\S"})]


class RowErrorCause(Struct, frozen=True):
    """A cause of row errors: the number of rows, and the first of them."""

    code: Code
    message: str
    count: Count
    rows: Annotated[list[int], Meta(extra_json_schema={"maxItems": MAX_ROWS_OF_CAUSE})]

    def __post_init__(self) -> None:
        _require_code("data.rowErrors.causes.code", self.code)
        _require_number("data.rowErrors.causes.count", self.count)
        _require_at_most("data.rowErrors.causes.rows", self.rows, MAX_ROWS_OF_CAUSE)


class RowErrors(Struct, frozen=True):
    """The number of rows left out, by cause, the most frequent first. Rare causes may count in `total` alone."""

    total: Count
    causes: Annotated[list[RowErrorCause], Meta(extra_json_schema={"maxItems": MAX_CAUSES})]

    def __post_init__(self) -> None:
        _require_number("data.rowErrors.total", self.total)
        _require_at_most("data.rowErrors.causes", self.causes, MAX_CAUSES)


class RowError(NamedTuple):
    """One row that was left out. On the wire it is an array of three."""

    row: int
    code: str
    message: str


class RowErrorChunk(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A chunk of an upload's list of row errors, from the index `first` on, which counts from 0.

    `total` is the number of row errors at that time; a list holds at most 100,000. A later `started_at`, such as
    2026-11-23T09:18:54.123Z, is that of another run, which begins a new list.
    """

    user_id: str
    upload_id: str
    file_name: str
    started_at: str
    total: Count
    first: Count
    errors: list[RowError]

    def __post_init__(self) -> None:
        for name, text in (("userId", self.user_id), ("uploadId", self.upload_id), ("fileName", self.file_name)):
            _require_code(name, text)
        if not _STARTED_AT.fullmatch(self.started_at):
            raise InvalidMessage("startedAt", self.started_at, "a time in UTC such as 2026-11-23T09:18:54.123Z")
        _require_number("total", self.total)
        _require_number("first", self.first)
        for row, code, message in self.errors:
            _require_number("errors.row", row)
            _require_code("errors.code", code)
            if len(code) > MAX_TEXT or len(message) > MAX_TEXT:
                raise InvalidMessage("errors", (code, message), f"texts of at most {MAX_TEXT} characters")

    def by_index(self) -> dict[int, RowError]:
        """Return the row errors by their index in the list, without those above its bound."""
        return {index: error for index, error in enumerate(self.errors, self.first) if index < MAX_ROW_ERRORS}


class RowErrorList(Struct, frozen=True):
    """The list of the row errors of an upload's last run. `total` counts all row errors, `kept` those in the list."""

    file_name: str
    started_at: str
    total: int
    kept: int


class _Cause:
    __slots__ = ("code", "count", "message", "rows")

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        self.count = 0
        self.rows: list[int] = []


class RowErrorCounts:
    """The row errors of one upload so far. `add` may be called from another thread than the other methods."""

    def __init__(self) -> None:
        self.total = 0
        self._causes: dict[tuple[str, str], _Cause] = {}
        self._summary: RowErrors | None = None
        self._waiting: list[tuple[int, str, str]] = []
        self._room = MAX_ROW_ERRORS
        self._sent = 0
        self._reported = 0
        self._keeps_list = True

    def add(self, row: int, code: str, message: str) -> None:
        """Add a row error.

        Raises:
            InvalidMessage: `row` is no whole number from 0, `code` is empty, or `message` is no string.
        """
        if type(row) is not int or not 0 <= row <= MAX_NUMBER:
            raise InvalidMessage("row", row, f"a whole number from 0 to {MAX_NUMBER:,}")
        try:
            cause = self._causes[code, message]
        except (KeyError, TypeError):
            cause = self._cause(code, message)
        cause.count += 1
        if cause.count <= MAX_ROWS_OF_CAUSE:
            cause.rows.append(row)
        if self._room:
            self._room -= 1
            self._waiting.append((row, cause.code, cause.message))
        # Last, so that a thread that reads the total finds the rest up to date.
        self.total += 1

    def _cause(self, code: object, message: object) -> _Cause:
        texts = (_text("code", code), _text("message", message))
        _require_code("code", texts[0])
        cause = self._causes.get(texts) or _Cause(*texts)
        if len(self._causes) < _MAX_COUNTED_CAUSES:
            self._causes[texts] = cause
        return cause

    @property
    def summary(self) -> RowErrors | None:
        """The causes, for a state; None if there are none. The same object as long as the total is the same."""
        total = self.total
        if total and (self._summary is None or self._summary.total != total):
            causes = sorted(self._causes.values(), key=lambda cause: -cause.count)[:MAX_CAUSES]
            self._summary = RowErrors(
                total, [RowErrorCause(cause.code, cause.message, cause.count, list(cause.rows)) for cause in causes]
            )
        return self._summary

    @property
    def unsent(self) -> int:
        """The number of row errors that are not in the list yet."""
        return self.total - self._reported if self._keeps_list else 0

    def next_part(self, at_most: int) -> tuple[int, int, list[RowError]]:
        """Return the total, and the next chunk of the list: its first index, and its rows (none: the list is full)."""
        return self.total, self._sent, [RowError(*error) for error in self._waiting[:at_most]]

    def mark_sent(self, total: int, count: int) -> None:
        """Mark the first `count` waiting row errors, and the total, as stored."""
        del self._waiting[:count]
        self._sent += count
        self._reported = self._sent if self._waiting else total

    def keep_no_list(self) -> None:
        """Stop collecting a list; only count from now on."""
        self._keeps_list = False
        self._room = 0
        self._waiting.clear()


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidMessage(name, value, "a string")
    text = value if len(value) <= MAX_TEXT else f"{value[: MAX_TEXT - 1]}…"
    # A string may hold half surrogate pairs, which UTF-8 cannot encode.
    return text if text.isascii() else text.encode(errors="replace").decode()


def _require_code(name: str, value: str) -> None:
    if not value or value.isspace():
        raise InvalidMessage(name, value, "a non-empty string")


def _require_number(name: str, value: int) -> None:
    if not 0 <= value <= MAX_NUMBER:
        raise InvalidMessage(name, value, f"a whole number from 0 to {MAX_NUMBER:,}")


def _require_at_most(name: str, values: Sized, most: int) -> None:
    if len(values) > most:
        raise InvalidMessage(name, len(values), f"at most {most} of them")
