"""Two nodes on one Redis, real sockets and our client: pub/sub is disturbed, and devices get all, once, in order."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from tellwire import create_message, create_upload_progress_message
from tellwire.client import Client, ClientOptions
from tellwire.engines.redis.node.subscriptions import Subscriptions
from tellwire.errors import PublishError
from tellwire.model import Delivery, Target
from tellwire.publication import Publication
from tests.conftest import Gateway, StartGateway, read
from tests.integration.gateway.test_handshake import refusal
from tests.integration.gateway.test_http_api import call
from tests.redis_server import RedisServer, running
from tests.tools import until

QUICK = ClientOptions(backoff_first_seconds=0.01, backoff_max_seconds=0.05)


def subscriptions(gateway: Gateway) -> Subscriptions:
    """The streams that a node holds, behind its ports."""
    presence: Any = gateway.node.presence
    found: Subscriptions = presence._subscriptions
    return found


@pytest.fixture
async def nodes(redis_server: RedisServer, redis_prefix: str, start_gateway: StartGateway) -> tuple[Gateway, Gateway]:
    settings = {"engine": "redis", "redis_url": redis_server.url, "redis_prefix": redis_prefix}
    return await start_gateway(**settings), await start_gateway(**settings)


async def say(gateway: Gateway, numbers: range, pause_seconds: float = 0.0) -> None:
    for number in numbers:
        while True:
            with contextlib.suppress(PublishError):
                await gateway.node.broadcaster.broadcast_to_user("user-1", create_message("n", number))
                break
            await asyncio.sleep(0.05)
        await asyncio.sleep(pause_seconds)


async def heard(device: ClientConnection, count: int) -> list[Any]:
    """Receive so many messages of the log; others are left out."""
    found: list[Any] = []
    while len(found) < count:
        message = await read(device)
        if message["type"] == "n":
            found.append(message["data"])
    return found


async def test_a_publication_reaches_the_devices_of_all_nodes_whoever_publishes(nodes: tuple[Gateway, Gateway]) -> None:
    one, two = nodes
    async with one.device() as first, two.device() as second, one.device("user-2") as other:
        for gateway in nodes:
            body = {"target": {"user": "user-1"}, "message": {"type": "note", "data": 1}}
            assert (await call(gateway, "POST", "/v1/publish", body))[1]["delivered"] == 2
            for device in (first, second):
                assert (await read(device))["data"] == 1
            body["target"] = {"all": True}
            assert (await call(gateway, "POST", "/v1/publish", body))[1]["delivered"] == 3
            for device in (first, second, other):
                assert (await read(device))["type"] == "note"


async def test_installations_in_two_databases_hear_nothing_of_each_other(
    redis_server: RedisServer, redis_prefix: str, start_gateway: StartGateway
) -> None:
    settings = {"engine": "redis", "redis_prefix": redis_prefix}
    one, two = [await start_gateway(redis_url=f"{redis_server.url}/{db}", **settings) for db in (0, 3)]
    async with one.device() as first, two.device() as second:
        for target in ({"user": "user-1"}, {"all": True}):
            for gateway in (two, one):
                body = {"target": target, "message": {"type": "n", "data": gateway.url}}
                assert (await call(gateway, "POST", "/v1/publish", body))[1]["delivered"] == 1
        assert await heard(first, 2) == [one.url] * 2
        assert await heard(second, 2) == [two.url] * 2


async def test_a_publication_that_is_not_kept_reaches_the_devices_of_a_user_too(nodes: tuple[Gateway, Gateway]) -> None:
    one, two = nodes
    async with one.device() as first, two.device() as second:
        note = Publication.of(Target(user="user-1"), create_message("note", 1))
        assert await one.node.engine.carrier.deliver(note) == Delivery(delivered=2)
        for device in (first, second):
            assert (await read(device))["data"] == 1


async def test_connections_presence_and_counters_are_those_of_all_nodes(nodes: tuple[Gateway, Gateway]) -> None:
    one, two = nodes
    async with one.device(), two.device() as second:
        for gateway in nodes:
            infos = (await call(gateway, "GET", "/v1/users/user-1/connections"))[1]["connections"]
            assert len({info["connectionId"][:4] for info in infos}) == 2
            assert (await call(gateway, "GET", "/v1/users/user-1"))[1] == {"online": True, "connections": 2}
            stats = (await call(gateway, "GET", "/v1/stats"))[1]
            assert (stats["connections"], stats["nodes"], stats["connectionsOnAllNodes"]) == (1, 2, 2)
        (theirs,) = [each["connectionId"] for each in infos if each["connectionId"] in two.node.hub._by_id]
        assert (await call(one, "DELETE", f"/v1/connections?connection={theirs.replace('=', '%3D')}"))[0] == 204
        await second.wait_closed()
        assert second.close_code == 1000


async def test_a_user_has_so_many_connections_on_all_nodes_together(
    redis_server: RedisServer, redis_prefix: str, start_gateway: StartGateway
) -> None:
    settings = {"engine": "redis", "redis_url": redis_server.url, "redis_prefix": redis_prefix}
    one, two = [await start_gateway(connections_per_user=2, **settings) for _ in range(2)]
    async with one.device(), two.device():
        for gateway in (one, two):
            assert (await refusal(f"{gateway.ws_url}?token={gateway.token()}"))[:2] == (429, "TOO_MANY_CONNECTIONS")
        async with one.device("user-2"):
            pass

    async def is_let_in() -> bool:
        with contextlib.suppress(Exception):
            async with two.device():
                return True
        return False

    await until(is_let_in)


async def test_a_plain_device_misses_nothing_when_channels_are_cut(
    nodes: tuple[Gateway, Gateway], redis_server: RedisServer
) -> None:
    one, two = nodes
    async with one.device() as first, two.device() as second:
        saying = asyncio.create_task(say(one, range(300), 0.001))
        for _ in range(5):
            await asyncio.sleep(0.05)
            await asyncio.to_thread(redis_server.command, "CLIENT", "KILL", "TYPE", "pubsub")
        await saying
        for device in (first, second):
            assert await heard(device, 300) == list(range(300))


async def test_what_devices_are_told_comes_before_the_answer_to_its_request(
    nodes: tuple[Gateway, Gateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    received = Subscriptions._received

    def late(self: Subscriptions, watched: Any, data: bytes) -> None:
        asyncio.get_running_loop().call_later(0.05, received, self, watched, data)

    monkeypatch.setattr(Subscriptions, "_received", late)
    node, _ = nodes
    for number in (1, 2):
        running = create_upload_progress_message(f"u{number}", "f.csv", 40, "")
        await node.node.broadcaster.broadcast_to_user("user-1", running)
    await say(node, range(2))
    async with node.device() as device:
        await device.send(json.dumps({"type": "hello"}))
        cursor = (await read(device))["data"]["cursor"]
        for number, (request, told) in enumerate(
            [
                ({"type": "ack", "cursor": cursor}, "seen"),
                ({"type": "cancel", "uploadId": "u1"}, "upload_progress"),
                ({"type": "read", "cursors": [cursor]}, "marks"),
                ({"type": "dismiss", "key": "upload:u1"}, "dismissed"),
                ({"type": "dismiss", "upTo": cursor}, "marks"),
                ({"type": "cancel", "uploadId": "u2"}, "upload_progress"),
                ({"type": "dismiss", "endedUpTo": 2**53 - 1}, "dismissed"),
            ]
        ):
            await device.send(json.dumps(request | {"id": str(number)}))
            assert [(await read(device))["type"] for _ in range(2)] == [told, "ok"], request


async def test_messages_that_pub_sub_drops_on_purpose_are_read_from_the_history(
    nodes: tuple[Gateway, Gateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = nodes
    received = Subscriptions._received
    count = 0

    def dropping(self: Subscriptions, watched: Any, data: bytes) -> None:
        nonlocal count
        count += 1
        if count % 5 not in (1, 3):
            received(self, watched, data)

    monkeypatch.setattr(Subscriptions, "_received", dropping)
    async with (
        one.device(max_queue=None) as first,
        Client(two.ws_url, lambda why: two.token(), options=QUICK) as client,
    ):
        await until(lambda: client.state.status == "open")
        await say(one, range(200))
        progress = [create_upload_progress_message("u1", "f.csv", number, "") for number in range(1, 101)]
        for message in progress:
            await two.node.broadcaster.broadcast_to_user("user-1", message)
        assert await heard(first, 200) == list(range(200))
        got: list[Any] = []
        states: list[int] = []
        async for each in client:
            if each.type == "n":
                got.append(each.data)
            elif each.type == "upload_progress":
                states.append(each.data["progress"])
            if len(got) == 200 and states and states[-1] == 100:
                break
        assert got == list(range(200))
        assert states == sorted(set(states))
        assert client.state.recovered is not False


async def test_an_output_buffer_that_overran_loses_nothing(
    tmp_path_factory: pytest.TempPathFactory, start_gateway: StartGateway
) -> None:
    limit = ("--client-output-buffer-limit", "pubsub 300kb 300kb 60")
    with running(tmp_path_factory.mktemp("redis"), *limit) as server:
        gateway = await start_gateway(engine="redis", redis_url=server.url)
        async with gateway.device(max_size=None) as device:
            reading = asyncio.create_task(heard(device, 61))
            await say(gateway, range(1))
            (link,) = gateway.node.presence._subscriptions._channels._links.values()
            link._transport.pause_reading()  # the node does not read for a while
            for number in range(1, 61):
                text = json.dumps([number, "x" * 100_000])
                message = create_message("n", number) if number % 2 else create_message("big", text)
                await gateway.node.broadcaster.broadcast_to_user("user-1", message)
            await asyncio.sleep(0.1)
            link._transport.resume_reading()
            await say(gateway, range(61, 92))
            numbers = [0, *range(1, 61, 2), *range(61, 92)]
            assert await reading == numbers[:61]
            assert await heard(device, len(numbers) - 61) == numbers[61:]
            assert server.command("INFO", "stats").count("client_output_buffer_limit_disconnections:0") == 0


@pytest.mark.long
async def test_a_flushed_redis_is_told_to_clients(
    tmp_path_factory: pytest.TempPathFactory, start_gateway: StartGateway
) -> None:
    with running(tmp_path_factory.mktemp("redis")) as server:
        gateway = await start_gateway(engine="redis", redis_url=server.url)
        states: list[bool | None] = []
        async with Client(gateway.ws_url, lambda why: gateway.token(), options=QUICK) as client:
            client.on_state(lambda state: states.append(state.recovered))
            await until(lambda: client.state.status == "open")
            await say(gateway, range(3))
            got = [(await anext(aiter(client))).data for _ in range(3)]
            server.command("FLUSHALL")
            await say(gateway, range(3, 6))
            got += [(await anext(aiter(client))).data for _ in range(3)]
            assert got == list(range(6))
            await until(lambda: False in states)
            await until(lambda: _count(gateway, server) == 1)


def _count(gateway: Gateway, server: RedisServer) -> int:
    keys = [each for each in server.command("KEYS", "*:conns:user:user-1").splitlines() if each]
    return int(server.command("HLEN", keys[0])) if keys else 0


async def test_a_device_that_comes_back_at_once_hears_all(nodes: tuple[Gateway, Gateway]) -> None:
    one, two = nodes
    for number in range(30):
        async with one.device() as device:
            await say(two, range(number, number + 1))
            assert await heard(device, 1) == [number]
    await until(lambda: len(subscriptions(one)) == 0)


async def test_a_handshake_that_is_aborted_leaves_nothing_in_redis(
    nodes: tuple[Gateway, Gateway], redis_server: RedisServer, redis_prefix: str
) -> None:
    one, _ = nodes

    async def knocks() -> None:
        async with one.device():
            pass

    for _ in range(30):
        knocking = asyncio.create_task(knocks())
        await asyncio.sleep(0.0015)
        knocking.cancel()
        await asyncio.wait([knocking])
    await until(lambda: not len(one.node.hub) and not len(subscriptions(one)))

    def is_clean() -> bool:
        keys = redis_server.command("KEYS", f"{redis_prefix}:*conns*")
        return not keys.strip()

    await until(is_clean)


@pytest.fixture
async def alone(
    tmp_path_factory: pytest.TempPathFactory, start_gateway: StartGateway
) -> AsyncIterator[tuple[RedisServer, Gateway]]:
    with running(tmp_path_factory.mktemp("redis"), "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server, await start_gateway(engine="redis", redis_url=server.url)


async def test_sockets_stay_while_redis_is_away_and_all_goes_on_afterwards(alone: tuple[RedisServer, Gateway]) -> None:
    server, gateway = alone
    async with gateway.device() as device:
        await say(gateway, range(5))
        server.kill()
        body = {"target": {"user": "user-1"}, "message": {"type": "n", "data": -1}}
        assert (await call(gateway, "POST", "/v1/publish", body))[0] == 503
        assert (await refusal(f"{gateway.ws_url}?token={gateway.token()}"))[0] == 503
        server.start()
        await say(gateway, range(5, 10))
        assert await heard(device, 10) == list(range(10))
        async with gateway.device() as second:
            await say(gateway, range(10, 12))
            assert await heard(second, 2) == await heard(device, 2) == [10, 11]


async def test_with_a_full_memory_nodes_start_devices_come_and_read_and_users_are_shut_out(
    alone: tuple[RedisServer, Gateway], start_gateway: StartGateway
) -> None:
    server, gateway = alone
    await say(gateway, range(2))
    server.command("CONFIG", "SET", "maxmemory", "1mb")
    body = {"target": {"user": "user-1"}, "message": {"type": "n", "data": -1}}
    assert (await call(gateway, "POST", "/v1/publish", body))[0] == 503
    async with gateway.device() as device:
        await device.send(json.dumps({"type": "hello", "cursor": "start"}))
        welcome = await read(device)
        assert [each["data"] for each in welcome["data"]["messages"]] == [0, 1]
        server.command("CONFIG", "SET", "maxmemory", "0")
        await say(gateway, range(2, 3))
        assert await heard(device, 1) == [2]
    server.command("CONFIG", "SET", "maxmemory", "1mb")
    other = await start_gateway(engine="redis", redis_url=server.url)
    async with other.device() as device:
        await until(lambda: _count(gateway, server) == 1)
        body = {"until": gateway.node._clock.now() + 60, "reason": "abuse"}
        assert (await call(gateway, "POST", "/v1/users/user-1/disconnect", body))[:2] == (200, {"closed": 1})
        await device.wait_closed()
        assert device.close_code == 4403
