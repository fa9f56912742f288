"""What was said to users, kept so that it can be said again: in memory, or in an SQLite file.

Both keep `stream.Stream`s, one for each user; what a stream says and forgets is decided there.
"""

from pathlib import Path

from tellwire.config import Settings
from tellwire.history.memory import MemoryHistory
from tellwire.ports import Clock, History

__all__ = ["MemoryHistory", "make_history"]


def make_history(settings: Settings, clock: Clock) -> History:
    """Return the history that the settings ask for.

    Raises:
        ConfigError: its file cannot be used.
    """
    if settings.chosen_engine == "memory":
        return MemoryHistory(clock)
    from tellwire.history.sqlite import SqliteHistory

    return SqliteHistory(Path(settings.database), clock)
