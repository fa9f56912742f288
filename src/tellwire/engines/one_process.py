"""The common parts of the engines of one process: a hub, a composed broker, and leases on a timer wheel."""

from functools import partial

from tellwire.broker import ComposedBroker
from tellwire.carriers.hub import Hub
from tellwire.engine import Engine
from tellwire.engines.leases import Leases
from tellwire.lease_expiry import LeaseExpiry
from tellwire.ports import Clock, History, Observer, RowErrorStore
from tellwire.server.framing import text_frames


async def engine_of(history: History, row_errors: RowErrorStore, clock: Clock, observer: Observer) -> Engine:
    """Compose an engine with a history of this process.

    Raises:
        HistoryUnavailable: the leases cannot be read.
    """
    hub = Hub(clock, text_frames)
    leases = Leases(clock)
    broker = ComposedBroker(history, hub, leases.note, observer)
    await leases.load(history)
    return Engine(
        broker,
        hub,
        history,
        row_errors,
        hub,
        watch=partial(leases.watch, LeaseExpiry(broker, clock, observer).expire),
        close=history.close,
    )
