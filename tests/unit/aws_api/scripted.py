"""A scripted HTTP service on this machine, which records its requests."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any


@dataclass(frozen=True)
class ReceivedRequest:
    """A received request: `target` is the path and query on the wire, header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Response:
    """A response. `promised_bytes`: its `Content-Length`, if not the real one."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    promised_bytes: int | None = None

    def encode(self) -> bytes:
        length = len(self.body) if self.promised_bytes is None else self.promised_bytes
        lines = [f"HTTP/1.1 {self.status} -", f"Content-Length: {length}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


class Drops:
    """The connection ends without a response."""


class Hangs:
    """The response never comes."""


Step = Response | Drops | Hangs | Callable[[ReceivedRequest], Awaitable["Step"]]

OK = Response()
DROPS = Drops()
HANGS = Hangs()


def api_gateway_error(status: int, error_type: str, message: str = "no", date: float | None = None) -> Response:
    """Return an error in API Gateway's form: its name is in a header."""
    headers = {"x-amzn-ErrorType": error_type} | ({} if date is None else {"Date": formatdate(date, usegmt=True)})
    return Response(status, json.dumps({"message": message}).encode(), headers)


def dynamodb_error(error_type: str, message: str = "no", date: float | None = None) -> Response:
    """Return an error in DynamoDB's form: 400, its name is in the body."""
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{error_type}", "message": message}
    return Response(400, json.dumps(body).encode(), {} if date is None else {"Date": formatdate(date, usegmt=True)})


class Service:
    """A service. `steps` are its responses in order; the last one is also that of all further requests."""

    def __init__(self, *steps: Step) -> None:
        self.url = ""
        self.steps = list(steps) or [OK]
        self.requests: list[ReceivedRequest] = []
        self.connections = 0
        self._stopped = asyncio.Event()
        self._handlers: list[asyncio.Task[None] | None] = []

    @contextlib.asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["Service"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}" if tls is None else f"https://localhost:{port}"
        try:
            yield self
        finally:
            server.close()
            self._stopped.set()
            await asyncio.gather(*filter(None, self._handlers))
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._handlers.append(asyncio.current_task())
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while await self._respond(reader, writer):
                pass
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def _respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = await self._read_unless_stopped(reader)
        if request is None:
            return False
        self.requests.append(request)
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        while callable(step):
            step = await step(request)
        if isinstance(step, Hangs):
            await self._stopped.wait()
        if not isinstance(step, Response):
            return False
        writer.write(step.encode())
        await writer.drain()
        return step.promised_bytes is None

    async def _read_unless_stopped(self, reader: asyncio.StreamReader) -> ReceivedRequest | None:
        reading = asyncio.ensure_future(_read(reader))
        stopping = asyncio.ensure_future(self._stopped.wait())
        await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not reading.done():
            reading.cancel()
            return None
        return await reading


async def _read(reader: asyncio.StreamReader) -> ReceivedRequest:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip(" ") for name, _, value in (line.partition(":") for line in lines)}
    return ReceivedRequest(method, target, headers, await reader.readexactly(int(headers.get("content-length", 0))))
