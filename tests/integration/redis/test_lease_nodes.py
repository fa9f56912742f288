"""The leases of real nodes, with Redis's own clock: a node and its workers die, and Redis goes away."""

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

import tellwire
from tellwire.carriers.http import HttpCarrier
from tellwire.engines.redis.producer import RedisProducer
from tellwire.errors import RequestRunning
from tellwire.messages import UploadProgress, UploadProgressMessage
from tellwire.model import Target, timestamp
from tellwire.shut_out import ShutOut
from tests.conftest import API_KEY, SECRET, Gateway, StartGateway, read
from tests.integration.test_cli import own_state, serving
from tests.publications import publication
from tests.redis_server import RedisCluster, RedisServer, running

__all__ = ["own_state"]


async def statuses(device: ClientConnection, until: str) -> list[str]:
    """Return the statuses of an upload that a device is told, up to one of them."""
    found: list[str] = []
    async with asyncio.timeout(100):
        while until not in found:
            message = await read(device)
            if message["type"] == "upload_progress":
                found.append(message["data"].get("status", "running"))
    return found


def state(lease_seconds: float) -> Any:
    data = UploadProgress(
        upload_id="u1", file_name="f.csv", progress=10, message="", run="r", lease_seconds=lease_seconds
    )
    return publication(Target(user="user-1"), UploadProgressMessage(data, timestamp()))


@pytest.mark.long
async def test_a_worker_is_missed_although_the_node_that_heard_it_last_was_killed(
    start_gateway: StartGateway, redis_server: RedisServer, redis_prefix: str
) -> None:
    on_redis = {"engine": "redis", "redis_url": redis_server.url, "redis_prefix": redis_prefix}
    environment: dict[str, Any] = {f"TELLWIRE_{name.upper()}": value for name, value in on_redis.items()}
    survivor = await start_gateway(**on_redis)
    secrets: dict[str, Any] = {"TELLWIRE_JWT_SECRET": SECRET, "TELLWIRE_API_KEY": API_KEY}
    async with survivor.device() as device, serving(**environment, **secrets) as node:
        carrier = HttpCarrier(node.url, API_KEY)
        await carrier.deliver(state(lease_seconds=2))
        node.process.send_signal(signal.SIGKILL)
        await node.process.wait()
        assert await statuses(device, "failed") == ["running", "stalled", "failed"]
        await carrier.close()


@pytest.mark.long
async def test_nobody_is_missed_because_redis_was_frozen(start_gateway: StartGateway, tmp_path: Path) -> None:
    with running(tmp_path / "redis") as server:
        gateway = await start_gateway(engine="redis", redis_url=server.url)
        producer = RedisProducer(server.url)
        async with gateway.device() as device:
            await producer.deliver(state(lease_seconds=3))
            assert await statuses(device, "running") == ["running"]
            server.freeze()
            await asyncio.sleep(5)
            server.thaw()
            await producer.deliver(state(lease_seconds=3))
            await asyncio.sleep(1)
            await producer.deliver(publication(Target(user="user-1"), tellwire.create_message("end", None)))
            assert await next_types(device) == ["upload_progress", "end"]
        await producer.close()


async def next_types(device: ClientConnection) -> list[str]:
    found: list[str] = []
    async with asyncio.timeout(100):
        while "end" not in found:
            message = await read(device)
            assert message["data"] is None or message["data"].get("status", "running") == "running"
            found.append(message["type"])
    return found


@pytest.mark.long
async def test_in_a_cluster_uploads_row_errors_and_shut_outs_are_as_elsewhere(
    start_gateway: StartGateway, redis_cluster: RedisCluster, redis_prefix: str
) -> None:
    on_redis = {"engine": "redis", "redis_url": redis_cluster.url, "redis_prefix": redis_prefix}
    nodes = [await start_gateway(**on_redis) for _ in range(2)]
    producer = RedisProducer(redis_cluster.url, prefix=redis_prefix)
    eu = tellwire.Broadcaster(producer)
    for number in range(4):
        user = f"user-{number}"
        node: Gateway = nodes[number % 2]
        async with node.device(user) as device:
            assert (await eu.broadcast_to_user(user, tellwire.create_message("note", number))).delivered == 1
            assert (await read(device))["data"] == number
            async with tellwire.track_upload(user, "u1", "f.csv", 3, broadcaster=eu) as upload:
                async for row in upload.count(range(3)):
                    upload.row_error(row, "BAD", "bad")
            assert upload.failures == 0
            assert await statuses(device, "complete")
            store = node.node.engine.row_errors
            assert store is not None
            found = await store.row_error_list(user, "u1")
            assert found is not None
            assert found.kept == 3
            await store.forget(user)
            assert await store.row_error_list(user, "u1") is None
        first, second = (each.node.engine.requests for each in nodes)
        assert first is not None
        assert second is not None
        assert await first.begin(user, "r1") is None
        with pytest.raises(RequestRunning):
            await second.begin(user, "r1")
        await second.forget(user)
        assert await second.begin(user, "r1") is None
    async with nodes[0].device() as device:
        await producer.deliver(state(lease_seconds=1))
        assert await statuses(device, "failed") == ["running", "stalled", "failed"]
        shut_outs = nodes[1].node.engine.shut_outs
        assert shut_outs is not None
        assert await shut_outs.shut_out(ShutOut.of("user-1", time.time() + 60)) == 1
        await device.wait_closed()
        assert device.close_code == 4403
    await producer.close()
