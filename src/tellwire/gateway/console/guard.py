"""The guard of the console: its sessions in place of API keys.

Rules:
- A session begins with an API key that has the scope `admin`, and wrong ones count as elsewhere (`gateway.api_key`). In
  development, without keys, it needs none, and only pages of this very gateway on loopback get one.
- The cookie is `HttpOnly` and `SameSite=Strict`, for `/console` alone, and `Secure` where the page came over HTTPS.
- A request that changes something has the session's CSRF token in a header, which no page of another origin can read.
- Every such request is logged, with the name of the key and the address.
"""

import logging
from typing import Final

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from tellwire.api_keys import Scope
from tellwire.errors import shown
from tellwire.gateway.api_key import ApiKeyGuard, key_of
from tellwire.gateway.console.sessions import Session, Sessions
from tellwire.gateway.http import Endpoint, json_response, problem
from tellwire.gateway.paths import client_of
from tellwire.limits import CONSOLE_IDLE_SECONDS, CONSOLE_SESSION_SECONDS
from tellwire.model import is_loopback_authority
from tellwire.ports import Clock

logger = logging.getLogger("tellwire.console")

COOKIE: Final = "tellwire_console"
CSRF_HEADER: Final = "x-csrf-token"
_SAFE: Final = frozenset({"GET", "HEAD"})


class SessionInfo(Struct, frozen=True, rename="camel"):
    """A session, for the page: the name of its key, and the token for requests that change something."""

    key: str
    csrf_token: str
    idle_seconds: float = CONSOLE_IDLE_SECONDS


class ConsoleGuard:
    """The sessions of one node's console. `keys` are its API keys."""

    def __init__(self, keys: ApiKeyGuard, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._sessions = Sessions()

    def guarded(self, endpoint: Endpoint, scope: Scope, *others: Scope) -> Endpoint:
        """Return an endpoint that refuses requests without a session. A session may do all that an admin may."""

        async def guarded(request: Request) -> Response:
            session = self._session(request)
            if session is None:
                return problem(401, "NOT_SIGNED_IN", "Sign in: there is no session, or it has ended")
            request.state.api_key = session.key
            if request.method not in _SAFE:
                if not session.has_token(request.headers.get(CSRF_HEADER, "")):
                    return problem(403, "CSRF_TOKEN_WRONG", f"Send the session's token in the header {CSRF_HEADER}")
                self._tell(request, session.key, f"{request.method} {request.url.path}")
            return await endpoint(request)

        return guarded

    async def sign_in(self, request: Request) -> Response:
        """Answer a request for a session, which has the API key in its `Authorization`."""
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        key = key_of(request)
        session_id, session = self._sessions.open(key, self._keys.keys, self._clock.monotonic())
        self._tell(request, key, "signed in")
        response = json_response(SessionInfo(key, session.csrf_token))
        response.set_cookie(
            COOKIE,
            session_id,
            max_age=int(CONSOLE_SESSION_SECONDS),
            path=_path(request),
            secure=_is_https(request),
            httponly=True,
            samesite="strict",
        )
        return response

    async def show(self, request: Request) -> Response:
        """Answer which session a page has: its token is lost with a reload."""
        session = self._session(request)
        if session is None and self._keys.needs_none:
            return problem(401, "NO_KEY_NEEDED", "Ask for a session: in development it needs no key")
        if session is None:
            return problem(401, "NOT_SIGNED_IN", "Sign in: there is no session, or it has ended")
        return json_response(SessionInfo(session.key, session.csrf_token))

    async def sign_out(self, request: Request) -> Response:
        """End the session of a request that was guarded."""
        self._sessions.close(request.cookies.get(COOKIE, ""))
        response = Response(status_code=204)
        response.delete_cookie(COOKIE, path=_path(request), httponly=True, samesite="strict")
        return response

    def _session(self, request: Request) -> Session | None:
        session_id = request.cookies.get(COOKIE)
        if session_id is None:
            return None
        return self._sessions.find(session_id, self._keys.keys, self._clock.monotonic())

    def _refusal(self, request: Request) -> Response | None:
        if self._keys.needs_none and _is_of_this_page(request):
            return None
        return self._keys.refusal(request, Scope.ADMIN)

    def _tell(self, request: Request, key: str, action: str) -> None:
        # The query may name a user; the log of an operator's actions is the place for that.
        query = f" {shown(request.url.query)}" if request.url.query else ""
        logger.info("%s from %s: %s%s", key or "development", client_of(request), action, query)


def _is_of_this_page(request: Request) -> bool:
    host = request.headers.get("host", "")
    return is_loopback_authority(host) and request.headers.get("origin") == f"{request.url.scheme}://{host}"


def _is_https(request: Request) -> bool:
    # A browser says which page asks; a proxy may end TLS before this server.
    return request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")


def _path(request: Request) -> str:
    return f"{request.scope.get('root_path', '')}/console"
