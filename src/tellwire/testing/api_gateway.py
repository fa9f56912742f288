"""A local API Gateway for tests: your handlers, real sockets, and a clock that only `advance` moves.

It runs in a thread of its own, so a test may be synchronous and call boto3 while the gateway serves, or asynchronous
and connect with any client.
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
    """A running API. Clients connect to `url`; `management_url` is boto3's `endpoint_url`.

    `environment` has the variables with which handlers find it; `clock` is its clock, moved with `advance`.
    """

    def __init__(self, local: LocalApi, clock: FakeClock, loop: asyncio.AbstractEventLoop) -> None:
        self._local = local
        self._loop = loop
        self.clock = clock
        self.url = local.websocket_url
        self.management_url = local.management_url
        self.environment = local.environment

    def advance(self, seconds: float) -> None:
        """Move the clock forward: idle and duration limits, and the timeouts of handlers, follow it.

        A handler that has already answered gets a quarter of a second of real time to end first. One that hangs does
        not delay the clock further.
        """
        self._run(self._advance(seconds))

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
            websockets.exceptions.InvalidStatus: the handshake was refused, with the status `.response.status_code`.
        """
        url = f"{self.url}?{urlencode(query)}" if query else self.url
        offered: Any = list(subprotocols) or None
        with connect(url, additional_headers=headers, subprotocols=offered, proxy=None, **options) as socket:
            yield socket

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
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
        ConfigError: an argument is invalid, or arguments contradict each other.
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
    fake_clock = clock or FakeClock()
    handlers = {key: InProcess.of(handler, fake_clock.now) for key, handler in routes.items()}
    request_authorizer = None
    if authorizer is not None:
        handlers["authorizer"] = InProcess.of(authorizer, fake_clock.now)
        request_authorizer = Authorizer("authorizer", tuple(IdentitySource(each) for each in sorted(sources)))
    definition = Api(
        tuple(Route(key, key, has_response=key in answers) for key in routes),
        stage=stage,
        authorizer=request_authorizer,
        route_selection_expression=route_selection_expression,
        stage_variables=dict(stage_variables or {}),
    )
    with (
        LocalApi(definition, handlers, clock=fake_clock, credentials=credentials) as local,
        _serving(local) as loop,
    ):
        yield ApiGateway(local, fake_clock, loop)


def _listed(name: str, given: Iterable[str]) -> set[str]:
    # A string is an iterable of strings, too: its characters.
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
