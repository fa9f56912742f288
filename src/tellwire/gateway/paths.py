"""Paths of the HTTP API: ids in them or in the query, slashes at their end, and the address of who asks.

An id may hold any text. In a path `.` and `..` are taken out by clients and proxies, and some decode `%2F`. So every
endpoint also takes its ids from the query, which carries any text: `/v1/connections?user=..`.
"""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Match, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from tellwire.errors import InvalidMessage
from tellwire.gateway.admission import Network, client_address
from tellwire.text import require_id


class IdRoute(Route):
    """A route whose ids may hold slashes and newlines: `{user:path}`."""

    def __init__(self, path: str, endpoint: Any, *, methods: Sequence[str]) -> None:
        super().__init__(path, endpoint, methods=list(methods))
        self.path_regex = re.compile(self.path_regex.pattern.removesuffix("$") + r"\Z", re.DOTALL)


def id_of(request: Request, name: str, max_bytes: int) -> str:
    """Return the id `name` of a request, from its path or its query.

    Raises:
        InvalidMessage: it is missing or empty, given twice, over `max_bytes`, or not UTF-8.
    """
    _require_utf8(name, request.scope)
    in_path = request.path_params.get(name)
    given = [*([] if in_path is None else [in_path]), *request.query_params.getlist(name)]
    if len(given) > 1:
        raise InvalidMessage(name, given, "one")
    return require_id(name, given[0] if given else "", max_bytes)


def _require_utf8(name: str, scope: Scope) -> None:
    # Decoders put U+FFFD in place of other bytes, so that many ids would become one.
    for part in (scope["raw_path"], scope["query_string"]):
        try:
            unquote_to_bytes(part).decode()
        except UnicodeDecodeError:
            raise InvalidMessage(name, part.decode("latin-1"), "percent-encoded UTF-8") from None


def client_of(request: Request) -> str:
    """Return the address of the client, behind trusted proxies; empty if the system does not know it."""
    return "" if request.client is None else request.client.host


class ForwardedClient:
    """Middleware: in `scope["client"]` the client's address as trusted proxies forward it."""

    def __init__(self, app: ASGIApp, trusted: Sequence[Network]) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._trusted and scope["type"] == "http" and scope["client"] is not None:
            lines = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
            peer, port = scope["client"]
            address = client_address(peer, ",".join(lines), self._trusted)
            scope["client"] = (address, port if address == peer else 0)
        await self._app(scope, receive, send)


class SlashAtEnd:
    """Middleware: a path of the API may end with a slash, and is answered as without it, never redirected."""

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith("/"):
            other = _without_slash(scope)
            if any(route.matches(other)[0] is not Match.NONE for route in self._routes):
                scope = other
        await self._app(scope, receive, send)


class OtherSlash:
    """The answer to a path without a route: as without the slash at its end, or a redirect to the path with one.

    The redirect is relative. One with the `Host` of the request would send a client behind a proxy that speaks TLS to
    http, with its API key.
    """

    def __init__(self, router: Router) -> None:
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"] if scope["type"] == "http" else ""
        if path.endswith("/") and path.strip("/"):
            await self._router.app(_without_slash(scope), receive, send)
        elif path and self._is_route(f"{path}/", scope):
            await _with_slash(scope)(scope, receive, send)
        else:
            await self._router.not_found(scope, receive, send)

    def _is_route(self, path: str, scope: Scope) -> bool:
        return any(route.matches({**scope, "path": path})[0] is not Match.NONE for route in self._router.routes)


def _without_slash(scope: Scope) -> Scope:
    return {**scope, "path": scope["path"].rstrip("/"), "raw_path": scope["raw_path"].rstrip(b"/")}


def _with_slash(scope: Scope) -> Response:
    # `./` because a last part such as `javascript:x` would be an address of its own.
    last = scope["raw_path"].rpartition(b"/")[2].decode("ascii")
    query = scope["query_string"].decode("ascii")
    return RedirectResponse(f"./{last}/{'?' if query else ''}{query}")
