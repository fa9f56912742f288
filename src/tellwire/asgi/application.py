"""The gateway as an ASGI application, to be mounted in a program of FastAPI, Starlette, Litestar or Django.

    websocket ─▶ any path ─▶ sockets │ http ─▶ the HTTP API, below the mount │ lifespan ─▶ its own, if it is the root

It opens with the lifespan of its host, or with the first request, since hosts do not run the lifespan of what they
mount. It touches nothing of its host: no logger, no signal, no scope.
"""

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.applications import Starlette

from tellwire.asgi.connection import Receive, Send
from tellwire.asgi.keeper import Keeper
from tellwire.asgi.siblings import only_worker
from tellwire.asgi.sockets import AsgiSockets
from tellwire.broadcast import Broadcaster
from tellwire.config import Settings
from tellwire.gateway.node import Node
from tellwire.gateway.running_node import RunningNode

logger = logging.getLogger("tellwire.gateway")

Application = Callable[[Any, Receive, Send], Awaitable[None]]


class TellwireApp:
    """A node as an ASGI application. See `tellwire_app`.

    `node` takes handlers and functions about topics before it opens; `broadcaster` publishes from any thread and task.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self._keeper = Keeper(self._opened)

    @property
    def broadcaster(self) -> Broadcaster:
        """The broadcaster of the node. It works as soon as the application is open."""
        return self.node.broadcaster

    @contextlib.asynccontextmanager
    async def lifespan(self, _host: object = None) -> AsyncIterator[None]:
        """Open the node before the block, and drain and close it after: as the lifespan of a host, or inside it.

        Raises:
            ConfigError: the engine cannot be used, or another worker of this server uses it.
        """
        sockets = (await self._keeper.value()).sockets
        try:
            yield
        finally:
            await sockets.drain()
            await self._keeper.close()

    def beside(self, application: Application, path: str) -> Application:
        """Return an application that has this one at a path, and `application` everywhere else: for hosts that cannot
        mount, such as Django. This one answers the lifespan of the server.
        """
        root = "/" + path.strip("/")

        async def both(scope: Any, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                await self(scope, receive, send)
            elif _is_below(scope, root):
                await self({**scope, "root_path": scope.get("root_path", "") + root}, receive, send)
            else:
                await application(scope, receive, send)

        return both

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._answer_lifespan(receive, send)
            return
        parts = self._keeper.at_once() or await self._keeper.value()
        if scope["type"] == "websocket":
            await parts.sockets.serve(scope, receive, send)
        else:
            await parts.http(_own_copy(scope), receive, send)

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator["_Parts"]:
        async with only_worker(self.node.settings), self.node.opened(_Parts) as parts, parts.sockets.watched():
            yield parts

    async def _answer_lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            async with self.lifespan():
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except Exception as error:
            logger.exception("the gateway cannot start")
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        await send({"type": "lifespan.shutdown.complete"})


class _Parts:
    """The front of an open node: its sockets, and its HTTP API."""

    def __init__(self, running: RunningNode) -> None:
        self.sockets = AsgiSockets(running)
        self.http: Starlette = running.api.application(running.routes)
        self.stop, self.end = self.sockets.stop, self.sockets.end


def tellwire_app(settings: Settings, **options: Any) -> TellwireApp:
    """Return a gateway to be mounted in an ASGI program: `app.mount("/live", tellwire_app(settings))`.

    `options` are the keyword arguments of `Node`. Any WebSocket below the mount is a connection; the HTTP API is below
    it, too. The settings of the address, of TLS and of workers are the host's business, and do not count.

    Example:
        live = tellwire_app(Settings(jwt_secret=SECRET))
        app = FastAPI(lifespan=live.lifespan)
        app.mount("/live", live)

    Raises:
        ConfigError: the settings do not fit together.
    """
    return TellwireApp(Node(settings, **options))


def _is_below(scope: Any, root: str) -> bool:
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path == root or path.startswith(f"{root}/")


def _own_copy(scope: Any) -> dict[str, Any]:
    # Routers write into the scope, and the host's middleware reads it afterwards.
    copy = dict(scope)
    copy.setdefault("client", None)
    copy.setdefault("query_string", b"")
    if not copy.get("raw_path"):
        copy["raw_path"] = copy["path"].encode("utf-8", "surrogateescape")
    return copy
