"""The registry of engines. A new engine is a folder with an `open_…` function, and a line in `ENGINES`."""

import importlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

from tellwire.config import Settings
from tellwire.engine import Engine
from tellwire.errors import ConfigError
from tellwire.extras import ExtraMissing
from tellwire.ports import Clock, NullObserver, Observer
from tellwire.topics import TopicRules

Open = Callable[[Settings, Clock, Observer, TopicRules], Awaitable[Engine]]

ENGINES: Final = {
    "memory": "tellwire.engines.memory.engine:open_memory",
    "redis": "tellwire.engines.redis.engine:open_redis",
    "sqlite": "tellwire.engines.sqlite.engine:open_sqlite",
}
"""Imported when opened, since each needs other packages. Without `aws`, since functions serve no sockets."""

_CHECKS: Final = {"redis": "tellwire.engines.redis.engine:check_redis"}


def check_engine(settings: Settings) -> None:
    """Check all that can be checked of an engine's settings without opening it.

    Raises:
        ConfigError: they are not valid, or a package is missing.
    """
    check = _CHECKS.get(settings.chosen_engine)
    if check is not None:
        _imported(check)(settings)


async def open_engine(
    settings: Settings, clock: Clock, observer: Observer | None = None, topics: TopicRules | None = None
) -> Engine:
    """Open the engine that the settings name. `topics` are the rules of topics; None: those of the settings.

    Raises:
        ConfigError: the engine cannot be opened with these settings.
        HistoryUnavailable: its history cannot be read.
    """
    open_: Open = _imported(ENGINES[settings.chosen_engine])
    return await open_(settings, clock, observer or NullObserver(), topics or settings.topic_rules)


def _imported(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ExtraMissing as error:
        raise ConfigError(str(error)) from error
