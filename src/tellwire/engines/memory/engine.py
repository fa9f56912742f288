"""The engine `memory`: everything in this process, for development and tests."""

from tellwire.config import Settings
from tellwire.engine import Engine
from tellwire.engines.memory.history import MemoryHistory
from tellwire.engines.one_process import engine_of
from tellwire.ports import Clock, Observer


async def open_memory(settings: Settings, clock: Clock, observer: Observer) -> Engine:
    """Open the engine. Its history ends with the process."""
    history = MemoryHistory(clock)
    return await engine_of(history, history.row_errors, clock, observer)
