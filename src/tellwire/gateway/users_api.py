"""The HTTP API of users, for operators.

    POST   /v1/users/{user}/disconnect   {"until": …, "reason": …} → close their connections, and let none open before
    DELETE /v1/users/{user}/disconnect   let them in again
    GET    /v1/users/{user}/disconnect   the shut-outs that last
    GET    /v1/users/{user}              is a user online, and on how many connections
    DELETE /v1/users/{user}              delete everything that is kept of a user

Each also takes the user from the query: `/v1/users?user=…`, `/v1/users/disconnect?user=…`. A key needs the scope
`admin`; to ask whether a user is online, `publish` is enough, since the answer to a publish tells as much.
"""

from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from tellwire.api_keys import Scope
from tellwire.decode_errors import decoded
from tellwire.engine import Engine
from tellwire.errors import InvalidMessage
from tellwire.gateway.api_key import Guard
from tellwire.gateway.bodies import read_body
from tellwire.gateway.http import json_response, problem
from tellwire.gateway.paths import IdRoute, id_of
from tellwire.limits import MAX_SHUT_OUT_BYTES, MAX_USER_ID_BYTES
from tellwire.model import timestamp
from tellwire.ports import Presence, ShutOuts
from tellwire.shut_out import ShutOut


class DisconnectRequest(Struct, forbid_unknown_fields=True, rename="camel"):
    """A wish to shut out a user until a time: all their tokens, the one with this `jti` (`tokenId`), or those with an
    earlier `iat` (`issuedBefore`). Times are RFC 3339, or epoch seconds. The user reads the reason."""

    until: str | float
    reason: str = ""
    token_id: str | None = None
    issued_before: str | float | None = None


class Disconnected(Struct, frozen=True):
    """The number of connections that were closed."""

    closed: int


class LetIn(Struct, frozen=True):
    """The number of shut-outs that were ended."""

    ended: int


class ShutOutInfo(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A shut-out that lasts. Times are RFC 3339 in UTC."""

    until: str
    reason: str
    token_id: str | None = None
    issued_before: str | None = None


class ShutOutList(Struct, frozen=True, rename="camel"):
    """The shut-outs of a user that last."""

    shut_outs: list[ShutOutInfo]


class UserPresence(Struct, frozen=True):
    """The live connections of a user, on all nodes; `online` if there are any."""

    online: bool
    connections: int


_request: Final = msgspec.json.Decoder(DisconnectRequest)


class UsersApi:
    """The endpoints. With an engine that shuts out nobody, those of shut-outs answer 501."""

    def __init__(self, engine: Engine, presence: Presence) -> None:
        self._engine = engine
        self._presence = presence
        self._shut_outs = engine.shut_outs

    def routes(self, key: Guard) -> list[BaseRoute]:
        """Return the routes, with the ways to name a user: in the path, and in the query."""
        methods = {"POST": self.disconnect, "DELETE": self.let_in, "GET": self.list}
        guarded = {method: key.guarded(endpoint, Scope.ADMIN) for method, endpoint in methods.items()}
        in_query: list[BaseRoute] = [
            Route("/v1/users/disconnect", endpoint, methods=[method]) for method, endpoint in guarded.items()
        ]
        in_path = [
            IdRoute("/v1/users/{user:path}/disconnect", endpoint, methods=[method])
            for method, endpoint in guarded.items()
        ]
        delete = key.guarded(self.delete, Scope.ADMIN)
        presence = key.guarded(self.presence, Scope.ADMIN, Scope.PUBLISH)
        return [
            *in_query,
            *in_path,
            Route("/v1/users", presence, methods=["GET"]),
            Route("/v1/users", delete, methods=["DELETE"]),
            # One with a slash is named in the query: a wrong path must not delete anybody.
            IdRoute("/v1/users/{user}", presence, methods=["GET"]),
            IdRoute("/v1/users/{user}", delete, methods=["DELETE"]),
        ]

    async def disconnect(self, request: Request) -> Response:
        if self._shut_outs is None:
            return _nobody()
        wish = decoded(_request, await read_body(request, MAX_SHUT_OUT_BYTES))
        entry = ShutOut.of(
            _user(request),
            _time("until", wish.until),
            wish.reason,
            token_id=wish.token_id,
            issued_before=None if wish.issued_before is None else _time("issuedBefore", wish.issued_before),
        )
        return json_response(Disconnected(await self._shut_outs.shut_out(entry)))

    async def presence(self, request: Request) -> Response:
        count = await self._presence.count(_user(request))
        return json_response(UserPresence(count > 0, count))

    async def delete(self, request: Request) -> Response:
        await self._engine.forget_user(_user(request))
        return Response(status_code=204)

    async def let_in(self, request: Request) -> Response:
        if self._shut_outs is None:
            return _nobody()
        return json_response(LetIn(await self._shut_outs.let_in(_user(request))))

    async def list(self, request: Request) -> Response:
        if self._shut_outs is None:
            return _nobody()
        return json_response(ShutOutList(await _infos(self._shut_outs, _user(request))))


async def _infos(shut_outs: ShutOuts, user_id: str) -> list[ShutOutInfo]:
    return [
        ShutOutInfo(timestamp(each.until), each.reason, each.token_id, _shown(each.issued_before))
        for each in await shut_outs.of(user_id)
    ]


def _shown(seconds: float | None) -> str | None:
    return None if seconds is None else timestamp(seconds)


def _user(request: Request) -> str:
    return id_of(request, "user", MAX_USER_ID_BYTES)


def _time(name: str, given: str | float) -> float:
    if not isinstance(given, str):
        return given
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidMessage(name, given, "a time such as 2026-11-30T18:00:00Z, or epoch seconds")
    return moment.timestamp()


def _nobody() -> Response:
    return problem(501, "SHUT_OUTS_NOT_KEPT", "This gateway's engine shuts out nobody")


TYPES: Final[tuple[Any, ...]] = (DisconnectRequest, Disconnected, LetIn, ShutOutList, UserPresence)
"""The structs of the bodies, for the OpenAPI document."""
