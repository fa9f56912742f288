"""The rows that a job left out, and why. Pure: they are added up by cause, and lined up for the gateway.

    row_error ─▶ RowErrorTally ─▶ summary: total and causes, in the upload's state (bounded, so a state stays small)
                               └▶ waiting: all of them, for the list that can be downloaded

A cause is a code and a message. What a state shows, and what a list keeps, has its bounds here and in `limits`.
"""

from typing import Annotated, Any, Final, NamedTuple

from msgspec import Meta, Struct

from tellwire.errors import InvalidMessage
from tellwire.limits import MAX_ROW_ERRORS

MAX_CAUSES: Final = 20
"""Causes in a state, the most frequent ones."""

MAX_ROWS_OF_CAUSE: Final = 10
"""Rows named of each: the first ones."""

MAX_TEXT: Final = 200
"""Characters of a code or a message. What is longer is cut."""

# Messages that differ in every row are no causes. Past this many they count in the total alone.
_MAX_COUNTED_CAUSES: Final = 1000

Count = Annotated[int, Meta(extra_json_schema={"minimum": 0})]


class RowErrorCause(Struct, frozen=True):
    """Why rows were left out: how many, and the first of them."""

    code: str
    message: str
    count: Count
    rows: list[int]


class RowErrors(Struct, frozen=True):
    """How many rows were left out, and why: the most frequent causes first. Rare ones may count in `total` alone."""

    total: Count
    causes: list[RowErrorCause]


class RowError(NamedTuple):
    """One row that was left out. On the wire it is an array of three."""

    row: int
    code: str
    message: str


class RowErrorChunk(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A part of the list of an upload's row errors, from `first` on, which counts from 0.

    With another `started_at` (RFC 3339) it is another run's, and the list begins anew.
    """

    user: str
    upload_id: str
    file_name: str
    started_at: str
    first: Count
    errors: list[RowError]


class RowErrorList(Struct, frozen=True):
    """The list of an upload's row errors. `total` is how many there were; only so many are in the list."""

    file_name: str
    total: int
    kept: int


class _Cause:
    __slots__ = ("count", "rows")

    def __init__(self) -> None:
        self.count = 0
        self.rows: list[int] = []


class RowErrorTally:
    """Adds up the row errors of one upload. `add` may be called from another thread than the rest."""

    def __init__(self) -> None:
        self.total = 0
        self._causes: dict[tuple[str, str], _Cause] = {}
        self._summary: RowErrors | None = None
        self._waiting: list[RowError] = []
        self._handed_on = 0

    def add(self, row: int, code: str, message: str) -> None:
        """Add one.

        Raises:
            InvalidMessage: `row` is no whole number from 0, `code` is empty, or `message` is no string.
        """
        if type(row) is not int or row < 0:
            raise InvalidMessage("row", row, "a whole number, 0 or more")
        texts = (_text("code", code), _text("message", message))
        if not code or code.isspace():
            raise InvalidMessage("code", code, "a non-empty string")
        self.total += 1
        cause = self._causes.get(texts)
        if cause is None and len(self._causes) < _MAX_COUNTED_CAUSES:
            cause = self._causes[texts] = _Cause()
        if cause is not None:
            cause.count += 1
            if len(cause.rows) < MAX_ROWS_OF_CAUSE:
                cause.rows.append(row)
        if self._handed_on + len(self._waiting) < MAX_ROW_ERRORS:
            self._waiting.append(RowError(row, *texts))

    @property
    def summary(self) -> RowErrors | None:
        """What a state shows; None as long as there are none. The same object until there are more."""
        total = self.total
        if total and (self._summary is None or self._summary.total != total):
            causes = sorted(self._causes.items(), key=lambda item: -item[1].count)[:MAX_CAUSES]
            self._summary = RowErrors(
                total, [RowErrorCause(*texts, cause.count, list(cause.rows)) for texts, cause in causes]
            )
        return self._summary

    @property
    def waiting(self) -> int:
        """How many are not in the gateway's list yet."""
        return len(self._waiting)

    def next_chunk(self, at_most: int) -> tuple[int, list[RowError]]:
        """Return the place of the first that waits in the list, and so many from there on."""
        return self._handed_on, self._waiting[:at_most]

    def handed_on(self, count: int) -> None:
        """Take note that the first so many do not wait any more."""
        del self._waiting[:count]
        self._handed_on += count


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidMessage(name, value, "a string")
    return value if len(value) <= MAX_TEXT else f"{value[: MAX_TEXT - 1]}…"
