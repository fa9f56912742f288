"""An engine: the broker, history, carrier and row errors that belong together.

`engines` has a folder for each engine; `engines.registry` opens the one that the settings name.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tellwire.carriers.hub import Hub
from tellwire.ports import Broker, Carrier, History, RowErrorStore


async def _nothing() -> None:
    pass


@dataclass
class Engine:
    """The parts that a node, or a function on AWS, works with.

    `carrier` reaches every live connection; `hub` holds those of this process (None: it holds none). `history` is None
    if no publications are kept, `row_errors` if no lists of row errors are. `watch` runs as long as the engine is used,
    and publishes leases that expire; `close` releases files and connections.

    Example:
        async with await open_engine(settings, clock) as engine:
            await engine.broker.publish(publication)
    """

    broker: Broker
    carrier: Carrier
    history: History | None = None
    row_errors: RowErrorStore | None = None
    hub: Hub | None = None
    watch: Callable[[], Awaitable[None]] | None = None
    close: Callable[[], Awaitable[None]] = _nothing
    _watching: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        if self.watch is not None:
            self._watching = asyncio.ensure_future(self.watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._watching is not None:
                self._watching.cancel()
                await asyncio.wait([self._watching])
        finally:
            await self.close()
