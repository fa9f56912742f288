"""A local API Gateway for tests: your handlers, real sockets, and a clock that only `advance` moves.

It runs in a thread of its own, so a test may be synchronous and call boto3 while the gateway serves, or asynchronous
and connect with any client.
"""

import asyncio
import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

from tellwire.aws_api.sigv4 import Credentials
from tellwire.errors import ConfigError, shown
from tellwire.extras import needs_extra
from tellwire.testing.clock import FakeClock

with needs_extra("tellwire.testing.api_gateway", "local"):
    from websockets.sync.client import ClientConnection, connect

    from tellwire.apigateway.definition import Api, Authorizer, Function, IdentitySource, Project, Route
    from tellwire.apigateway.local import LocalApi
    from tellwire.apigateway.runner.host import InProcess
    from tellwire.apigateway.services.attached import TemplateServices, services_of

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

    def invoke(self, function: str, event: Any) -> Any:
        """Invoke a function of the template, by its logical id, and return its result.

        Raises:
            ConfigError: the template has no such function, or it cannot run here.
            HandlerFailed: it raised an error, or timed out; `payload` has the error.
        """
        return self._run(self._local.invoke(function, event))

    def environment_of(self, function: str) -> dict[str, str]:
        """Return the variables that a function of the template has here, for code of it that a test calls itself.

        Raises:
            ConfigError: the template has no such function.
        """
        return self._local.variables_of(function)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_ANSWER_SECONDS)


@contextlib.contextmanager
def run_api_gateway(
    routes: Mapping[str, Handler] | None = None,
    *,
    authorizer: Handler | None = None,
    identity_sources: Iterable[str] = (),
    answering: Iterable[str] = (),
    stage: str | None = None,
    route_selection_expression: str = "$request.body.action",
    stage_variables: Mapping[str, str] | None = None,
    clock: FakeClock | None = None,
    credentials: Credentials | None = None,
    template: Path | str | None = None,
    replacements: Mapping[str, Handler] | None = None,
    parameters: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[ApiGateway]:
    """Run an API made of handlers, or that of a template, on a free port of this machine.

    `routes` are handlers by route key. `answering` are the routes with a route response, whose `body` goes back to the
    client. With `credentials`, signatures of the management API are verified.

    With a `template` its functions run in processes of their own, with its tables; `replacements` are handlers of this
    process, by names of functions, or of routes that cannot run here. `environment` has more variables for functions.

    Raises:
        ConfigError: an argument is invalid, or arguments contradict each other.
    """
    fake_clock = clock or (FakeClock() if template is None else FakeClock(time.time()))
    services: TemplateServices | None = None
    on_demand: frozenset[str] = frozenset()
    more: Mapping[str, str] = {}
    apis: Sequence[Api]
    with contextlib.ExitStack() as stack:
        if template is not None:
            if routes or authorizer or identity_sources or answering or stage_variables:
                raise ConfigError(
                    "template: got routes, too; allowed: template with replacements, parameters and stage"
                )
            project, services = _of_template(stack, Path(template), stage, parameters or {})
            apis, functions = project.apis, _with_replacements(project, replacements or {}, fake_clock)
            on_demand, more = project.on_demand, services.table_environment
        else:
            if replacements or parameters or routes is None:
                raise ConfigError("routes: got none; allowed: handlers by route key, or a template")
            apis, functions = _of_handlers(routes, authorizer, identity_sources, answering, fake_clock)
            apis = [
                replace(
                    api,
                    stage="prod" if stage is None else stage,
                    route_selection_expression=route_selection_expression,
                    stage_variables=dict(stage_variables or {}),
                )
                for api in apis
            ]
        local = stack.enter_context(
            LocalApi(
                apis,
                functions,
                clock=fake_clock,
                credentials=credentials,
                environment={**more, **(environment or {})},
                services=services,
                on_demand=on_demand,
            )
        )
        loop = stack.enter_context(_serving(local))
        yield ApiGateway(local, fake_clock, loop)


Functions = dict[str, Function | InProcess]


def _of_handlers(
    routes: Mapping[str, Handler],
    authorizer: Handler | None,
    identity_sources: Iterable[str],
    answering: Iterable[str],
    clock: FakeClock,
) -> tuple[list[Api], Functions]:
    answers = _listed("answering", answering)
    if not answers <= routes.keys():
        raise ConfigError(f"answering: got {shown(sorted(answers - routes.keys()))}; allowed: {', '.join(routes)}")
    handlers = {key: _in_process(key, handler, clock) for key, handler in routes.items()}
    sources = _listed("identity_sources", identity_sources)
    if sources and authorizer is None:
        raise ConfigError("identity_sources: got some; allowed: with an authorizer")
    asked = None
    if authorizer is not None:
        handlers["authorizer"] = _in_process("authorizer", authorizer, clock)
        asked = Authorizer("authorizer", tuple(IdentitySource(each) for each in sorted(sources)))
    answering_routes = tuple(Route(key, key, has_response=key in answers) for key in routes)
    return [Api(answering_routes, authorizer=asked)], dict(handlers)


def _of_template(
    stack: contextlib.ExitStack, template: Path, stage: str | None, parameters: Mapping[str, str]
) -> tuple[Project, TemplateServices]:
    from tellwire.apigateway.template import read_project

    workspace = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tellwire-")))
    project = read_project(template, stage=stage, parameters=parameters, workspace=workspace)
    return project, stack.enter_context(services_of(project))


def _with_replacements(project: Project, replacements: Mapping[str, Handler], clock: FakeClock) -> Functions:
    functions: Functions = dict(project.functions)
    for name, handler in replacements.items():
        found = name if name in functions else f"route {name}"
        if found not in functions:
            names = ", ".join(each.removeprefix("route ") for each in functions)
            raise ConfigError(f"replacements: got {name!r}; allowed: {names}")
        functions[found] = _in_process(name, handler, clock)
    return functions


def _in_process(name: str, handler: Handler, clock: FakeClock) -> InProcess:
    if not callable(handler):
        raise ConfigError(f"handler of {name}: got {shown(handler)}; allowed: a function of an event and a context")
    return InProcess.of(handler, clock.monotonic)


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
