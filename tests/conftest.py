"""Fixtures of all tests: a real gateway inside the test's event loop, and devices that connect to it."""

import asyncio
import contextlib
import functools
import inspect
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import uvloop
from hypothesis import settings as hypothesis_settings
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tellwire.auth import mint_token
from tellwire.config import Settings
from tellwire.gateway import Node
from tellwire.ports import Authenticator, Clock
from tests.virtual_time import VirtualTimeLoop, virtual_time

# A run should not fail on a dice roll. Who looks for something new asks for it: `pytest --hypothesis-profile=random`.
hypothesis_settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis_settings.register_profile("random", deadline=None)
hypothesis_settings.load_profile("repeatable")

pytest_plugins = ["tellwire.testing.pytest_plugin", "tests.dynamodb", "tests.scheduling"]

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

SECRET = "a-secret-for-tests-of-forty-characters.."
API_KEY = "key-for-tests"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove a developer's own settings from the environment."""
    for name in list(os.environ):
        if name.startswith(("TELLWIRE_", "COGNITO_", "AWS_", "CONNECTIONS_TABLE_", "WEBSOCKET_API_")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def one_time(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the virtual time, if a test has one, for the intervals of uploads."""
    if request.node.get_closest_marker("virtual_time"):
        monkeypatch.setattr("tellwire.progress.monotonic", lambda: virtual_time().time())


@dataclass
class Gateway:
    """A running node, and ways to connect to it."""

    node: Node
    url: str

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    def token(self, user_id: str = "user-1", ttl_seconds: float = 3600) -> str:
        return mint_token(SECRET, user_id, ttl_seconds)

    @asynccontextmanager
    async def device(self, user_id: str = "user-1", **options: Any) -> AsyncIterator[ClientConnection]:
        """Connect as a device of a user, the way the guide does."""
        uri = f"{self.ws_url}/?token={self.token(user_id)}"
        async with connect(uri, proxy=None, compression=None, **options) as socket:
            yield socket

    @asynccontextmanager
    async def devices(self, count: int, user_id: str = "user-1") -> AsyncIterator[list[ClientConnection]]:
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(self.device(user_id)) for _ in range(count)]

    async def ends(self) -> None:
        """Stop the node, and wait until nobody listens at its address."""
        address = self.node.address
        self.node.stop()
        with contextlib.suppress(ConnectionError):
            while True:
                _, writer = await asyncio.open_connection(*address)
                writer.close()
                await asyncio.sleep(0.01)


def offered(token: str) -> list[Subprotocol]:
    """The subprotocols of a browser that keeps its token out of the URL."""
    return [Subprotocol("tellwire.v1"), Subprotocol(f"token.{token}")]


async def read(socket: ClientConnection) -> dict[str, Any]:
    """Receive one message."""
    return dict(json.loads(await socket.recv()))


StartGateway = Callable[..., Any]


@pytest.fixture
async def start_gateway() -> AsyncIterator[StartGateway]:
    """Start gateways with settings of the test's choice; they stop with the test."""
    async with AsyncExitStack() as stack:

        async def start(
            clock: Clock | None = None, authenticator: Authenticator | None = None, **settings: Any
        ) -> Gateway:
            defaults: dict[str, Any] = {
                "port": 0,
                "jwt_secret": SECRET,
                "api_key": API_KEY,
                "drain_seconds": 1,
                "engine": "memory",
            }
            if settings.get("jwks_url"):
                del defaults["jwt_secret"]
            node = Node(Settings(**defaults | settings), clock, authenticator)
            return Gateway(node, await stack.enter_async_context(node.running()))

        yield start


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> Gateway:
    """A gateway with the usual settings."""
    started = await start_gateway()
    assert isinstance(started, Gateway)
    return started


@pytest.fixture
def producer(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """The environment of a producer that publishes to `gateway`."""
    monkeypatch.setenv("TELLWIRE_URL", gateway.url)
    monkeypatch.setenv("TELLWIRE_API_KEY", API_KEY)
    from tellwire.producer import _carrier_of_process

    _carrier_of_process.cache_clear()
    yield gateway
    _carrier_of_process.cache_clear()


HANG_SECONDS = 90.0
"""The timeout of an async test. The test fails with the stack of its wait, and the run continues."""


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, LoopFactory]:
    """Run tests with sockets on both event loops: the server's uvloop, and asyncio's, which programs have."""
    if item.get_closest_marker("virtual_time"):
        return {"virtual": VirtualTimeLoop}
    factories: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop}
    # A history and a list of row errors have no sockets.
    without_sockets = ("test_broker.py", "test_conversation.py", "test_history.py", "test_row_errors.py")
    has_sockets = "contract" in item.path.parts and item.path.name not in without_sockets
    if has_sockets or "gateway" in item.path.parts:
        factories["uvloop"] = uvloop.new_event_loop
    return factories


def pytest_itemcollected(item: pytest.Item) -> None:
    """Bound the wait of every async test, below the limit of `pytest-timeout`, which ends the whole process."""
    if not isinstance(item, pytest.Function) or not inspect.iscoroutinefunction(item.obj):
        return
    # Hypothesis calls the test by itself, many times.
    if not hasattr(item.obj, "hypothesis"):
        own = item.get_closest_marker("timeout")
        item.obj = _bounded(item.obj, max(HANG_SECONDS, own.args[0] - 10) if own and own.args else HANG_SECONDS)


def _bounded(test: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    @functools.wraps(test)
    async def run(*args: Any, **kwargs: Any) -> None:
        # Where time is virtual it is free, and an hour of it is more than any test sleeps.
        is_virtual = isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
        try:
            async with asyncio.timeout(3600 if is_virtual else seconds) as bound:
                await test(*args, **kwargs)
        except TimeoutError as error:
            if bound.expired():
                raise TimeoutError(f"the test still waits after {seconds:g} s") from error
            raise

    return run
