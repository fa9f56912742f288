"""The engine `redis`: several nodes, and producers without HTTP, with their streams in one Redis."""

from contextlib import AsyncExitStack
from functools import partial

from tellwire.config import Settings
from tellwire.engine import Engine
from tellwire.engines.redis.broker import RedisBroker
from tellwire.engines.redis.history import RedisHistory
from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.lease_watch import LeaseWatch
from tellwire.engines.redis.link.address import RedisAddress
from tellwire.engines.redis.link.scripts import time_of
from tellwire.engines.redis.link.store import RedisStore
from tellwire.engines.redis.node.parts import NodeParts
from tellwire.engines.redis.node.registration import stamp_of
from tellwire.engines.redis.requests import RedisRequests
from tellwire.engines.redis.row_errors import RedisRowErrors
from tellwire.engines.redis.shared_settings import keep_settings, write_settings
from tellwire.engines.redis.shut_outs import RedisShutOuts
from tellwire.errors import ConfigError
from tellwire.escalations import Escalations
from tellwire.lease_expiry import LeaseExpiry
from tellwire.ports import Clock, Observer
from tellwire.topics import TopicRules


def check_redis(settings: Settings) -> None:
    """Check the address.

    Raises:
        ConfigError: it is not valid, or a file of its TLS cannot be read.
    """
    _address(settings).ssl_context()


async def open_redis(settings: Settings, clock: Clock, observer: Observer, topics: TopicRules) -> Engine:
    """Open it.

    Raises:
        ConfigError: the address is not valid, or the engine cannot work with this Redis.
        HistoryUnavailable: Redis cannot be reached.
    """
    async with AsyncExitStack() as stack:
        store = RedisStore(_address(settings), wait_replicas=settings.redis_wait_replicas)
        stack.push_async_callback(store.close)
        await store.open()
        names = Names(settings.redis_prefix, store.address.db)
        await write_settings(store, names, topics)
        node = NodeParts(store, names, clock, compression=settings.compression)
        history = RedisHistory(
            store,
            names,
            clock,
            settings.retention,
            topics=topics,
            trusts_restart=store.keeps_all,
            known_end=node.subscriptions.known_end,
            escalations=settings.escalation_rules,
        )
        node.read_from(history)
        shut_outs = RedisShutOuts(store, names, clock, node.hub, node.live.count_live, stamp_of)
        stack.callback(shut_outs.close)
        node.obey(shut_outs)
        stack.push_async_callback(node.close)
        await node.open()
        broker = RedisBroker(history, node.carrier, node.live.count_live, observer, node.live.count_subscribers)
        escalations = Escalations(history, clock, observer=observer)
        expire = LeaseExpiry(broker, clock, observer, escalations).expire
        leases = LeaseWatch(store, names, history, clock, expire, node.own.name, lambda: node.live.known)
        settings_kept = partial(keep_settings, store, names, topics, clock)
        return Engine(
            broker,
            node.carrier,
            history,
            RedisRowErrors(store, names, time_of(clock), settings.history_max_age_seconds),
            shut_outs,
            RedisRequests(store, names, time_of(clock)),
            node.hub,
            node.presence,
            subscribers=node.topics,
            topics=topics,
            topic_presence=node.topic_presence,
            escalations=escalations,
            watches=(node.run, leases.watch, settings_kept),
            close=stack.pop_all().aclose,
            trouble=store.trouble,
            handed_on=node.subscriptions.handed_on,
            new_connection_id=node.own.new_connection_id,
        )
    raise AssertionError("an exit stack swallows nothing")


def _address(settings: Settings) -> RedisAddress:
    if settings.redis_url is None:
        raise ConfigError("TELLWIRE_REDIS_URL: not set; needed: the address of a Redis, for the engine redis")
    return RedisAddress.parse(settings.redis_url)
