"""The engine `memory`: everything in this process, for development and tests."""

from tellwire.config import Settings
from tellwire.engine import Engine
from tellwire.engines.memory.history import MemoryHistory
from tellwire.engines.memory.requests import MemoryRequests
from tellwire.engines.one_process import engine_of
from tellwire.ports import Clock, Observer
from tellwire.topics import TopicRules


async def open_memory(settings: Settings, clock: Clock, observer: Observer, topics: TopicRules) -> Engine:
    """Open the engine. Its history ends with the process."""
    history = MemoryHistory(
        clock,
        retention=settings.retention,
        cache_bytes=settings.history_cache_bytes,
        topics=topics,
        escalations=settings.escalation_rules,
    )
    return await engine_of(
        history,
        history.row_errors,
        MemoryRequests(clock),
        clock,
        observer,
        topics,
        compression=settings.compression,
        watches=(history.watch,),
    )
