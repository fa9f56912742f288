"""Row errors: the rows that a job left out, counted by cause, and listed for download. Pure.

    row_error ─▶ RowErrorCounts ─▶ summary: total and causes, in the upload's state (bounded, so a state stays small)
                                └▶ waiting: all of them, in chunks, for the list that can be downloaded

A cause is a code and a message. The bounds of a state's causes and of a list are here and in `limits`.
"""

import itertools
from collections.abc import Sequence, Sized
from typing import Annotated, Final, NamedTuple

from msgspec import Meta, Struct

from tellwire.errors import InvalidMessage
from tellwire.limits import MAX_ROW_ERRORS, MAX_RUN_BYTES, MAX_UPLOAD_ID_BYTES, MAX_USER_ID_BYTES
from tellwire.numeric import finite_number
from tellwire.text import PART_PATTERN, require_id, require_part, words_of

MAX_CAUSES: Final = 20
"""Most causes in a state: the most frequent ones."""

MAX_ROWS_OF_CAUSE: Final = 10
"""Most rows of a cause in a state: the first ones."""

MAX_TEXT: Final = 200
"""Characters of a code or a message. A longer one is cut."""

KEPT_RUNS: Final = 2
"""Runs of an upload whose lists are kept: the one that the user sees, and the one before it."""

MAX_NUMBER: Final = 2**53 - 1
"""The highest number that every language reads from JSON exactly."""

_UNKNOWN: Final = "UNKNOWN"

# Messages that differ in every row are no causes. Above this number, new ones count only in the total.
_MAX_COUNTED_CAUSES: Final = 1000

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


def summed(of_parts: Sequence[RowErrors]) -> RowErrors | None:
    """Return the row errors of all parts of an upload; None if there are none."""
    if not of_parts:
        return None
    causes: dict[tuple[str, str], RowErrorCause] = {}
    for cause in itertools.chain.from_iterable(each.causes for each in of_parts):
        known = causes.get((cause.code, cause.message))
        if known is not None:
            rows = sorted([*known.rows, *cause.rows])[:MAX_ROWS_OF_CAUSE]
            count = min(known.count + cause.count, MAX_NUMBER)
            cause = RowErrorCause(cause.code, cause.message, count, rows)
        causes[cause.code, cause.message] = cause
    frequent = sorted(causes.values(), key=lambda cause: -cause.count)[:MAX_CAUSES]
    return RowErrors(min(sum(each.total for each in of_parts), MAX_NUMBER), frequent)


Place = tuple[int, int]
"""The place of a row error in the list of a run: its part (0: there are none), and its index."""


class RowError(NamedTuple):
    """One row that was left out. On the wire it is an array of three."""

    row: Count
    code: Annotated[Code, Meta(extra_json_schema={"maxLength": MAX_TEXT})]
    message: Annotated[str, Meta(extra_json_schema={"maxLength": MAX_TEXT})]


class RowErrorChunk(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A chunk of an upload's list of row errors, from the index `first` on, which counts from 0.

    `total` is the number of row errors at that time; a list holds at most 100,000. `run` is any name of the run; each
    has a list of its own. Workers that share a run count for themselves, each with its `part`, such as 3/8.
    """

    user_id: Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": MAX_USER_ID_BYTES})]
    upload_id: Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": MAX_UPLOAD_ID_BYTES})]
    file_name: Code
    run: Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": MAX_RUN_BYTES})]
    total: Count
    first: Count
    errors: list[RowError]
    part: Annotated[str, Meta(extra_json_schema={"pattern": PART_PATTERN})] | None = None

    def __post_init__(self) -> None:
        for name, text, bound in (
            ("userId", self.user_id, MAX_USER_ID_BYTES),
            ("uploadId", self.upload_id, MAX_UPLOAD_ID_BYTES),
            ("run", self.run, MAX_RUN_BYTES),
        ):
            require_id(name, text, bound)
        _require_code("fileName", self.file_name)
        if self.part is not None:
            require_part("part", self.part)
        _require_number("total", self.total)
        _require_number("first", self.first)
        for row, code, message in self.errors:
            _require_number("errors.row", row)
            _require_code("errors.code", code)
            if len(code) > MAX_TEXT or len(message) > MAX_TEXT:
                raise InvalidMessage("errors", (code, message), f"texts of at most {MAX_TEXT} characters")

    @property
    def part_number(self) -> int:
        """The number of its part; 0 without one."""
        return 0 if self.part is None else require_part("part", self.part)[0]

    def by_place(self) -> dict[Place, RowError]:
        """Return the row errors by their place in the list, without those above its bound."""
        part = self.part_number
        return {(part, index): error for index, error in enumerate(self.errors, self.first) if index < MAX_ROW_ERRORS}


class RowErrorList(Struct, frozen=True):
    """The list of the row errors of one run of an upload. `total` counts all of them, `kept` those in the list."""

    file_name: str
    run: str
    total: int
    kept: int


class RowErrorPage(Struct, frozen=True):
    """A page of a list, and the place of its last row error; None: no page follows."""

    errors: list[RowError]
    last: Place | None


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

    def add(self, row: object, code: object, message: object) -> bool:
        """Add a row error, whatever it is described with: a report about a row must not end the job.

        A row that is no number is listed as row 0, an empty code as `UNKNOWN`, and any other object by its text.
        Returns False if the number or the code is missing.
        """
        number = row if type(row) is int and 0 <= row <= MAX_NUMBER else _row_number(row)
        is_plain = type(code) is str and type(message) is str
        cause = self._causes.get((code, message)) if is_plain else None  # type: ignore[arg-type]
        if cause is None:
            cause = self._cause(_words(code) or _UNKNOWN, _words(message))
        cause.count += 1
        if cause.count <= MAX_ROWS_OF_CAUSE:
            cause.rows.append(number or 0)
        if self._room:
            self._room -= 1
            self._waiting.append((number or 0, cause.code, cause.message))
        # Last, so that a thread that reads the total finds the rest up to date.
        self.total += 1
        return number is not None and cause.code != _UNKNOWN

    def _cause(self, *texts: str) -> _Cause:
        code, message = texts
        cause = self._causes.get((code, message)) or _Cause(code, message)
        if len(self._causes) < _MAX_COUNTED_CAUSES:
            self._causes[code, message] = cause
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


def _words(value: object) -> str:
    text = "" if value is None else words_of(value, MAX_TEXT)
    return "" if text.isspace() else text


def _row_number(row: object) -> int | None:
    """Return the number of a row that is given as another kind of number, or as a text; None if there is none."""
    number = finite_number(row)
    if number is None and isinstance(row, str):
        try:
            number = int(row)
        except ValueError:
            return None
    whole = int(number) if number is not None and number == int(number) else -1
    return whole if 0 <= whole <= MAX_NUMBER else None


def _require_code(name: str, value: str) -> None:
    if not value or value.isspace():
        raise InvalidMessage(name, value, "a non-empty string")


def _require_number(name: str, value: int) -> None:
    if not 0 <= value <= MAX_NUMBER:
        raise InvalidMessage(name, value, f"a whole number from 0 to {MAX_NUMBER:,}")


def _require_at_most(name: str, values: Sized, most: int) -> None:
    if len(values) > most:
        raise InvalidMessage(name, len(values), f"at most {most} of them")
