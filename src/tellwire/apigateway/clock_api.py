"""The clock endpoint: a manual clock in another process is moved over HTTP.

AWS has no such endpoint. A test in the same process moves the `FakeClock` itself.
"""

from typing import Any, Final, Protocol, runtime_checkable

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tellwire.errors import InvalidMessage
from tellwire.limits import MAX_CONNECTION_SECONDS
from tellwire.model import is_loopback, is_loopback_authority
from tellwire.ports import Clock

CLOCK_PATH: Final = "/_tellwire/clock"
"""Path of the clock endpoint. API Gateway has no such path, so no stage can collide with it."""

_FURTHEST_SECONDS: Final = 12 * MAX_CONNECTION_SECONDS
"""One day: no time limit here is longer."""


@runtime_checkable
class MovableClock(Protocol):
    """A clock that can be moved forward, such as `tellwire.testing.FakeClock`."""

    async def advance(self, seconds: float) -> None: ...


class AdvanceRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a request to the clock endpoint: the seconds to move the clock forward."""

    advance_seconds: float

    def __post_init__(self) -> None:
        if not 0 <= self.advance_seconds <= _FURTHEST_SECONDS:
            raise InvalidMessage("advance_seconds", self.advance_seconds, f"0 to {_FURTHEST_SECONDS:.0f}")


class ClockApi:
    """ASGI middleware that answers requests for the clock and passes the others on to an application."""

    def __init__(self, application: Any, clock: Clock) -> None:
        self._application = application
        self._clock = clock

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == CLOCK_PATH:
            await (await self._move(Request(scope, receive)))(scope, receive, send)
        else:
            await self._application(scope, receive, send)

    async def _move(self, request: Request) -> Response:
        # A page in this machine's browser must not be able to move the clock.
        client_host = request.client.host if request.client is not None else None
        is_from_here = is_loopback(client_host) and is_loopback_authority(request.headers.get("host"))
        if "origin" in request.headers or not is_from_here:
            return _problem(403, "only a process on this machine can move the clock, not a web page")
        if not isinstance(self._clock, MovableClock):
            return _problem(409, "this clock cannot be moved; start with --clock manual")
        if request.method == "POST":
            try:
                advance = msgspec.json.decode(await request.body(), type=AdvanceRequest)
            except (msgspec.DecodeError, InvalidMessage, ClientDisconnect) as error:
                return _problem(400, f'{error}; allowed: {{"advance_seconds": 7200}}')
            await self._clock.advance(advance.advance_seconds)
        return Response(msgspec.json.encode({"now": self._clock.now()}), media_type="application/json")


def _problem(status: int, message: str) -> Response:
    return Response(msgspec.json.encode({"message": message}), status, media_type="application/json")
