"""The endpoints with which operators look at users: who is connected to this node, and the messages of one, live.

    GET /v1/users/connected?part=…&after=…&limit=…   users with connections to this node, by name, a page at a time
    GET /v1/client-address                           the client's address, as the gateway knows it behind proxies
    GET /v1/users/tail?user=…                        new messages of a user, one a line (NDJSON), on whatever node

A tail reads the user's stream whenever its end has moved. So it is no device: nobody counts it as present, its slowness
delays nobody, and of a state that changes faster than it reads, the newest is told.
"""

import asyncio
import heapq
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from tellwire.api_keys import Scope
from tellwire.carriers.hub import Hub
from tellwire.errors import HistoryMissing, InvalidMessage, shown
from tellwire.gateway.api_key import Guard, key_of
from tellwire.gateway.http import NDJSON, json_response, problem
from tellwire.gateway.paths import client_of, id_of
from tellwire.limits import MAX_USER_ID_BYTES
from tellwire.ports import History
from tellwire.publication import StreamKey, user_of, user_stream

logger = logging.getLogger("tellwire.gateway")

_PAGE: Final = 100
_LARGEST_PAGE: Final = 1000
_TAILS: Final = 16
_LOOK_SECONDS: Final = 0.25
_SIGN_OF_LIFE_SECONDS: Final = 15.0
_MISSED: Final = b'{"type":"tail_missed","data":"messages are missing: they came faster than they are kept"}\n'


class ConnectedUser(Struct, frozen=True):
    """A user, and the number of their connections to this node."""

    user: str
    connections: int


class ConnectedUsers(Struct, frozen=True):
    """Some users with connections to this node, by name. `total` are all that were meant; `next` is the `after` of the
    next page, null: this is the last one."""

    users: list[ConnectedUser]
    total: int
    next: str | None


class ClientAddress(Struct, frozen=True, rename="camel"):
    """The address of who asks. `has_header`: X-Forwarded-For has arrived. `is_forwarded`: a trusted proxy has
    sent it, and the address is the one in it."""

    address: str
    has_header: bool
    is_forwarded: bool


class WatchingApi:
    """The endpoints. `is_ending`: the node drains, and every tail ends."""

    def __init__(self, hub: Hub, history: History | None, is_ending: Callable[[], bool]) -> None:
        self._hub = hub
        self._history = history
        self._is_ending = is_ending
        self._tails = 0

    def routes(self, key: Guard) -> list[BaseRoute]:
        """Return the routes."""
        return [
            Route("/v1/users/connected", key.guarded(self.connected, Scope.ADMIN), methods=["GET"]),
            Route("/v1/client-address", key.guarded(self.address, Scope.ADMIN), methods=["GET"]),
            Route("/v1/users/tail", key.guarded(self.tail, Scope.ADMIN), methods=["GET"]),
        ]

    async def connected(self, request: Request) -> Response:
        part, after = (request.query_params.get(name, "") for name in ("part", "after"))
        limit = _limit(request.query_params.get("limit", str(_PAGE)))
        meant = [
            ConnectedUser(user, count)
            for stream, count in self._hub.streams()
            if (user := user_of(stream)) is not None and part in user
        ]
        first = heapq.nsmallest(limit + 1, (each for each in meant if each.user > after), key=lambda each: each.user)
        shown = first[:limit]
        return json_response(ConnectedUsers(shown, len(meant), shown[-1].user if len(first) > limit else None))

    async def address(self, request: Request) -> Response:
        # A forwarded address has no port.
        is_forwarded = request.client is not None and request.client.port == 0
        return json_response(ClientAddress(client_of(request), "x-forwarded-for" in request.headers, is_forwarded))

    async def tail(self, request: Request) -> Response:
        user_id = id_of(request, "user", MAX_USER_ID_BYTES)
        if self._history is None:
            raise HistoryMissing
        if self._tails >= _TAILS:
            text = f"{_TAILS} users are followed on this node; allowed: {_TAILS}"
            return problem(429, "TOO_MANY_TAILS", text, {"retry-after": "5"})
        self._tails += 1
        # Messages are a user's own: whoever reads them, by the console or with a key, is in the log.
        who = key_of(request) or "development"
        logger.info("%s from %s follows the messages of user %s", who, client_of(request), shown(user_id))
        return _Tail(self._ended, _lines(self._history, user_stream(user_id), self._is_ending))

    def _ended(self) -> None:
        self._tails -= 1


class _Tail(StreamingResponse):
    """The lines of a tail, which is counted until its client is gone."""

    def __init__(self, ended: Callable[[], None], lines: AsyncIterator[bytes]) -> None:
        super().__init__(lines, headers={"cache-control": "no-store"}, media_type=NDJSON)
        self._ended = ended

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()


async def _lines(history: History, stream: StreamKey, is_ending: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Yield the messages and states that are new from now on, and now and then an empty line."""
    first = await history.read(stream, None)
    cursor, version = first.cursor, max((each.number for each in first.snapshot), default=0)
    end = await history.end(stream)
    told_at = time.monotonic()
    yield b"\n"
    while not is_ending():
        await asyncio.sleep(_LOOK_SECONDS)
        now_end = await history.end(stream)
        if now_end != end:
            end = now_end
            replay = await history.read(stream, cursor, version)
            states = sorted((each.number, each.payload) for each in replay.snapshot if each.number > version)
            found = [*replay.messages, *(payload for _, payload in states)]
            yield b"".join([b"" if replay.recovered else _MISSED, *(each + b"\n" for each in found)])
            cursor, version = replay.cursor, max(version, *(number for number, _ in states), 0)
            told_at = time.monotonic()
        elif time.monotonic() - told_at > _SIGN_OF_LIFE_SECONDS:
            told_at = time.monotonic()
            yield b"\n"


def _limit(given: str) -> int:
    limit = int(given) if given.isdecimal() and given.isascii() and len(given) < 5 else 0
    if not 1 <= limit <= _LARGEST_PAGE:
        raise InvalidMessage("limit", given, f"a whole number from 1 to {_LARGEST_PAGE}")
    return limit


TYPES: Final[tuple[Any, ...]] = (ClientAddress, ConnectedUsers)
"""The structs of the bodies, for the OpenAPI document."""
