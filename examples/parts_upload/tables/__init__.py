"""Readers of tables: CSV in any dialect, spreadsheets, and both in archives. All yield the same rows.

Rules:
- A row's number is the one a spreadsheet shows. Blank rows are yielded, too: as no cells.
- A row that cannot be read is yielded as its `Fault`, and reading continues.
- `work` counts the bytes, characters, cells and rows that were looked at. `next_batch` bounds it, so that one turn of
  an event loop is short whatever a file holds.
- Memory is bounded for any file: by the longest row, and for spreadsheets by their shared texts.
"""

from examples.parts_upload.tables.batches import BATCH_WORK, next_batch
from examples.parts_upload.tables.opening import open_table, seekable
from examples.parts_upload.tables.table import Row, Table, TableRefused

__all__ = ["BATCH_WORK", "Row", "Table", "TableRefused", "next_batch", "open_table", "seekable"]
