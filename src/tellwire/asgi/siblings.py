"""Workers of one server, which are processes with one parent: an engine of one process is for one of them.

uvicorn, hypercorn and granian start workers with `multiprocessing`, and gunicorn forks them. The first that opens the
engine holds a lock on a file named for the parent; another one is refused. Workers that one server replaces by another
(a reload) overlap for a moment, so a lock is waited for. Processes that nobody's parent joins, such as containers, are
not known to each other.
"""

import asyncio
import contextlib
import multiprocessing
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from tellwire.config import Settings
from tellwire.errors import ConfigError

_WAIT_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = 0.05


@contextlib.asynccontextmanager
async def only_worker(settings: Settings, seconds: float = _WAIT_SECONDS) -> AsyncIterator[None]:
    """Hold the place of the one worker inside the block, unless the engine is for several.

    Raises:
        ConfigError: another worker of the same server has it.
    """
    path = _lock_file() if settings.chosen_engine != "redis" else None
    number = None if path is None else _opened(path)
    if number is None:
        yield
        return
    try:
        await _lock(number, settings.chosen_engine, seconds)
        yield
    finally:
        os.close(number)


async def _lock(number: int, engine: str, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not _is_mine(number):  # noqa: ASYNC110 - other processes have no event
                await asyncio.sleep(_AGAIN_SECONDS)
    except TimeoutError:
        raise ConfigError(
            f"this server runs several workers, and the engine {engine} is for one process; allowed: one worker, or "
            "TELLWIRE_ENGINE=redis, with which each worker is a node beside the others"
        ) from None


def _lock_file() -> Path | None:
    """Return the file that the workers of this process's parent share; None: it is no worker, as far as we know."""
    is_worker = multiprocessing.parent_process() is not None or "gunicorn.arbiter" in sys.modules
    if not is_worker or os.name != "posix":
        return None
    return Path(tempfile.gettempdir()) / f"tellwire-workers-{os.getuid()}-{os.getppid()}.lock"


def _opened(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return None  # nobody knows then


def _is_mine(number: int) -> bool:
    import fcntl

    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        # Another application of this very process may hold it.
        return os.pread(number, 20, 0) == str(os.getpid()).encode()
    os.ftruncate(number, 0)
    os.pwrite(number, str(os.getpid()).encode(), 0)
    return True
