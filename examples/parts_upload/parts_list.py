"""A parts list, read batch by batch: the header first, then parts.

In: rows of a table, in batches. Out: parts; skipped rows are reported. A header is looked for in the first
`MAX_HEADER_ROWS` rows that are not blank: above it there may be a title, a date, comments.
"""

from collections.abc import Callable, Iterable
from typing import Final

from examples.parts_upload.causes import REASONS, Cause, Fault
from examples.parts_upload.headers import BadHeader, Columns, find_columns
from examples.parts_upload.parts import Part, read_part
from examples.parts_upload.report import Report
from examples.parts_upload.tables import Row

MAX_HEADER_ROWS: Final = 50

# Rows with the same text are one group for the user, so there must not be a text for each row.
MAX_TEXTS_OF_CAUSE: Final = 10

RowError = Callable[[int, str, str], object]


class PartsList:
    """The parts in the rows it is given. Skipped rows go to the report, and one by one to `row_error`."""

    def __init__(self, report: Report, row_error: RowError) -> None:
        self._report = report
        self._row_error = row_error
        self._header: list[str] | Fault = []
        self._columns: Columns | None = None
        self._texts: dict[Cause, set[str]] = {}
        self._refused_rows = 0
        self._refusal = BadHeader("", is_near=False)

    def read(self, batch: Iterable[Row]) -> list[Part]:
        """Return the parts in these rows.

        Raises:
            BadHeader: none of the first rows is a header.
        """
        parts = []
        for row_number, cells in batch:
            if cells and (part := self._part(row_number, cells)):
                parts.append(part)
        self._report.kept += len(parts)
        return parts

    def end(self) -> None:
        """End the list.

        Raises:
            BadHeader: there was no header.
        """
        if self._columns is None:
            raise self._refusal

    @property
    def has_header(self) -> bool:
        """True once the header was read."""
        return self._columns is not None

    @property
    def is_empty(self) -> bool:
        """True if all rows were blank."""
        return self._columns is None and not self._refused_rows

    def _part(self, row_number: int, cells: list[str] | Fault) -> Part | None:
        if self._columns is None:
            self._try_header(cells)
            return None
        if cells == self._header:
            return None
        match cells if isinstance(cells, Fault) else read_part(row_number, cells, self._columns):
            case Part() as part:
                return part
            case Fault() as fault:
                self._report.skip(row_number, fault.cause, fault.cell)
                self._row_error(row_number, fault.cause, self._text(fault))
        return None

    def _text(self, fault: Fault) -> str:
        """Return the reason with the cell; without it, once a cause has had many."""
        texts = self._texts.setdefault(fault.cause, set())
        if len(texts) < MAX_TEXTS_OF_CAUSE:
            texts.add(fault.text)
        return fault.text if fault.text in texts else REASONS[fault.cause]

    def _try_header(self, cells: list[str] | Fault) -> None:
        try:
            self._columns = _columns(cells)
            self._header = cells
        except BadHeader as refusal:
            # The row that is nearest to a header tells the user most.
            if not self._refused_rows or (refusal.is_near and not self._refusal.is_near):
                self._refusal = refusal
            self._refused_rows += 1
            if self._refused_rows >= MAX_HEADER_ROWS:
                raise self._refusal from None


def _columns(cells: list[str] | Fault) -> Columns:
    if isinstance(cells, Fault):
        raise BadHeader(f"The first row, which names the columns, cannot be read: {cells.text}.", is_near=False)
    return find_columns(cells)
