"""Channels in a Redis Cluster, behind Sentinels, and with a user of an ACL."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from redis.crc import key_slot
from websockets.exceptions import InvalidStatus

from tellwire import create_message
from tellwire.client import Client
from tellwire.engines.redis.keys import Names
from tellwire.publication import user_stream
from tests.conftest import Gateway, StartGateway
from tests.integration.redis.test_delivery import QUICK, heard, say
from tests.redis_server import RedisCluster, Sentinels, running
from tests.tools import until


@pytest.fixture
async def clustered(
    redis_cluster: RedisCluster, redis_prefix: str, start_gateway: StartGateway
) -> tuple[Gateway, Gateway]:
    settings: dict[str, Any] = {"engine": "redis", "redis_url": redis_cluster.url, "redis_prefix": redis_prefix}
    return await start_gateway(**settings), await start_gateway(**settings)


async def test_users_of_all_masters_hear_their_messages(clustered: tuple[Gateway, Gateway]) -> None:
    one, two = clustered
    users = [f"user-{number}" for number in range(20)]
    for user in users:
        async with one.device(user) as first, two.device(user) as second:
            for number in range(5):
                delivery = await two.node.broadcaster.broadcast_to_user(user, create_message("n", number))
                assert delivery.delivered == 2
            for device in (first, second):
                assert await heard(device, 5) == list(range(5))
            (info, _) = await one.node.presence.connections(user)
            delivery = await two.node.broadcaster.broadcast_to_connection(info.connection_id, create_message("n", 5))
            assert delivery.delivered == 1


async def test_a_slot_that_moves_takes_its_channels_along(
    clustered: tuple[Gateway, Gateway], redis_cluster: RedisCluster, redis_prefix: str
) -> None:
    one, two = clustered
    key = Names(redis_prefix).channel(user_stream("user-1"))
    source = redis_cluster.server_of(key)
    target = next(each for each in redis_cluster.servers if each is not source)
    async with one.device() as device:
        saying = asyncio.create_task(say(two, range(200), 0.002))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(redis_cluster.move_slot, key_slot(key), source, target)
        await saying
        assert await heard(device, 200) == list(range(200))
        assert await one.node.presence.count("user-1") == 1


@pytest.mark.long
async def test_a_user_of_an_acl_needs_no_more_than_the_documented_rights(
    tmp_path_factory: pytest.TempPathFactory, start_gateway: StartGateway
) -> None:
    with running(tmp_path_factory.mktemp("redis")) as server:
        rights = "+@all -@admin -@dangerous +info"
        server.command("ACL", "SETUSER", "live", "on", ">sesame", "~tw:*", "&tw:*", *rights.split())
        url = f"redis://live:sesame@127.0.0.1:{server.port}"
        gateway = await start_gateway(engine="redis", redis_url=url, redis_prefix="tw")
        async with gateway.device() as device:
            await say(gateway, range(3))
            assert await heard(device, 3) == [0, 1, 2]
        server.command("ACL", "SETUSER", "live", "resetchannels", "&other:*")
        with pytest.raises(InvalidStatus, match="503"):
            async with gateway.device("user-2"):
                pass
        server.command("ACL", "SETUSER", "live", "&tw:*")

        async def is_let_in() -> bool:
            with contextlib.suppress(InvalidStatus):
                async with gateway.device("user-2"):
                    return True
            return False

        await until(is_let_in)


@pytest.mark.long
async def test_connected_devices_hear_all_and_once_through_a_fail_over_that_loses_messages(
    tmp_path: Path, start_gateway: StartGateway
) -> None:
    sentinels = Sentinels(tmp_path, "--repl-diskless-sync-delay", "0")
    try:
        await asyncio.to_thread(sentinels.start)
        gateway = await start_gateway(engine="redis", redis_url=sentinels.url)
        master, replica = sentinels.servers
        recovered: list[bool | None] = []
        async with (
            gateway.device(max_queue=None) as device,
            Client(gateway.ws_url, lambda why: gateway.token(), options=QUICK) as client,
        ):
            client.on_state(lambda state: recovered.append(state.recovered))
            await until(lambda: client.state.status == "open")
            await say(gateway, range(5))
            replica.freeze()
            master.command("CLIENT", "KILL", "TYPE", "replica")
            await say(gateway, range(5, 10))
            assert await heard(device, 10) == list(range(10))
            await asyncio.to_thread(master.kill)
            replica.thaw()
            await until(lambda: "role:master" in replica.command("INFO", "replication"))
            await say(gateway, range(10, 20))
            got: list[object] = []
            async for message in client:
                got.append(message.data)
                if got[-1] == 19:
                    break
            assert got == list(range(20))
            assert False in recovered
            assert await heard(device, 1) == [10]
            assert await gateway.node.presence.count("user-1") == 2
    finally:
        sentinels.kill()
