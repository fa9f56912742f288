"""The one thing that AWS does not have: a clock that is pushed forward over HTTP, for a process of its own.

In a test, move the `FakeClock` itself.
"""

from typing import Any, Final, Protocol, runtime_checkable

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tellwire.errors import InvalidMessage
from tellwire.limits import MAX_CONNECTION_SECONDS
from tellwire.model import is_loopback
from tellwire.ports import Clock

CLOCK_PATH: Final = "/_tellwire/clock"
"""Where the clock is. API Gateway has no such path, so no stage can be in its way."""

_FURTHEST_SECONDS: Final = 12 * MAX_CONNECTION_SECONDS
"""A day: further than anything here lasts."""


@runtime_checkable
class MovableClock(Protocol):
    """A clock that can be pushed forward, as `tellwire.testing.FakeClock`."""

    async def advance(self, seconds: float) -> None: ...


class Advance(msgspec.Struct, forbid_unknown_fields=True):
    """How far to push the clock."""

    advance_seconds: float

    def __post_init__(self) -> None:
        if not 0 <= self.advance_seconds <= _FURTHEST_SECONDS:
            raise InvalidMessage("advance_seconds", self.advance_seconds, f"0 to {_FURTHEST_SECONDS:.0f}")


class WithClock:
    """An ASGI application, and the clock beside it."""

    def __init__(self, application: Any, clock: Clock) -> None:
        self._application = application
        self._clock = clock

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == CLOCK_PATH:
            await (await self._move(Request(scope, receive)))(scope, receive, send)
        else:
            await self._application(scope, receive, send)

    async def _move(self, request: Request) -> Response:
        # Pages in this machine's browser are not to move it.
        asks = request.client.host if request.client is not None else None
        if "origin" in request.headers or not is_loopback(request.url.hostname) or not is_loopback(asks):
            return _problem(403, "the clock is moved from this machine, and not by a page")
        if not isinstance(self._clock, MovableClock):
            return _problem(409, "this clock moves by itself; start with --clock manual")
        if request.method == "POST":
            try:
                wanted = msgspec.json.decode(await request.body(), type=Advance)
            except (msgspec.DecodeError, InvalidMessage, ClientDisconnect) as error:
                return _problem(400, f'{error}; allowed: {{"advance_seconds": 7200}}')
            await self._clock.advance(wanted.advance_seconds)
        return Response(msgspec.json.encode({"now": self._clock.now()}), media_type="application/json")


def _problem(status: int, message: str) -> Response:
    return Response(msgspec.json.encode({"message": message}), status, media_type="application/json")
