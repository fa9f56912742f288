"""One address before several gateways: a TCP forwarder that passes each connection to a gateway that is ready.

    python -m bench.forwarder PORT GATEWAY_PORT…

It asks every gateway for `/readyz` a few times a second. A dead one, one that does not answer and one that drains get
no new connections; the others get theirs in turn, whoever has fewest first. It stands for the load balancer of a real
installation: it knows nothing of WebSockets or of Redis.
"""

import asyncio
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, cast

import uvloop

_CHECK_SECONDS: Final = 0.2
_ANSWER_SECONDS: Final = 1.0
_CONNECT_SECONDS: Final = 1.0
_READY: Final = b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


@dataclass(eq=False)
class Backend:
    """A gateway behind the address. `connections` are those that it has from here."""

    port: int
    is_ready: bool = False
    connections: int = 0
    chosen_at: int = 0

    async def watch(self) -> None:
        """Ask for `/readyz`, again and again."""
        while True:
            self.is_ready = await self._answers()
            await asyncio.sleep(_CHECK_SECONDS)

    async def _answers(self) -> bool:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_ANSWER_SECONDS):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    writer.write(_READY)
                    return (await reader.readline()).startswith(b"HTTP/1.1 200")
                finally:
                    writer.transport.abort()
        return False


class _End(asyncio.Protocol):
    """One end of a connection through here. Whatever it reads is written to the other one."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _End | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        assert self.other is not None
        assert self.other.transport is not None
        self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if self.other is None or self.other.transport is None:
            return
        # A close is passed on after the bytes before it; a reset as a reset.
        if error is None:
            self.other.transport.close()
        else:
            self.other.transport.abort()


class _Front(_End):
    """A client's end: nothing is read before a gateway has taken the connection."""

    def __init__(self, forwarder: "Forwarder") -> None:
        super().__init__()
        self._forwarder = forwarder
        self._backend: Backend | None = None
        self._joining: asyncio.Task[None] | None = None
        self._early = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.pause_reading()
        self._joining = asyncio.create_task(self._join(self.transport))

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            # uvloop still gives what it has read when it is told to pause.
            self._early += data
        else:
            super().data_received(data)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        if self._joining is not None:
            self._joining.cancel()
        if self._backend is not None:
            self._backend.connections -= 1
            self._backend = None

    async def _join(self, transport: asyncio.Transport) -> None:
        for backend in self._forwarder.choices():
            back = await self._connect(backend)
            if back is None:
                backend.is_ready = False
                continue
            if transport.is_closing():
                cast("asyncio.Transport", back.transport).abort()
                return
            self.other, self._backend = back, backend
            backend.connections += 1
            self.data_received(bytes(self._early))
            transport.resume_reading()
            return
        transport.abort()

    async def _connect(self, backend: Backend) -> _End | None:
        back = _End()
        back.other = self
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await asyncio.get_running_loop().create_connection(lambda: back, "127.0.0.1", backend.port)
        except (OSError, TimeoutError):
            return None
        return back


class Forwarder:
    """The address: `port` of loopback, before gateways on `backend_ports`."""

    def __init__(self, port: int, backend_ports: list[int]) -> None:
        self._port = port
        self.backends = [Backend(each) for each in backend_ports]
        self._turn = 0

    def choices(self) -> list[Backend]:
        """Return the gateways that are ready: that with the fewest connections first, among equals the next in turn."""
        ready = sorted(
            (each for each in self.backends if each.is_ready), key=lambda each: (each.connections, each.chosen_at)
        )
        if ready:
            self._turn += 1
            ready[0].chosen_at = self._turn
        return ready

    async def run(self) -> None:
        """Forward until SIGTERM."""
        loop = asyncio.get_running_loop()
        is_ended = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, is_ended.set)
        loop.add_signal_handler(signal.SIGINT, is_ended.set)
        async with asyncio.TaskGroup() as group:
            watching = [group.create_task(each.watch()) for each in self.backends]
            server = await loop.create_server(lambda: _Front(self), "127.0.0.1", self._port)
            print(f"forwarding from {server.sockets[0].getsockname()[1]}", flush=True)
            await is_ended.wait()
            server.close()
            for task in watching:
                task.cancel()


def main(arguments: list[str]) -> None:
    """Run the forwarder. `arguments` are its port, and those of the gateways."""
    port, *backends = map(int, arguments)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Forwarder(port, backends).run())


if __name__ == "__main__":
    main(sys.argv[1:])
