"""Servers that do as a test says, on real sockets, and a clock for computers that sleep."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol
from websockets.utils import accept_key

from tellwire.client import Client, ConnectionState
from tellwire.testing import FakeClock

Handler = Callable[[ServerConnection], Awaitable[None]]


class SleepyClock(FakeClock):
    """A clock of a computer that can sleep: the time goes on, and nobody is woken."""

    _slept = 0.0

    def now(self) -> float:
        return super().now() + self._slept

    def sleep_through(self, seconds: float) -> None:
        self._slept += seconds


@dataclass
class Scripted:
    """A server. It answers handshakes with `answers`, one after the other, and then lets everybody in."""

    port: int = 0
    answers: list[Response] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    devices: list[ServerConnection] = field(default_factory=list)
    heard: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def tokens(self) -> list[str]:
        """The tokens of all handshakes, from the subprotocol."""
        return [request.headers["Sec-WebSocket-Protocol"].split("token.")[1] for request in self.requests]


def answer(status: int, body: Any = None, **headers: str) -> Response:
    """Return an answer to a handshake, with JSON in it."""
    named = Headers({name.replace("_", "-"): value for name, value in headers.items()})
    content = b"" if body is None else json.dumps(body).encode()
    named["Content-Length"] = str(len(content))
    return Response(status, "Whatever", named, content)


async def stays(device: ServerConnection) -> None:
    """Answer pings, and nothing else."""
    async for text in device:
        if json.loads(text)["type"] == "ping":
            await device.send('{"type":"pong"}')


@asynccontextmanager
async def scripted(handler: Handler = stays, *answers: Response) -> AsyncIterator[Scripted]:
    """Run a server whose `handler` speaks with each device."""
    script = Scripted(answers=list(answers))

    def answered(_: ServerConnection, request: Request) -> Response | None:
        script.requests.append(request)
        return script.answers.pop(0) if script.answers else None

    def chosen(_: ServerConnection, offered: Any) -> Subprotocol | None:
        return Subprotocol("tellwire.v1") if offered else None

    async def speak(device: ServerConnection) -> None:
        script.devices.append(device)
        await handler(device)

    server: Server
    async with serve(
        speak,
        "127.0.0.1",
        0,
        process_request=answered,
        select_subprotocol=chosen,
        ping_interval=None,
        close_timeout=0.5,
    ) as server:
        script.port = server.sockets[0].getsockname()[1]
        yield script


@asynccontextmanager
async def mute(*, greets: bool, reads: bool = True) -> AsyncIterator[str]:
    """Run a server that says nothing: after the 101, or, unless it `greets`, nothing at all."""
    ended = asyncio.Event()

    async def neglect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            if greets:
                key = next(line.split(": ")[1] for line in head.split("\r\n") if line.startswith("Sec-WebSocket-Key"))
                writer.write(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    + f"Sec-WebSocket-Accept: {accept_key(key)}\r\n\r\n".encode()
                )
            await (reader.read() if reads else ended.wait())
        writer.transport.abort()

    server = await asyncio.start_server(neglect, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ended.set()


async def reached(client: Client, status: str) -> ConnectionState:
    """Wait until the client is in a state, and return it."""
    states: asyncio.Queue[ConnectionState] = asyncio.Queue()
    forget = client.on_state(states.put_nowait)
    states.put_nowait(client.state)
    async with asyncio.timeout(60):
        while (state := await states.get()).status != status:
            pass
    forget()
    return state


async def passes(clock: FakeClock, client: Client, seconds: float, step_seconds: float = 4.0) -> None:
    """Advance the time of a client whose server answers its pings, within every step."""
    end = clock.now() + seconds
    while (left := end - clock.now()) > 0:
        await clock.advance(min(left, step_seconds))
        async with asyncio.timeout(60):
            while _awaits_pong(client):
                await asyncio.sleep(0)
        await asyncio.sleep(0.0005)


def _awaits_pong(client: Client) -> bool:
    link = client._machine._current
    return link is not None and link._answer_by < inf
