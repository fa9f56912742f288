"""Shut-outs in Redis, beyond the contract: their bound, their expiry, and a lost message on a channel."""

import time
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from websockets.exceptions import InvalidStatus

from tellwire.carriers.hub import Hub
from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.store import RedisStore
from tellwire.engines.redis.node.registry import Registry
from tellwire.engines.redis.shut_outs import RedisShutOuts
from tellwire.errors import HistoryUnavailable, TellwireError, UserShutOut
from tellwire.model import Identity, TokenStamp
from tellwire.ports import Clock
from tellwire.publication import user_stream
from tellwire.server.framing import text_frames
from tellwire.shut_out import ShutOut
from tellwire.testing import FakeClock
from tests.conftest import StartGateway
from tests.redis_server import RedisServer
from tests.tools import until

ANNA = user_stream("anna")


class RecordingHub(Hub):
    """A hub that records whom it is asked to expel."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, text_frames)
        self.expelled: list[str] = []

    def expel(self, user_id: str, is_meant: object, error: TellwireError) -> int:
        self.expelled.append(f"{user_id}: {error}")
        return 1


@pytest.fixture
def hub(clock: FakeClock) -> RecordingHub:
    return RecordingHub(clock)


@pytest.fixture
def shut_outs(redis_store: RedisStore, redis_prefix: str, clock: FakeClock, hub: RecordingHub) -> RedisShutOuts:
    def count(ids: Iterable[bytes]) -> int:
        return sum(each.startswith(b"live") for each in ids)

    def stamp_of(registered: bytes) -> TokenStamp:
        return TokenStamp(token_id=registered.decode())

    return RedisShutOuts(redis_store, Names(redis_prefix), clock, hub, count, stamp_of)


async def test_the_count_is_that_of_the_connections_that_are_meant_on_live_nodes(
    shut_outs: RedisShutOuts, redis_store: RedisStore, redis_prefix: str, clock: FakeClock
) -> None:
    conns = Names(redis_prefix).of_stream("conns", ANNA)
    registered = ("live-1", "t1", "live-2", "t2", "dead-1", "t1", "live-3", "t1")
    await redis_store.command("HSET", conns, *registered, key=conns)
    assert await shut_outs.shut_out(ShutOut.of("anna", clock.now() + 60, token_id="t1")) == 2
    assert await shut_outs.shut_out(ShutOut.of("anna", clock.now() + 60)) == 3
    assert await shut_outs.shut_out(ShutOut.of("anna", clock.now() - 1)) == 0


async def test_a_user_has_so_many_and_those_that_have_ended_make_room(
    shut_outs: RedisShutOuts,
    redis_store: RedisStore,
    redis_prefix: str,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tellwire.engines.redis.shut_outs.SHUT_OUTS_PER_USER", 3)
    for number in range(3):
        await shut_outs.shut_out(ShutOut.of("anna", clock.now() + 60 + number, token_id=f"t{number}"))
    await shut_outs.shut_out(ShutOut.of("anna", clock.now() + 100, token_id="t1"))
    with pytest.raises(HistoryUnavailable, match="3 tokens of this user are shut out, and no more can be"):
        await shut_outs.shut_out(ShutOut.of("anna", clock.now() + 60))
    await clock.advance(61)
    await shut_outs.shut_out(ShutOut.of("anna", clock.now() + 60, "At last"))
    assert {each.key for each in await shut_outs.of("anna")} == {"token:t1", "token:t2", "user"}
    key = Names(redis_prefix).of_stream("shut", ANNA)
    assert await redis_store.command("HLEN", key, key=key, writes=False) == 3


async def test_one_of_a_million_tokens_is_found_without_the_others(shut_outs: RedisShutOuts, clock: FakeClock) -> None:
    for number in range(5):
        await shut_outs.shut_out(ShutOut.of("anna", clock.now() + 60, token_id=f"t{number}"))
    await shut_outs.admit(Identity("anna", 0, stamp=TokenStamp(token_id="t9")))
    await shut_outs.admit(Identity("anna", 0))
    with pytest.raises(UserShutOut):
        await shut_outs.admit(Identity("anna", 0, stamp=TokenStamp(token_id="t3")))
    await clock.advance(61)
    await shut_outs.admit(Identity("anna", 0, stamp=TokenStamp(token_id="t3")))


async def test_a_handshake_asks_redis_once_and_is_refused_before_the_connection_is_registered(
    redis_server: RedisServer,
    redis_store: RedisStore,
    redis_prefix: str,
    start_gateway: StartGateway,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gateway = await start_gateway(
        engine="redis", redis_url=redis_server.url, redis_prefix=redis_prefix, connections_per_user=1
    )
    shut_outs = gateway.node.engine.shut_outs
    assert isinstance(shut_outs, RedisShutOuts)
    monkeypatch.setattr(shut_outs, "admit", None)
    conns = Names(redis_prefix).of_stream("conns", user_stream("user-1"))

    async def registered() -> int:
        return int(await redis_store.command("HLEN", conns, key=conns, writes=False))

    # One of another token, and one that has ended, are not for this device.
    await shut_outs.shut_out(ShutOut.of("user-1", time.time() + 60, token_id="another"))
    await shut_outs.shut_out(ShutOut.of("user-1", time.time() + 60, issued_before=time.time() - 60))
    async with gateway.device():
        assert await registered() == 1
        with pytest.raises(InvalidStatus) as full:
            async with gateway.device():
                pass
        assert full.value.response.status_code == 429
        await shut_outs.let_in("user-1")
        key = Names(redis_prefix).of_stream("shut", user_stream("user-1"))
        shut_out = ShutOut.of("user-1", time.time() + 60)
        # As if the message that closes the first device were lost.
        await redis_store.command("HSET", key, shut_out.key, msgspec.json.encode(shut_out), key=key)
        with pytest.raises(InvalidStatus) as refused:
            async with gateway.device():
                pass
        assert refused.value.response.status_code == 403
    await until(lambda: len(gateway.node.hub) == 0)
    enter = Registry.add

    async def counted(*arguments: Any, **options: Any) -> Any:
        outcome = await enter(*arguments, **options)
        assert await registered() == 0
        return outcome

    monkeypatch.setattr(Registry, "add", counted)

    async def has_left() -> bool:
        return await registered() == 0

    await until(has_left)
    with pytest.raises(InvalidStatus) as refused:
        async with gateway.device():
            pass
    assert refused.value.response.status_code == 403


async def test_they_vanish_from_redis_when_the_last_one_has_ended(
    redis_store: RedisStore, redis_prefix: str, shut_outs: RedisShutOuts, clock: FakeClock
) -> None:
    key = Names(redis_prefix).of_stream("shut", ANNA)
    await shut_outs.shut_out(ShutOut.of("anna", clock.now() + 3600, token_id="long"))
    await shut_outs.shut_out(ShutOut.of("anna", clock.now() + 60))
    assert 3500 < await redis_store.command("TTL", key, key=key, writes=False) <= 3600
    await shut_outs.shut_out(ShutOut.of("anna", clock.now() - 1, token_id="long"))
    assert 0 < await redis_store.command("TTL", key, key=key, writes=False) <= 60


async def test_a_message_that_was_lost_is_made_up_for(
    shut_outs: RedisShutOuts, hub: RecordingHub, clock: FakeClock
) -> None:
    await shut_outs.shut_out(ShutOut.of("anna", clock.now() + 60, "Too much"))
    shut_outs.check_soon(ANNA)
    shut_outs.check_soon(ANNA)
    await until(lambda: hub.expelled)
    (words,) = hub.expelled
    assert words.startswith("anna: Shut out until")
    await clock.advance(61)
    shut_outs.check_soon(ANNA)
    await shut_outs.of("anna")
    assert len(hub.expelled) == 1
    shut_outs.close()
