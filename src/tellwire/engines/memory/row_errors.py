"""Lists of row errors in the memory of this process."""

from collections import OrderedDict
from typing import Final

from tellwire.limits import HISTORY_MAX_AGE_SECONDS
from tellwire.ports import Clock
from tellwire.row_errors import RowError, RowErrorChunk, RowErrorList

_MAX_IN_MEMORY: Final = 500_000
"""Most row errors in memory, some 100 MB. Above it, the lists unchanged longest are dropped."""


class _List:
    def __init__(self, started_at: str, file_name: str) -> None:
        self.started_at = started_at
        self.file_name = file_name
        self.total = 0
        self.at = 0.0
        self.rows: dict[int, RowError] = {}


class MemoryRowErrors:
    """A `RowErrorStore` in memory."""

    def __init__(self, clock: Clock, max_rows: int = _MAX_IN_MEMORY) -> None:
        self._clock = clock
        self._max_rows = max_rows
        self._rows = 0
        self._lists: OrderedDict[tuple[str, str], _List] = OrderedDict()

    async def add_row_errors(self, chunk: RowErrorChunk) -> None:
        key = (chunk.user_id, chunk.upload_id)
        row_list = self._lists.get(key)
        if row_list is not None and row_list.started_at > chunk.started_at:
            return
        if row_list is None or row_list.started_at < chunk.started_at:
            self._drop(key)
            row_list = self._lists[key] = _List(chunk.started_at, chunk.file_name)
        before = len(row_list.rows)
        row_list.rows |= chunk.by_index()
        row_list.total = max(row_list.total, chunk.total)
        row_list.at = self._clock.now()
        self._rows += len(row_list.rows) - before
        self._lists.move_to_end(key)
        while self._rows > self._max_rows and len(self._lists) > 1:
            self._drop(next(iter(self._lists)))

    async def row_error_list(self, user_id: str, upload_id: str) -> RowErrorList | None:
        row_list = self._find(user_id, upload_id)
        return (
            None
            if row_list is None
            else RowErrorList(row_list.file_name, row_list.started_at, row_list.total, len(row_list.rows))
        )

    async def row_errors(
        self, user_id: str, upload_id: str, started_at: str, first: int, at_most: int
    ) -> list[RowError]:
        row_list = self._find(user_id, upload_id)
        rows = {} if row_list is None or row_list.started_at != started_at else row_list.rows
        return [rows[index] for index in sorted(rows)[first : first + at_most]]

    def _find(self, user_id: str, upload_id: str) -> _List | None:
        oldest = self._clock.now() - HISTORY_MAX_AGE_SECONDS
        while self._lists and next(iter(self._lists.values())).at < oldest:
            self._drop(next(iter(self._lists)))
        return self._lists.get((user_id, upload_id))

    def _drop(self, key: tuple[str, str]) -> None:
        dropped = self._lists.pop(key, None)
        if dropped is not None:
            self._rows -= len(dropped.rows)
