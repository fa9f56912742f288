"""Fixtures of all tests: a real gateway inside the test's event loop, and devices that connect to it."""

import asyncio
import functools
import inspect
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt
import pytest
import uvloop
from hypothesis import settings as hypothesis_settings
from hypothesis.internal.conjecture import providers
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tellwire.auth import mint_token
from tellwire.config import Settings
from tellwire.gateway import Node
from tellwire.ports import Authenticator, Clock
from tests.virtual_time import VirtualTimeLoop, virtual_time

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

# A run should not fail on a dice roll. Who looks for something new asks for it: `pytest --hypothesis-profile=random`.
hypothesis_settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis_settings.register_profile("random", deadline=None)
hypothesis_settings.load_profile("repeatable")
pytest_plugins = ["tellwire.testing.pytest_plugin", "tests.dynamodb", "tests.redis_server", "tests.scheduling"]

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

SECRET = "a-secret-for-tests-of-forty-characters.."
API_KEY = "key-for-tests-0123456789"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove a developer's own settings from the environment."""
    for name in list(os.environ):
        if name.startswith(("TELLWIRE_", "COGNITO_", "AWS_", "CONNECTIONS_TABLE_", "WEBSOCKET_API_")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def no_carrier_of_another_test() -> Iterator[None]:
    """Forget the carrier that the environment of a test has named: a process keeps it as long as it runs."""
    yield
    producer = sys.modules.get("tellwire.producer")
    if producer is not None:
        producer._carrier_of_process.cache_clear()


_LEVELLED = [logging.getLogger(name) for name in ("tellwire", "tellwire.gateway", "uvicorn", "watchfiles")]


@pytest.fixture(autouse=True)
def levels_of_logs() -> Iterator[None]:
    """Give loggers the levels again that they had: a command that runs in the process of tests sets some."""
    levels = [each.level for each in _LEVELLED]
    yield
    for logger, level in zip(_LEVELLED, levels, strict=True):
        if logger.level != level:
            logger.setLevel(level)


@pytest.fixture(autouse=True)
def one_time(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the virtual time, if a test has one, for the intervals of uploads."""
    if request.node.get_closest_marker("virtual_time"):
        for module in ("progress", "ticks"):
            monkeypatch.setattr(f"tellwire.{module}.monotonic", lambda: virtual_time().time())


def token_for(
    user_id: str = "user-1", ttl_seconds: float = 3600, *, issued_at: float | None = None, **token: Any
) -> str:
    """Return a token that was issued at a time of the server's clock; None: it does not say.

    `mint_token` takes the time of the machine, which a clock that stands still may never come to.
    """
    claims = jwt.decode(mint_token(SECRET, user_id, ttl_seconds, **token), options={"verify_signature": False})
    del claims["iat"]
    issued = {} if issued_at is None else {"iat": int(issued_at)}
    return jwt.encode(claims | issued, SECRET, algorithm="HS256")


@dataclass
class Gateway:
    """A running node, and ways to connect to it."""

    node: Node
    url: str

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    def token(self, user_id: str = "user-1", ttl_seconds: float = 3600) -> str:
        """Return a token that is issued now, by the gateway's clock."""
        now = int(self.node._clock.now())
        claims = {"sub": user_id, "iat": now, "exp": now + int(ttl_seconds)}
        return jwt.encode(claims, SECRET, algorithm="HS256")

    @asynccontextmanager
    async def device(self, user_id: str = "user-1", **options: Any) -> AsyncIterator[ClientConnection]:
        """Connect as a device of a user, the way the guide does."""
        uri = f"{self.ws_url}/?token={self.token(user_id)}"
        async with connect(uri, proxy=None, compression=None, **options) as socket:
            yield socket

    @asynccontextmanager
    async def devices(
        self, count: int, user_id: str = "user-1", **options: Any
    ) -> AsyncIterator[list[ClientConnection]]:
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(self.device(user_id, **options)) for _ in range(count)]

    async def ends(self) -> None:
        """Stop the node, and wait until it serves nobody, also on connections that it has."""
        drain = self.node.sockets.drain
        self.node.stop()
        while not drain.is_ending:
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
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator["InMemorySpanExporter"]:
    """The spans of a program that has set up OpenTelemetry. Its provider is that of the process, once and for all."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    yield exporter
    provider.shutdown()


@pytest.fixture
def producer(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """The environment of a producer that publishes to `gateway`."""
    monkeypatch.setenv("TELLWIRE_URL", gateway.url)
    monkeypatch.setenv("TELLWIRE_API_KEY", API_KEY)
    return gateway


HANG_SECONDS = 200.0
"""The timeout of an async test. The test fails with the stack of its wait, and the run continues."""


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, LoopFactory]:
    """Run tests with sockets on both event loops: the server's uvloop, and asyncio's, which programs have."""
    if item.get_closest_marker("virtual_time"):
        return {"virtual": VirtualTimeLoop}
    factories: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop}
    if _has_sockets(item):
        factories["uvloop"] = uvloop.new_event_loop
    return factories


def _has_sockets(item: pytest.Item) -> bool:
    # A history and a list of row errors have none.
    without = ("test_broker.py", "test_conversation.py", "test_history.py", "test_row_errors.py")
    return ("contract" in item.path.parts and item.path.name not in without) or "gateway" in item.path.parts


def pytest_configure(config: pytest.Config) -> None:
    """Make repeatable runs repeatable.

    Hypothesis also tries the constants of all modules that are loaded, which are others in each process and in each
    order of the tests.
    """
    if config.getoption("hypothesis_profile", None) is None:
        vars(providers)["is_local_module_file"] = lambda path: False


def pytest_itemcollected(item: pytest.Item) -> None:
    """Bound the wait of every async test, below the limit of `pytest-timeout`, which ends the whole process.

    What another variant of a test shows as well is left to CI.
    """
    if not isinstance(item, pytest.Function) or not inspect.iscoroutinefunction(item.obj):
        return
    if _is_second_way(item):
        item.add_marker("long")
    # Hypothesis calls the test by itself, many times.
    if not hasattr(item.obj, "hypothesis"):
        own = item.get_closest_marker("timeout")
        item.obj = _bounded(item.obj, max(HANG_SECONDS, own.args[0] - 10) if own and own.args else HANG_SECONDS)


def _is_second_way(item: pytest.Item) -> bool:
    """Return True for moto beside Amazon's own DynamoDB, and for asyncio's event loop beside the server's."""
    on_moto = "aws on moto" in item.nodeid and item.path.name == "test_carrier.py"
    return on_moto or (_has_sockets(item) and "[asyncio" in item.nodeid)


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
