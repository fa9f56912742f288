"""One WebSocket of another program's server, with a server that a test plays."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tellwire.asgi.connection import AsgiConnection, TextMessage
from tellwire.carriers.hub import Sent
from tellwire.errors import TokenInvalid
from tellwire.model import Identity
from tellwire.server.handshake import UpgradeRequest
from tellwire.server.outbox import OutboxBounds
from tellwire.server.sockets import SocketLimits, Sockets
from tellwire.testing import FakeClock


class Application:
    """An application that accepts, and remembers."""

    def __init__(self) -> None:
        self.refusal: Exception | None = None
        self.texts: list[str] = []
        self.ends: list[tuple[int, str]] = []
        self.abandons = 0
        self.expires_at = 4e9

    def authorize(self, connection: Any, request: Any) -> str | None:
        if self.refusal is not None:
            raise self.refusal
        connection.identify(Identity("ada", self.expires_at))
        return "tellwire.v1"

    def abandoned(self, connection: Any) -> None:
        self.abandons += 1

    def opened(self, connection: Any) -> None:
        pass

    def received(self, connection: Any, text: str) -> None:
        self.texts.append(text)

    def overran(self, connection: Any) -> None:
        raise AssertionError

    def close_when_idle(self, connection: Any) -> None:
        connection.close(1012, "Service restart")

    def closed(self, connection: Any, code: int, reason: str) -> None:
        self.ends.append((code, reason))


class Server:
    """A server with one connection. While `may_send` is not set, its client takes nothing."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.application = Application()
        limits = SocketLimits(outbox=OutboxBounds(4, 400), idle_timeout_seconds=600, max_connection_seconds=7200)
        self.sockets = Sockets(self.application, self.clock, limits)
        self.sent: list[Any] = []
        self.events: asyncio.Queue[Any] = asyncio.Queue()
        self.may_send = asyncio.Event()
        self.may_send.set()
        self.connection = AsgiConnection(self.sockets, self.application, {"client": ("192.0.2.1", 5)}, self._send)
        request = UpgradeRequest("/", "", {"sec-websocket-protocol": "tellwire.v1"})
        self.task = asyncio.create_task(self.connection.serve(request, self.events.get))

    async def _send(self, event: Any) -> None:
        await self.may_send.wait()
        self.sent.append(event)
        if event["type"] == "websocket.close":
            self.events.put_nowait({"type": "websocket.disconnect", "code": event["code"]})

    async def turns(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    @property
    def texts(self) -> list[str]:
        return [each["text"] for each in self.sent if each["type"] == "websocket.send"]

    def send(self, text: str, key: str | None = None, *, is_final: bool = False) -> Sent:
        return self.connection.send(TextMessage(text.encode()), self.clock.now(), key, is_final=is_final)

    async def close_code(self) -> int:
        await asyncio.wait_for(self.task, 60)
        assert self.sent[-1]["type"] == "websocket.close"
        return int(self.sent[-1]["code"])


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A connection that is open."""
    server = Server()
    await server.turns()
    yield server
    server.task.cancel()
    await asyncio.wait([server.task])


async def test_messages_go_both_ways(server: Server) -> None:
    server.events.put_nowait({"type": "websocket.receive", "text": "hello"})
    assert server.send("a") is Sent.DELIVERED
    await server.connection.drained()
    assert server.sent[0] == {"type": "websocket.accept", "subprotocol": "tellwire.v1"}
    assert (server.texts, server.application.texts) == (["a"], ["hello"])
    assert server.connection.info().user_id == "ada"
    assert server.connection.peer_address == "192.0.2.1"


async def test_many_messages_of_one_turn_are_no_sign_of_a_slow_client(server: Server) -> None:
    assert {server.send(str(number)) for number in range(50)} == {Sent.DELIVERED}
    await server.connection.drained()
    assert server.texts == [str(number) for number in range(50)]


async def test_states_of_a_client_that_is_behind_are_conflated(server: Server) -> None:
    server.may_send.clear()
    server.send("first")
    await server.turns()
    for number in range(20):
        assert server.send(f"progress {number}", "upload") is Sent.DELIVERED
    server.send("done", "upload", is_final=True)
    assert [each.waiting for each in server.sockets.behind] == [(1, len("done"))]
    server.may_send.set()
    await server.connection.drained()
    assert server.texts == ["first", "done"]
    assert not server.sockets.behind


async def test_states_of_a_client_that_keeps_up_are_not_conflated(server: Server) -> None:
    for number in range(3):
        server.send(f"progress {number}", "upload")
    await server.turns()
    assert server.texts == ["progress 0", "progress 1", "progress 2"]


async def test_a_slow_consumer_is_closed_with_1013_and_cut_if_it_takes_no_close(server: Server) -> None:
    server.may_send.clear()
    server.send("first")
    await server.turns()
    assert [server.send("more") for _ in range(5)] == [*[Sent.DELIVERED] * 4, Sent.FAILED]
    assert server.send("after") is Sent.GONE
    assert server.sockets.slow_closed == 1
    await server.clock.advance(10)
    server.connection.check_deadlines(server.clock.monotonic())
    await asyncio.wait_for(server.task, 60)
    assert server.application.ends == [(1013, "Too slow: come back")]


async def test_a_cancelled_server_task_stays_cancelled(server: Server) -> None:
    server.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await server.task
    assert server.application.ends == [(1006, "")]


@pytest.mark.parametrize(
    ("event", "code"),
    [({"bytes": b"x"}, 1003), ({"text": "x" * 140_000}, 1009), ({"text": "é" * 70_000}, 1009)],
)
async def test_a_message_that_is_not_allowed_ends_the_connection(server: Server, event: Any, code: int) -> None:
    server.events.put_nowait({"type": "websocket.receive", **event})
    assert await server.close_code() == code
    assert server.application.texts == []


async def test_a_client_that_goes_is_closed_with_its_code(server: Server) -> None:
    server.events.put_nowait({"type": "websocket.disconnect", "code": 1001, "reason": "bye"})
    await asyncio.wait_for(server.task, 60)
    assert server.application.ends == [(1001, "bye")]
    assert not server.connection.is_open


@pytest.mark.parametrize(("seconds", "code"), [(601, 1001), (3601, 4401)])
async def test_an_idle_connection_and_an_expired_token_are_closed(seconds: int, code: int, server: Server) -> None:
    if code == 4401:
        server.connection.identify(Identity("ada", server.clock.now() + 3600))
    await server.clock.advance(seconds)
    server.connection.check_deadlines(server.clock.monotonic())
    assert await server.close_code() == code


async def test_a_client_that_is_refused_is_never_open() -> None:
    server = Server()
    server.application.refusal = TokenInvalid("it is malformed")
    await asyncio.wait_for(server.task, 60)
    assert [each["type"] for each in server.sent] == ["websocket.accept", "websocket.close"]
    assert server.sent[1]["code"] == 4401
    assert server.application.ends == []
    assert not server.connection.is_open


async def test_a_client_that_is_gone_before_the_accept_is_not_counted() -> None:
    server = Server()
    server.may_send.clear()
    await server.turns()
    server.task.cancel()
    await asyncio.wait([server.task])
    assert server.application.abandons == 1
