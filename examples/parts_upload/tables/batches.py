"""Batches of rows with bounded work, for one turn of an event loop each."""

from typing import Final

from examples.parts_upload.tables.table import Row, Table

# A few milliseconds of work. A batch may exceed it by its last row.
BATCH_WORK: Final = 96 * 1024


def next_batch(table: Table, max_rows: int) -> list[Row]:
    """Return the next rows: at most `max_rows` that are not blank, or as many as `BATCH_WORK` allows. []: the end."""
    batch: list[Row] = []
    until, filled = table.work + BATCH_WORK, 0
    for row in table:
        batch.append(row)
        filled += bool(row[1])
        if filled >= max_rows or table.work >= until:
            break
    return batch
