"""A local API Gateway for tests: your handlers, real sockets, and a clock that moves when told.

It runs in a thread of its own, so a test may be synchronous and call boto3 while the gateway serves, or asynchronous
and connect with whatever client it likes.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar
from urllib.parse import urlencode

from websockets.sync.client import ClientConnection, connect

from tellwire.apigateway.definition import Api, Authorizer, IdentitySource, Route
from tellwire.apigateway.local import LocalApi
from tellwire.apigateway.runner.host import InProcess
from tellwire.aws_api.sigv4 import Credentials
from tellwire.errors import ConfigError, shown
from tellwire.testing.clock import FakeClock

Handler = Callable[[Any, Any], Any]
T = TypeVar("T")

_ANSWER_SECONDS = 30.0
_MOMENT_SECONDS = 0.25


class ApiGateway:
    """A running API. `url` is where clients connect, `management_url` what boto3 wants as `endpoint_url`.

    `environment` is what handlers need to find it; `clock` the clock it runs on, moved with `advance`.
    """

    def __init__(self, local: LocalApi, clock: FakeClock, loop: asyncio.AbstractEventLoop) -> None:
        self._local = local
        self._loop = loop
        self.clock = clock
        self.url = local.websocket_url
        self.management_url = local.management_url
        self.environment = local.environment

    def advance(self, seconds: float) -> None:
        """Let time pass: idle and duration limits, and how long a handler may take, go by it.

        A handler whose message a client has is about to end, and gets a moment of real time for that. One that hangs is
        left behind.
        """
        self._do(self._advance(seconds))

    async def _advance(self, seconds: float) -> None:
        await self._local.functions.wait_idle(_MOMENT_SECONDS)
        await self.clock.advance(seconds)

    @contextlib.contextmanager
    def connect(
        self,
        query: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        subprotocols: Iterable[str] = (),
        **options: Any,
    ) -> Iterator[ClientConnection]:
        """Connect as a client, as `websockets.sync.client.connect` does, with its `options`.

        `query` are parameters by name; `headers` go with the handshake, `subprotocols` are offered.

        Raises:
            websockets.exceptions.InvalidStatus: the handshake was refused; `.response.status_code` says how.
        """
        url = f"{self.url}?{urlencode(query)}" if query else self.url
        offered: Any = list(subprotocols) or None
        with connect(url, additional_headers=headers, subprotocols=offered, proxy=None, **options) as socket:
            yield socket

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_ANSWER_SECONDS)


@contextlib.contextmanager
def run_api_gateway(
    routes: Mapping[str, Handler],
    *,
    authorizer: Handler | None = None,
    identity_sources: Iterable[str] = (),
    answering: Iterable[str] = (),
    stage: str = "prod",
    route_selection_expression: str = "$request.body.action",
    stage_variables: Mapping[str, str] | None = None,
    clock: FakeClock | None = None,
    credentials: Credentials | None = None,
) -> Iterator[ApiGateway]:
    """Run an API made of handlers, on a free port of this machine.

    `routes` are handlers by route key. `answering` are the routes with a route response, whose `body` goes back to the
    client. With `credentials`, signatures of the management API are verified.

    Raises:
        ConfigError: it does not fit together.
    """
    answers = _listed("answering", answering)
    if not answers <= routes.keys():
        raise ConfigError(f"answering: got {shown(sorted(answers - routes.keys()))}; allowed: {', '.join(routes)}")
    for name, handler in [*routes.items(), ("authorizer", authorizer or callable)]:
        if not callable(handler):
            raise ConfigError(f"handler of {name}: got {shown(handler)}; allowed: a function of an event and a context")
    sources = _listed("identity_sources", identity_sources)
    if sources and authorizer is None:
        raise ConfigError("identity_sources: got some; allowed: with an authorizer")
    moved_by_hand = clock or FakeClock()
    handlers = {key: InProcess.of(handler, moved_by_hand.now) for key, handler in routes.items()}
    asked = None
    if authorizer is not None:
        handlers["authorizer"] = InProcess.of(authorizer, moved_by_hand.now)
        asked = Authorizer("authorizer", tuple(IdentitySource(each) for each in sorted(sources)))
    definition = Api(
        tuple(Route(key, key, has_response=key in answers) for key in routes),
        stage=stage,
        authorizer=asked,
        route_selection_expression=route_selection_expression,
        stage_variables=dict(stage_variables or {}),
    )
    with (
        LocalApi(definition, handlers, clock=moved_by_hand, credentials=credentials) as local,
        _serving(local) as loop,
    ):
        yield ApiGateway(local, moved_by_hand, loop)


def _listed(name: str, given: Iterable[str]) -> set[str]:
    # A text is an iterable of texts, too: its letters.
    if isinstance(given, str):
        raise ConfigError(f"{name}: got {given!r}; allowed: a list of them, as [{given!r}]")
    return set(given)


@contextlib.contextmanager
def _serving(local: LocalApi) -> Iterator[asyncio.AbstractEventLoop]:
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        ended = asyncio.Event()
        async with local.running():
            started.set_result((asyncio.get_running_loop(), ended))
            await ended.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = threading.Thread(target=run, name="tellwire-api-gateway", daemon=True)
    thread.start()
    loop, ended = started.result(_ANSWER_SECONDS)
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(_ANSWER_SECONDS)
