"""The registry of engines. A new engine is a folder with an `open_…` function, and a line in `ENGINES`."""

import importlib
from collections.abc import Awaitable, Callable
from typing import Final, cast

from tellwire.config import Settings
from tellwire.engine import Engine
from tellwire.ports import Clock, NullObserver, Observer

Open = Callable[[Settings, Clock, Observer], Awaitable[Engine]]

ENGINES: Final = {
    "memory": "tellwire.engines.memory.engine:open_memory",
    "sqlite": "tellwire.engines.sqlite.engine:open_sqlite",
}
"""Imported when opened, since each needs other packages. Without `aws`, since functions serve no sockets."""


async def open_engine(settings: Settings, clock: Clock, observer: Observer | None = None) -> Engine:
    """Open the engine that the settings name.

    Raises:
        ConfigError: the engine cannot be opened with these settings.
        HistoryUnavailable: its history cannot be read.
    """
    module, _, name = ENGINES[settings.chosen_engine].partition(":")
    open_ = cast("Open", getattr(importlib.import_module(module), name))
    return await open_(settings, clock, observer or NullObserver())
