"""Channels at a real Redis: subscribed, ended, and subscribed to again."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from tellwire.engines.redis.link.address import RedisAddress
from tellwire.engines.redis.link.store import RedisStore
from tellwire.engines.redis.node.channel_link import ChannelLink, connect
from tellwire.engines.redis.node.channels import Channel, Channels
from tellwire.errors import HistoryUnavailable
from tests.redis_server import RedisServer
from tests.tools import until


@dataclass
class Ear:
    """Hears one channel."""

    heard: list[bytes] = field(default_factory=list)
    times_again: int = 0

    def again(self) -> None:
        self.times_again += 1


@pytest.fixture
async def channels(redis_store: RedisStore) -> AsyncIterator[Channels]:
    channels = Channels(redis_store.address, redis_store.endpoint)
    channels.start()
    yield channels
    await channels.close()


async def subscribed(channels: Channels, name: str, ear: Ear) -> Channel:
    channel = channels.subscribe(name.encode(), ear.heard.append, ear.again)
    await channel.ready()
    return channel


async def publish(store: RedisStore, name: str, text: str) -> int:
    return int(await store.command("SPUBLISH", name, text, key=name.encode()))


async def test_a_channel_is_heard_from_ready_until_it_is_ended(
    channels: Channels, redis_store: RedisStore, redis_prefix: str
) -> None:
    ear, other = Ear(), Ear()
    name = f"{redis_prefix} {{odd}}\nname"
    channel = await subscribed(channels, name, ear)
    await subscribed(channels, f"{redis_prefix}:other", other)
    assert await publish(redis_store, name, "one") == 1
    assert await publish(redis_store, name, "two") == 1
    await until(lambda: ear.heard == [b"one", b"two"])
    channels.unsubscribe(channel)

    async def is_ended() -> bool:
        return await publish(redis_store, name, "three") == 0

    await until(is_ended)
    assert (ear.heard[:2], other.heard, ear.times_again) == ([b"one", b"two"], [], 0)


async def test_a_quick_end_and_beginning_of_a_channel_leave_it_subscribed(
    channels: Channels, redis_store: RedisStore, redis_prefix: str
) -> None:
    ears = [Ear() for _ in range(20)]
    channel: Channel | None = None
    for ear in ears:
        if channel is not None:
            channels.unsubscribe(channel)
        channel = channels.subscribe(redis_prefix.encode(), ear.heard.append, ear.again)
    assert channel is not None
    await channel.ready()
    assert await publish(redis_store, redis_prefix, "one") == 1
    await until(lambda: ears[-1].heard == [b"one"])
    assert [ear.heard for ear in ears[:-1]] == [[]] * 19


async def test_channels_whose_connection_was_killed_are_subscribed_to_again_and_told(
    channels: Channels, redis_store: RedisStore, redis_server: RedisServer, redis_prefix: str
) -> None:
    ears = [Ear() for _ in range(50)]
    names = [f"{redis_prefix}:{number}" for number in range(50)]
    for name, ear in zip(names, ears, strict=True):
        await subscribed(channels, name, ear)
    redis_server.command("CLIENT", "KILL", "TYPE", "pubsub")
    await until(lambda: all(ear.times_again == 1 for ear in ears))
    for name in names:
        assert await publish(redis_store, name, "again") == 1
    await until(lambda: all(ear.heard == [b"again"] for ear in ears))


async def test_a_redis_that_is_not_there_is_an_error_in_time_and_heard_when_it_comes(
    redis_store: RedisStore, redis_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellwire.engines.redis.node.channels.REDIS_TIMEOUT_SECONDS", 0.1)
    right = await redis_store.endpoint(b"x")
    place = [right._replace(port=1)]

    async def endpoint_of(name: bytes) -> object:
        return place[0]

    channels = Channels(redis_store.address, endpoint_of)  # type: ignore[arg-type]
    channels.start()
    ear = Ear()
    channel = channels.subscribe(redis_prefix.encode(), ear.heard.append)
    with pytest.raises(HistoryUnavailable, match="cannot be reached"):
        await channel.ready()
    place[0] = right

    async def is_heard() -> bool:
        await publish(redis_store, redis_prefix, "one")
        return bool(ear.heard)

    await until(is_heard)
    await channels.close()


async def test_a_wrong_password_is_told_without_quoting_it(redis_server: RedisServer, redis_store: RedisStore) -> None:
    address = RedisAddress.parse(f"redis://somebody:sesame-open@127.0.0.1:{redis_server.port}")
    channels = Channels(address, redis_store.endpoint)
    channels.start()
    channel = channels.subscribe(b"x", print)
    ready = asyncio.create_task(channel.ready())
    await until(lambda: channels.trouble is not None)
    assert "does not accept the user or password" in str(channels.trouble)
    assert "sesame" not in str(channels.trouble)
    ready.cancel()
    await asyncio.wait([ready])
    await channels.close()


async def test_a_connection_that_is_silent_is_cut_and_opened_again(
    redis_store: RedisStore, redis_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellwire.engines.redis.node.channels.REDIS_TIMEOUT_SECONDS", 0.2)
    channels = Channels(redis_store.address, redis_store.endpoint)
    channels.start()
    ear = Ear()
    await subscribed(channels, redis_prefix, ear)
    (link,) = channels._links.values()
    monkeypatch.setattr(link, "_was_heard", False)
    monkeypatch.setattr(link, "data_received", lambda data: None)
    await until(lambda: not link.is_open)
    await until(lambda: ear.times_again == 1)
    assert await publish(redis_store, redis_prefix, "one") == 1
    await channels.close()


async def test_a_connection_that_is_lost_while_it_logs_in_is_none(
    redis_store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def log_in(link: ChannelLink, address: RedisAddress) -> None:
        link.abort()

    monkeypatch.setattr(ChannelLink, "log_in", log_in)
    with pytest.raises(HistoryUnavailable, match="cannot be reached"):
        await connect(redis_store.address.hosts[0], redis_store.address, lambda link: None)
