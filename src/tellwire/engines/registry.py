"""What was said to users, kept so that it can be said again: in memory, in an SQLite file, or in a DynamoDB table.

The first two keep `stream.Stream`s, one for each user; what a stream says and forgets is decided there. The third has
no stream in memory, and decides by the same functions.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tellwire.engines.memory.history import MemoryHistory
from tellwire.ports import Clock, History, RowErrorStore

if TYPE_CHECKING:
    # A function on AWS needs none of a gateway's settings.
    from tellwire.config import Settings


class KeepsRowErrors(History, Protocol):
    """A gateway's history, which also keeps the lists of rows that jobs left out."""

    @property
    def row_errors(self) -> RowErrorStore: ...


def make_history(settings: "Settings", clock: Clock) -> KeepsRowErrors:
    """Return the history that the settings of a gateway ask for.

    Raises:
        ConfigError: its file cannot be used.
    """
    if settings.chosen_engine == "memory":
        return MemoryHistory(clock)
    from tellwire.engines.sqlite.history import SqliteHistory

    return SqliteHistory(Path(settings.database), clock)
