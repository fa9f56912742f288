"""The engine `sqlite`: one process, with its streams in a file."""

from pathlib import Path

from tellwire.config import Settings
from tellwire.engine import Engine
from tellwire.engines.one_process import engine_of
from tellwire.engines.sqlite.history import SqliteHistory
from tellwire.ports import Clock, Observer


async def open_sqlite(settings: Settings, clock: Clock, observer: Observer) -> Engine:
    """Open it.

    Raises:
        ConfigError: the file cannot be used.
        HistoryUnavailable: it cannot be read.
    """
    history = SqliteHistory(Path(settings.database), clock)
    try:
        return await engine_of(history, history.row_errors, clock, observer)
    except BaseException:
        await history.close()
        raise
