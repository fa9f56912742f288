"""Several workers of one server, and its end."""

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tellwire.auth import mint_token
from tests.conftest import API_KEY, SECRET, offered
from tests.integration.asgi.servers import COMMANDS, running
from tests.redis_server import RedisServer

REFUSED = "this server runs several workers, and the engine memory is for one process"
PUBLISH = {"target": {"user": "ada"}, "message": {"type": "said", "data": 1}}


@pytest.mark.parametrize(
    "server",
    [pytest.param(each, marks=pytest.mark.long) for each in ("hypercorn", "granian", "gunicorn")] + ["uvicorn"],
)
async def test_a_second_worker_is_refused_with_a_sentence(server: str) -> None:
    async with running(server, "--workers", "2") as host, asyncio.timeout(100):
        while not host.has_logged(REFUSED):
            await asyncio.sleep(0.05)


async def test_on_redis_each_worker_is_a_node(redis_server: RedisServer, redis_prefix: str) -> None:
    redis = {"HOST_REDIS_URL": redis_server.url, "HOST_REDIS_PREFIX": redis_prefix}
    async with running("uvicorn", "--workers", "2", **redis) as host:
        url = f"{host.url.replace('http', 'ws')}/live/"
        for _ in range(3):
            async with connect(url, subprotocols=offered(mint_token(SECRET, "ada")), proxy=None) as socket:
                answer = await host.call("POST", "/live/v1/publish", PUBLISH, key=API_KEY)
                assert answer.json()["delivered"] == 1
                assert "said" in str(await asyncio.wait_for(socket.recv(), 60))
        assert not host.has_logged(REFUSED)


@pytest.mark.parametrize("server", [each for each in COMMANDS if each != "gunicorn"])
@pytest.mark.parametrize("lifespan", ["1", "0"])
@pytest.mark.long
async def test_sockets_and_the_engine_end_with_the_server(server: str, lifespan: str) -> None:
    async with running(server, HOST_LIFESPAN=lifespan) as host:
        url = f"{host.url.replace('http', 'ws')}/live/"
        async with connect(url, subprotocols=offered(mint_token(SECRET, "ada")), proxy=None) as socket:
            stopping = asyncio.create_task(host.stop())
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(socket.recv(), 60)
            assert await stopping in (0, -15)  # uvicorn raises the signal again
    for text in ("was destroyed", "never retrieved", "ResourceWarning", "tellwire_app"):
        assert not host.has_logged(text), "\n".join(host.log)
    assert host.has_logged("INFO:host:closed") == (lifespan == "1")
