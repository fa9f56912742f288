"""A network that falls silent, between a client and a server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class BlackHole:
    """A TCP proxy whose connections can fall silent, as behind a NAT that forgot them: nobody is told."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._pipes: set[asyncio.Task[None]] = set()
        self._passes = asyncio.Event()
        self._passes.set()

    def swallow(self) -> None:
        """Swallow every byte from now on, in either direction."""
        self._passes.clear()

    def restore(self, port: int | None = None) -> None:
        """Pass new connections on again, perhaps to another port; the old ones stay silent."""
        self._port = port or self._port
        self._passes.set()

    def drop(self) -> None:
        """Close all connections."""
        for pipe in self._pipes:
            pipe.cancel()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            self.drop()
            await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._passes.wait()
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
        for source, sink in ((reader, there_writer), (there_reader, writer)):
            task = asyncio.create_task(self._pipe(source, sink))
            self._pipes.add(task)
            task.add_done_callback(self._pipes.discard)

    async def _pipe(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            try:
                while data := await source.read(65536):
                    if not self._passes.is_set():
                        await asyncio.Event().wait()
                    sink.write(data)
                    await sink.drain()
            finally:
                sink.close()
