"""The common parts of the engines of one process: a hub, a broker, and leases on a timer wheel."""

from collections.abc import Callable, Sequence
from functools import partial

from tellwire.carriers.hub_presence import HubPresence
from tellwire.carriers.hub_subscribers import HubSubscribers
from tellwire.engine import Engine, Watch
from tellwire.engines.leases import Leases
from tellwire.engines.local_broker import LocalBroker
from tellwire.engines.local_topic_presence import LocalTopicPresence
from tellwire.engines.shut_outs import LocalShutOuts, ShutOutFile
from tellwire.escalations import Escalations
from tellwire.lease_expiry import LeaseExpiry
from tellwire.ports import Clock, LocalHistory, Observer, RequestLedger, RowErrorStore
from tellwire.server.fan_out import make_hub
from tellwire.topics import TopicRules


async def engine_of(
    history: LocalHistory,
    row_errors: RowErrorStore,
    requests: RequestLedger,
    clock: Clock,
    observer: Observer,
    topics: TopicRules,
    *,
    compression: bool = False,
    watches: Sequence[Watch] = (),
    trouble: Callable[[], str | None] = lambda: None,
    shut_out_file: ShutOutFile | None = None,
) -> Engine:
    """Compose an engine with a history of this process. `watches` run as long as it is used, beside that of leases.
    Without a `shut_out_file`, shut-outs end with the process.

    Raises:
        HistoryUnavailable: the leases or the shut-outs cannot be read.
    """
    hub = make_hub(clock, compression=compression)
    leases = Leases(clock)
    history.on_escalation = leases.note
    escalations = Escalations(history, clock, leases.note, observer)
    broker = LocalBroker(history, hub, leases.note, observer, topics)
    await leases.load(history)
    topic_presence = LocalTopicPresence(hub, clock)
    shut_outs = LocalShutOuts(hub, clock, shut_out_file)
    await shut_outs.load()
    expire = LeaseExpiry(broker, clock, observer, escalations).expire
    return Engine(
        broker,
        hub,
        history,
        row_errors,
        shut_outs,
        requests,
        hub,
        HubPresence(hub),
        HubSubscribers(hub),
        topics,
        topic_presence,
        escalations,
        watches=(
            partial(leases.watch, expire),
            topic_presence.watch_time,
            *watches,
        ),
        trouble=trouble,
        close=history.close,
        forget_leases=leases.forget,
    )
