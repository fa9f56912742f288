"""The same conversation in a FastAPI program on the servers that people use."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tellwire.auth import mint_token
from tellwire.client import Client
from tests.conftest import SECRET, offered
from tests.integration.asgi.servers import COMMANDS, Host, running

WAIT = 60.0


def token(user: str = "ada", seconds: float = 3600) -> str:
    return mint_token(SECRET, user, seconds)


OTHERS = [each for each in COMMANDS if each not in ("uvicorn", "gunicorn")]


@pytest.fixture(params=["uvicorn", *(pytest.param(each, marks=pytest.mark.long) for each in OTHERS)])
async def host(request: pytest.FixtureRequest) -> AsyncIterator[Host]:
    """A FastAPI program with the gateway at /live, on each of the servers."""
    async with running(request.param) as host:
        yield host
    assert not host.has_logged("Traceback"), "\n".join(host.log)
    if request.param.startswith("uvicorn"):
        assert host.has_logged('"GET /live/healthz HTTP/1.1" 200')  # its access log is its own


async def next_of(client: Client) -> Any:
    return await asyncio.wait_for(anext(aiter(client)), WAIT)


async def opened(client: Client) -> None:
    changed = asyncio.Event()
    client.on_state(lambda _: changed.set())
    async with asyncio.timeout(WAIT):
        while client.state.status != "open":
            await changed.wait()
            changed.clear()


async def test_a_conversation_on_every_server(host: Host) -> None:
    await the_host_is_untouched(host)
    await messages_arrive_and_are_recovered(host)
    await refusals_and_closes_are_told(host)
    await a_slow_consumer_is_closed(host)


async def the_host_is_untouched(host: Host) -> None:
    document = (await host.call("GET", "/openapi.json")).json()
    assert document["info"]["title"] == "host"
    assert "/v1/publish" not in document["paths"]
    own = (await host.call("GET", "/live/openapi.json")).json()
    assert "/v1/publish" in own["paths"]
    assert own["servers"] == [{"url": "/live"}]
    assert (await host.call("GET", "/live/healthz")).json() == {"status": "ok"}
    assert (await host.call("GET", "/live/nothing")).status_code == 404
    async with connect(f"{host.url.replace('http', 'ws')}/echo", proxy=None) as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello"


async def messages_arrive_and_are_recovered(host: Host) -> None:
    async with Client(f"{host.url}/live/", lambda why: token()) as client:
        await opened(client)
        message = {"type": "said", "data": {"text": "over HTTP"}}
        answer = await host.call("POST", "/live/v1/publish", {"target": {"user": "ada"}, "message": message})
        assert (answer.status_code, answer.json()["delivered"]) == (200, 1)
        assert (await next_of(client)).data["text"] == "over HTTP"
        assert (await host.call("POST", "/say/ada/broadcast")).json() == 1
        assert (await next_of(client)).data["text"] == "broadcast"
        assert (await host.call("POST", "/say-from-a-thread/ada/thread")).json() == 1
        assert (await next_of(client)).data["text"] == "thread"
        answer_of_handler = await client.send("add", [1, 2])
        assert answer_of_handler is not None
        assert answer_of_handler.data == 3
        cursors = client.cursors
    assert (await host.call("POST", "/say/ada/missed")).json() == 0
    async with Client(f"{host.url}/live/", lambda why: token(), cursors=cursors) as client:
        assert (await next_of(client)).data["text"] == "missed"
        assert client.state.recovered


async def refusals_and_closes_are_told(host: Host) -> None:
    url = f"{host.url.replace('http', 'ws')}/live/any/path"
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{url}?token=nonsense", proxy=None)
    assert refused.value.response.status_code in (401, 403)
    async with connect(url, subprotocols=offered("nonsense"), proxy=None) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(socket.recv(), WAIT)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason.split(":")[0]) == (4401, "TOKEN_INVALID")
    async with connect(url, subprotocols=offered(token("bob", 2)), proxy=None) as socket:
        assert socket.subprotocol == "tellwire.v1"
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(socket.recv(), WAIT)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401


async def a_slow_consumer_is_closed(host: Host) -> None:
    url = f"{host.url.replace('http', 'ws')}/live/"
    async with connect(
        url, subprotocols=offered(token("slow")), proxy=None, max_queue=1, compression=None, close_timeout=1
    ) as socket:
        # It takes no message, and the system's buffers are full after some megabytes.
        for _ in range(40):
            if (await host.call("POST", "/say/slow/much?count=20&size=50000")).json() == 0:
                break
        else:
            pytest.fail("it was never behind")
        with pytest.raises(ConnectionClosed) as closed:
            async with asyncio.timeout(WAIT):
                while True:
                    await socket.recv()
    assert closed.value.rcvd is None or closed.value.rcvd.code == 1013
    assert host.has_logged("closing")
