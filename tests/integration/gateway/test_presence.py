"""The presence of users at a real gateway, and handshakes that end before they are answered."""

import asyncio
from typing import Any
from urllib.parse import quote

import pytest
from websockets.exceptions import InvalidStatus

from tellwire.errors import HistoryUnavailable
from tellwire.model import PresenceCounts
from tests.conftest import API_KEY, Gateway, StartGateway
from tests.integration.gateway.test_handshake import refusal
from tests.integration.gateway.test_http_api import call
from tests.tools import until


@pytest.mark.parametrize("path", ["/v1/users/{}", "/v1/users?user={}"])
async def test_a_user_is_online_as_long_as_a_device_is_connected(gateway: Gateway, path: str) -> None:
    # In a path a slash ends an id, also an encoded one.
    for user_id in ("user-1", "a/b {c}" if "?" in path else "a {c}", "line\nend"):
        at = path.format(quote(user_id, safe=""))
        assert (await call(gateway, "GET", at))[:2] == (200, {"online": False, "connections": 0})
        async with gateway.devices(2, user_id):
            assert (await call(gateway, "GET", at))[:2] == (200, {"online": True, "connections": 2})
            assert await gateway.node.presence.count(user_id) == 2
            assert await gateway.node.presence.counts() == PresenceCounts(1, 2)
        await until(lambda: not len(gateway.node.hub))


async def test_presence_needs_a_user(gateway: Gateway) -> None:
    assert (await call(gateway, "GET", "/v1/users"))[0] == 400


@pytest.mark.parametrize(("scope", "status"), [("publish", 200), ("admin", 200)])
async def test_whoever_may_publish_may_ask_whether_a_user_is_online(
    start_gateway: StartGateway, scope: str, status: int
) -> None:
    gateway = await start_gateway(api_key=f"worker:{scope}:{API_KEY}")
    assert (await call(gateway, "GET", "/v1/users/user-1", key=API_KEY))[0] == status
    if scope == "publish":
        assert (await call(gateway, "DELETE", "/v1/users/user-1", key=API_KEY))[0] == 403


class Slow:
    """A presence whose `enter` waits until it is told to go on."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.waits = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.error: Exception | None = None
        self.left: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def enters_at_once(self, connection: Any, at_most: int) -> bool:
        return False

    async def enter(self, connection: Any, at_most: int) -> bool:
        self.waits.set()
        await self.goes_on.wait()
        if self.error is not None:
            raise self.error
        return bool(await self._inner.enter(connection, at_most))

    def leave(self, connection: Any) -> None:
        self.left.append(connection.connection_id)
        self._inner.leave(connection)


@pytest.fixture
async def slow(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Slow:
    slow = Slow(gateway.node.presence)
    monkeypatch.setattr(gateway.node.sockets.application, "_presence", slow)
    return slow


def places_taken(gateway: Gateway) -> int:
    application: Any = gateway.node.sockets.application
    return int(application._counts._in_all)


async def test_a_client_that_goes_away_before_the_answer_leaves_nothing(gateway: Gateway, slow: Slow) -> None:
    async def connects() -> None:
        async with gateway.device():
            pass

    device = asyncio.create_task(connects())
    await slow.waits.wait()
    assert places_taken(gateway) == 1
    device.cancel()
    await asyncio.wait([device])
    slow.goes_on.set()
    await until(lambda: len(slow.left) == 1)
    await until(lambda: (places_taken(gateway), len(gateway.node.hub)) == (0, 0))


async def test_a_handshake_that_the_end_of_the_server_refuses_leaves_nothing(gateway: Gateway, slow: Slow) -> None:
    device = asyncio.create_task(refusal(f"{gateway.ws_url}?token={gateway.token()}"))
    await slow.waits.wait()
    hub = gateway.node.hub
    gateway.node.stop()
    assert (await device)[:2] == (503, "RESTARTING")
    slow.goes_on.set()
    await until(lambda: len(slow.left) == 1)
    assert len(hub) == 0


@pytest.mark.parametrize(("error", "status"), [(HistoryUnavailable("away"), 503), (RuntimeError("ours"), 500)])
async def test_a_handshake_whose_presence_is_not_known_is_refused_and_leaves_nothing(
    gateway: Gateway, slow: Slow, error: Exception, status: int
) -> None:
    slow.error = error
    slow.goes_on.set()
    with pytest.raises(InvalidStatus) as caught:
        async with gateway.device():
            pass
    assert caught.value.response.status_code == status
    assert caught.value.response.headers.get("Retry-After") == ("5" if status == 503 else None)
    assert (len(slow.left), places_taken(gateway)) == (1, 0)


async def test_handshakes_that_wait_have_taken_their_places(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(max_connections=1)
    slow = Slow(gateway.node.presence)
    gateway.node.sockets.application._presence = slow
    uri = f"{gateway.ws_url}?token={gateway.token()}"
    first = asyncio.create_task(refusal(uri))
    await slow.waits.wait()
    assert (await refusal(uri))[:2] == (503, "TOO_MANY_CONNECTIONS")
    slow.error = HistoryUnavailable("away")
    slow.goes_on.set()
    await first
    assert places_taken(gateway) == 0
