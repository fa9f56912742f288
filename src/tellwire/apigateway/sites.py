"""Several APIs at one address, each below its own path: `/<name>/<stage>`.

On AWS each has a host of its own. Code that puts this host together itself is led here by it, without the prefix of the
path: the host then says which API is meant. A single API has no prefix, and all the address to itself.
"""

from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tellwire.apigateway.application import ApiGatewayApplication
from tellwire.apigateway.management import ManagementApi
from tellwire.server.handshake import UpgradeRequest
from tellwire.server.socket import Connection

Site = tuple[ApiGatewayApplication, ManagementApi]

Refusal = Callable[[Request], Response | None]


class Sites:
    """An `Application` (see `server.sockets`) that leaves each connection to the one of its API."""

    def __init__(self, sites: Mapping[str, Site], refusal: Refusal = lambda request: None) -> None:
        """`sites` are applications and management APIs by prefix; a path that none has goes to the first.

        `refusal` returns the answer to a request to the management API that is refused before it is read.
        """
        self._refusal = refusal
        self._sites = dict(sites)
        self._by_api = {application.api_id: application for application, _ in sites.values()}
        self._management = {
            application.api_id: (management, prefix) for prefix, (application, management) in sites.items()
        }

    def _site(self, path: str) -> Site:
        prefix = f"/{path.split('/', 2)[1]}" if path.startswith("/") else ""
        return self._sites.get(prefix) or next(iter(self._sites.values()))

    def _of(self, connection: Connection) -> ApiGatewayApplication:
        return self._by_api[connection.state.api_id]

    async def authorize(self, connection: Connection, request: UpgradeRequest) -> str | None:
        return await self._site(request.path)[0].authorize(connection, request)

    def abandoned(self, connection: Connection) -> None:
        pass  # as `ApiGatewayApplication`

    def opened(self, connection: Connection) -> None:
        self._of(connection).opened(connection)

    def received(self, connection: Connection, text: str) -> None:
        self._of(connection).received(connection, text)

    def overran(self, connection: Connection) -> None:
        self._of(connection).overran(connection)

    def close_when_idle(self, connection: Connection) -> None:
        self._of(connection).close_when_idle(connection)

    def closed(self, connection: Connection, code: int, reason: str) -> None:
        self._of(connection).closed(connection, code, reason)

    async def drain(self, seconds: float) -> None:
        """Wait until all invocations of all APIs have ended, as `ApiGatewayApplication.drain` does."""
        for application in self._by_api.values():
            await application.drain(seconds)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer a request to the management API whose host or path it has."""
        if (refused := self._refusal(Request(scope))) is not None:
            await refused(scope, receive, send)
            return
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
        if (api_id := host.partition(".")[0]) in self._management:
            management, prefix = self._management[api_id]
            if not scope["path"].startswith(f"{prefix}/"):
                scope = scope | {"tellwire.prefix": prefix}
            await management(scope, receive, send)
        else:
            await self._site(scope["path"])[1](scope, receive, send)
