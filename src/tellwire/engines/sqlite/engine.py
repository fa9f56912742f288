"""The engine `sqlite`: one process, with three files: its streams, lists of row errors, and requests of clients."""

from contextlib import AsyncExitStack
from pathlib import Path

from tellwire.config import Settings
from tellwire.engine import Engine
from tellwire.engines.one_process import engine_of
from tellwire.engines.sqlite.archive import ROLES
from tellwire.engines.sqlite.backup import SqliteBackups
from tellwire.engines.sqlite.history import SqliteHistory
from tellwire.engines.sqlite.requests import SqliteRequests
from tellwire.engines.sqlite.row_errors import SqliteRowErrors
from tellwire.errors import ConfigError, HistoryUnavailable
from tellwire.ports import Clock, Observer
from tellwire.topics import TopicRules


async def open_sqlite(settings: Settings, clock: Clock, observer: Observer, topics: TopicRules) -> Engine:
    """Open it.

    Raises:
        ConfigError: the file cannot be used, or not be read.
    """
    path = Path(settings.database)
    async with AsyncExitStack() as stack:
        history = SqliteHistory(
            path,
            clock,
            retention=settings.retention,
            cache_bytes=settings.history_cache_bytes,
            topics=topics,
            escalations=settings.escalation_rules,
        )
        stack.push_async_callback(history.close)
        row_errors = SqliteRowErrors(row_errors_path(path), clock, settings.history_max_age_seconds)
        stack.push_async_callback(row_errors.close)
        requests = SqliteRequests(requests_path(path), clock)
        stack.push_async_callback(requests.close)
        try:
            engine = await engine_of(
                history,
                row_errors,
                requests,
                clock,
                observer,
                topics,
                compression=settings.compression,
                watches=(history.watch, row_errors.watch, requests.watch),
                trouble=history.trouble,
                shut_out_file=history.shut_outs,
            )
        except HistoryUnavailable as error:
            # Whoever starts the gateway needs the name of the file.
            raise ConfigError(f"history {str(path)!r}: cannot be read: {error.reason}") from error
        files = (history.database, row_errors.database, requests.database)
        engine.backups = SqliteBackups(dict(zip(ROLES, files, strict=True)), clock)
        engine.close = stack.pop_all().aclose
        return engine


def paths_of(database: Path) -> dict[str, Path]:
    """Return the three files of an engine, by their roles in a backup."""
    return dict(zip(ROLES, (database, row_errors_path(database), requests_path(database)), strict=True))


def row_errors_path(database: Path) -> Path:
    """Return the file of the row errors: beside the history's."""
    return database.with_name(f"{database.name}-row-errors")


def requests_path(database: Path) -> Path:
    """Return the file of the requests that are remembered: beside the history's."""
    return database.with_name(f"{database.name}-requests")
