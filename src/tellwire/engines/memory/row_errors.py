"""Lists of row errors in the memory of this process."""

import bisect
import itertools
from collections import OrderedDict
from typing import Final

from tellwire.limits import HISTORY_MAX_AGE_SECONDS, MAX_ROW_ERRORS
from tellwire.ports import Clock
from tellwire.row_errors import KEPT_RUNS, Place, RowError, RowErrorChunk, RowErrorList, RowErrorPage

_MAX_IN_MEMORY: Final = 500_000
"""Most row errors in memory, some 100 MB. Above it, the lists unchanged longest are dropped."""

_Key = tuple[str, str, str]
"""User, upload and run."""


class _List:
    def __init__(self, file_name: str, number: int) -> None:
        self.file_name = file_name
        self.number = number
        self.totals: dict[int, int] = {}
        self.at = 0.0
        self.rows: dict[Place, RowError] = {}
        self._places: list[Place] = []

    def add(self, chunk: RowErrorChunk) -> None:
        part = chunk.part_number
        self.totals[part] = max(self.totals.get(part, 0), chunk.total)
        new = [each for each in chunk.by_place().items() if each[0] not in self.rows]
        self.rows.update(new[: MAX_ROW_ERRORS - len(self.rows)])

    def page(self, after: Place | None, at_most: int) -> RowErrorPage:
        if len(self._places) != len(self.rows):
            self._places = sorted(self.rows)
        first = 0 if after is None else bisect.bisect_right(self._places, after)
        places = self._places[first : first + at_most]
        return RowErrorPage([self.rows[place] for place in places], places[-1] if len(places) == at_most else None)


class MemoryRowErrors:
    """A `RowErrorStore` in memory."""

    def __init__(
        self, clock: Clock, max_age_seconds: float = HISTORY_MAX_AGE_SECONDS, max_rows: int = _MAX_IN_MEMORY
    ) -> None:
        self._clock = clock
        self._max_age_seconds = max_age_seconds
        self._max_rows = max_rows
        self._rows = 0
        self._numbers = itertools.count()
        self._lists: OrderedDict[_Key, _List] = OrderedDict()
        self._runs: dict[tuple[str, str], list[str]] = {}  # of each upload, the one that was changed last at the end

    async def add_row_errors(self, chunk: RowErrorChunk) -> None:
        key = (chunk.user_id, chunk.upload_id, chunk.run)
        row_list = self._lists.get(key)
        if row_list is None:
            row_list = self._lists[key] = _List(chunk.file_name, next(self._numbers))
        before = len(row_list.rows)
        row_list.add(chunk)
        row_list.at = self._clock.now()
        self._rows += len(row_list.rows) - before
        self._lists.move_to_end(key)
        runs = self._runs.setdefault(key[:2], [])
        if chunk.run in runs:
            runs.remove(chunk.run)
        runs.append(chunk.run)
        for run in runs[:-KEPT_RUNS]:
            self._drop((*key[:2], run))
        while self._rows > self._max_rows and len(self._lists) > 1:
            self._drop(next(iter(self._lists)))

    async def row_error_list(self, user_id: str, upload_id: str, run: str | None = None) -> RowErrorList | None:
        self._drop_old()
        runs = self._runs.get((user_id, upload_id), []) if run is None else [run]
        found = [(key[2], self._lists[key]) for each in runs if (key := (user_id, upload_id, each)) in self._lists]
        if not found:
            return None
        name, newest = max(found, key=lambda each: each[1].number)
        return RowErrorList(newest.file_name, name, sum(newest.totals.values()), len(newest.rows))

    async def row_errors(
        self, user_id: str, upload_id: str, run: str, after: Place | None, at_most: int
    ) -> RowErrorPage:
        self._drop_old()
        row_list = self._lists.get((user_id, upload_id, run))
        return RowErrorPage([], None) if row_list is None else row_list.page(after, at_most)

    async def forget(self, user_id: str) -> None:
        for key in [each for each in self._lists if each[0] == user_id]:
            self._drop(key)

    def _drop_old(self) -> None:
        oldest = self._clock.now() - self._max_age_seconds
        while self._lists and next(iter(self._lists.values())).at < oldest:
            self._drop(next(iter(self._lists)))

    def _drop(self, key: _Key) -> None:
        dropped = self._lists.pop(key, None)
        if dropped is None:
            return
        self._rows -= len(dropped.rows)
        runs = self._runs[key[:2]]
        runs.remove(key[2])
        if not runs:
            del self._runs[key[:2]]
