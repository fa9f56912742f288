"""The contract of `ShutOuts`: in memory, in a file, and in a table on AWS, each with real connections."""

import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tellwire.ports import ShutOuts
from tellwire.shut_out import ShutOut
from tellwire.testing import FakeClock
from tests.aws_stack import running_stack
from tests.conftest import StartGateway, read, token_for


@dataclass
class Server:
    """A server, its shut-outs, and its clock."""

    url: str
    shut_outs: ShutOuts
    clock: FakeClock
    close_code: int
    advance: Callable[[float], Any]

    def token(self, user_id: str = "user-1", **claims: Any) -> str:
        return token_for(user_id, 7000, issued_at=self.clock.now(), **claims)

    def connect(self, user_id: str = "user-1", **claims: Any) -> connect:
        self.advance(0.001)
        return connect(f"{self.url}?token={self.token(user_id, **claims)}", proxy=None)

    async def opens(self, user_id: str = "user-1", **claims: Any) -> bool:
        try:
            async with self.connect(user_id, **claims) as device:
                return await lives(device)
        except InvalidStatus as refused:
            body = json.loads(refused.response.body or b"{}")
            return (refused.response.status_code, body["code"]) != (403, "USER_SHUT_OUT")

    def out(self, seconds: float = 60, reason: str = "", user_id: str = "user-1", **kind: Any) -> ShutOut:
        return ShutOut.of(user_id, self.clock.now() + seconds, reason, **kind)


@pytest.fixture(
    params=["memory", "sqlite", "redis", "two nodes", "aws"],
    ids=["memory", "sqlite", "redis", "two nodes on redis", "AWS on moto"],
)
async def server(request: pytest.FixtureRequest, start_gateway: StartGateway, tmp_path: Path) -> AsyncIterator[Server]:
    clock = FakeClock(time.time())
    if request.param in ("redis", "two nodes"):
        url = request.getfixturevalue("redis_server").url
        on_redis = {"engine": "redis", "redis_url": url, "redis_prefix": request.getfixturevalue("redis_prefix")}
        gateway = await start_gateway(clock, **on_redis)
        other = gateway if request.param == "redis" else await start_gateway(clock, **on_redis)
        shut_outs = other.node.engine.shut_outs
        assert shut_outs is not None
        yield Server(f"{gateway.ws_url}/", shut_outs, clock, 4403, lambda seconds: None)
        return
    if request.param != "aws":
        gateway = await start_gateway(clock, engine=request.param, database=str(tmp_path / "live.sqlite3"))
        shut_outs = gateway.node.engine.shut_outs
        assert shut_outs is not None
        yield Server(f"{gateway.ws_url}/", shut_outs, clock, 4403, lambda seconds: None)
        return
    with running_stack(request.getfixturevalue("moto_dynamodb")) as stack:
        yield Server(stack.api.url, stack.deployment.shut_outs(), stack.clock, 1000, stack.api.advance)


async def lives(device: ClientConnection) -> bool:
    await device.send('{"type": "ping"}')
    return bool((await read(device))["type"] == "pong")


async def last_words(device: ClientConnection) -> list[str]:
    words: list[str] = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            words.append((await read(device))["data"].get("message", ""))
    return words


async def test_a_user_who_is_shut_out_stays_out_until_then(server: Server) -> None:
    async with server.connect() as phone, server.connect() as laptop, server.connect("user-2") as other:
        assert [await lives(each) for each in (phone, laptop, other)] == [True] * 3
        assert await server.shut_outs.shut_out(server.out(60, "Too many uploads")) == 2
        for device in (phone, laptop):
            (words,) = await last_words(device)
            assert words.startswith("Shut out until 20")
            assert words.endswith("Z: Too many uploads")
            assert device.close_code == server.close_code
        assert await lives(other)
    assert not await server.opens()
    assert await server.opens("user-2")
    await server.clock.advance(61)
    assert await server.opens()


async def test_one_token_is_shut_out_by_its_id(server: Server) -> None:
    async with server.connect(token_id="stolen") as thief, server.connect(token_id="own") as owner:
        assert await lives(thief)
        assert await server.shut_outs.shut_out(server.out(token_id="stolen")) == 1
        assert len(await last_words(thief)) == 1
        assert await lives(owner)
    assert not await server.opens(token_id="stolen")
    assert await server.opens(token_id="own")
    assert await server.opens()


async def test_tokens_are_shut_out_by_the_time_of_their_issue(server: Server) -> None:
    now = server.clock.now()
    async with server.connect() as device:
        assert await lives(device)
        assert await server.shut_outs.shut_out(server.out(issued_before=now - 60)) == 0
        assert await lives(device)
        assert await server.shut_outs.shut_out(server.out(issued_before=now + 60)) == 1
        assert len(await last_words(device)) == 1
    assert not await server.opens()


async def test_a_connection_cannot_be_renewed_with_a_token_that_is_shut_out(server: Server) -> None:
    await server.shut_outs.shut_out(server.out(token_id="stolen"))
    async with server.connect(token_id="own") as device:
        await device.send(json.dumps({"type": "auth", "token": server.token(token_id="stolen")}))
        (words,) = await last_words(device)
        assert words.startswith("Shut out until")
        assert device.close_code == server.close_code


async def test_a_renewed_connection_has_the_traits_of_its_new_token(server: Server) -> None:
    async with server.connect(token_id="first") as device:
        await device.send(json.dumps({"type": "auth", "token": server.token(token_id="second")}))
        assert (await read(device))["type"] == "auth_ok"
        assert await server.shut_outs.shut_out(server.out(token_id="first")) == 0
        assert await lives(device)
        assert await server.shut_outs.shut_out(server.out(token_id="second")) == 1


async def test_who_is_let_in_again_may_come(server: Server) -> None:
    await server.shut_outs.shut_out(server.out())
    await server.shut_outs.shut_out(server.out(token_id="stolen"))
    assert await server.shut_outs.let_in("user-1") == 2
    assert await server.shut_outs.let_in("user-1") == 0
    assert await server.opens(token_id="stolen")


async def test_of_each_kind_the_newest_counts(server: Server) -> None:
    await server.shut_outs.shut_out(server.out(3600, "long"))
    shorter = server.out(60, "short")
    await server.shut_outs.shut_out(shorter)
    assert await server.shut_outs.of("user-1") == [shorter]
    await server.clock.advance(61)
    assert await server.shut_outs.of("user-1") == []
    assert await server.opens()


async def test_a_shut_out_that_has_ended_closes_nothing(server: Server) -> None:
    async with server.connect() as device:
        assert await server.shut_outs.shut_out(server.out(-1)) == 0
        assert await lives(device)
    assert await server.opens()


@pytest.mark.parametrize("user_id", ["#user", "user:1", "ада/../\n", "x" * 2043])
async def test_any_user_can_be_shut_out(server: Server, user_id: str) -> None:
    await server.shut_outs.shut_out(server.out(user_id=user_id))
    assert [entry.user_id for entry in await server.shut_outs.of(user_id)] == [user_id]
    assert not await server.opens(user_id) if len(user_id) < 1000 else True
