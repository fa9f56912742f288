"""A local API Gateway: the composition of its parts, its start and its end.

The only module that chooses the clock, the functions and the address that the others work with.
"""

import contextlib
import socket
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from starlette.requests import Request
from starlette.responses import Response

from tellwire.apigateway.application import ApiGatewayApplication
from tellwire.apigateway.certificate import make_certificate
from tellwire.apigateway.clock_api import ClockApi
from tellwire.apigateway.definition import Api, Function
from tellwire.apigateway.management import ManagementApi
from tellwire.apigateway.runner.environment_pool import EnvironmentPool
from tellwire.apigateway.runner.functions import DeployedFunction, Functions, lambda_environment
from tellwire.apigateway.runner.host import InProcess
from tellwire.apigateway.runner.hosts import lead_hosts_here
from tellwire.apigateway.runner.reaper import Reaper
from tellwire.apigateway.services.attached import (
    TemplateServices,
    service_environment,
    trust,
    trust_environment,
)
from tellwire.apigateway.services.hosts import HOSTS_VARIABLE, execute_api_suffix, host_table
from tellwire.apigateway.sites import Site, Sites
from tellwire.aws_api.sigv4 import Credentials
from tellwire.carriers.hub import Hub
from tellwire.errors import ConfigError
from tellwire.limits import FUNCTION_MEMORY_MB, FUNCTION_TIMEOUT_SECONDS
from tellwire.ports import Clock, SystemClock
from tellwire.server.drain import Drain
from tellwire.server.framing import text_frames
from tellwire.server.server import Server, authority_of, listen
from tellwire.server.sockets import SocketLimits, Sockets

_DRAIN_SECONDS = 5.0
_MANAGEMENT_VARIABLE = "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI"

DUMMY_CREDENTIALS = Credentials("local", "local")
"""Credentials that handlers sign with when signatures are not checked."""


class LocalApi:
    """A WebSocket API on this machine, or several, each below its own path.

    Entering it listens on the address and makes the certificate, so that `environment` can be given to handlers before
    anything is served; leaving it closes both.

    Example:
        with LocalApi(api, {"echo": InProcess(lambda: echo)}) as local:
            async with local.running():
                ...  # connect to local.websocket_url

    Raises:
        ConfigError: a route or the authorizer names a function that is not given, or the address cannot be listened on.
    """

    def __init__(
        self,
        apis: Api | Sequence[Api],
        functions: Mapping[str, Function | InProcess],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock | None = None,
        credentials: Credentials | None = None,
        environment: Mapping[str, str] | None = None,
        socket_limits: SocketLimits | None = None,
        services: "TemplateServices | None" = None,
        on_demand: Collection[str] = (),
    ) -> None:
        self._host, self._port = host, port
        self.clock = clock or SystemClock()
        self._credentials = credentials
        self._more_environment = dict(environment or {})
        self._sources = functions
        self._services = services
        self._on_demand = on_demand
        self._limits = replace(socket_limits or SocketLimits(), ping_after_seconds=0, closes_slow=False)
        self._resources = contextlib.ExitStack()
        self._reaper = Reaper()
        self.apis = (apis,) if isinstance(apis, Api) else tuple(apis)
        for name in (name for api in self.apis for name in api.functions):
            if name not in functions:
                raise ConfigError(f"function: got {name!r}, which does not exist; allowed: {', '.join(functions)}")

    @property
    def api(self) -> Api:
        """The API, or the first of several."""
        return self.apis[0]

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(contextlib.closing(listen(self._host, self._port)))
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tellwire-")))
            tls, self._trusted = make_certificate(directory, self._host, [execute_api_suffix(self.api.region)])
            if self._services is not None:
                trust(self._trusted, self._services.server)
            here = _reachable(listener)
            # Handlers put the domain name before the stage: with the prefix in it they find their own API.
            self.apis = tuple(replace(api, domain_name=f"{here}{api.prefix}") for api in self.apis)
            self._address = here
            self._compose(listener, tls)
            self._resources = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def _compose(self, listener: socket.socket, tls: Any) -> None:
        left_out = {
            name: source.left_out
            for name, source in self._sources.items()
            if isinstance(source, Function) and source.left_out is not None
        }
        self.functions = Functions(self._deployed(), self.clock, self.api.region, left_out)
        self._sites = Sites({api.prefix: self._site(api) for api in self.apis}, self._refusal)
        self._server = Server(
            Sockets(self._sites, self.clock, self._limits, drain=Drain(_DRAIN_SECONDS, 0.0)),
            ClockApi(self._sites, self.clock),
            listener=listener,
            tls=tls,
        )

    def _refusal(self, request: Request) -> Response | None:
        """Return the answer to a management client that the template does not permit, when strict."""
        if self._services is None or "/@connections/" not in request.url.path:
            return None
        headers = {name.lower(): value for name, value in request.headers.items()}
        answer = self._services.server.management_refusal(headers)
        if answer is None:
            return None
        return Response(answer.body, answer.status, dict(answer.headers), answer.media_type)

    def _site(self, api: Api) -> Site:
        hub = Hub(self.clock, text_frames)
        services = self._services.caller(api.region) if self._services is not None else None
        application = ApiGatewayApplication(api, self.functions, hub, self.clock, services)
        return application, ManagementApi(api, hub, self.clock, self._credentials)

    def _deployed(self) -> dict[str, DeployedFunction]:
        deployed = {}
        for name, source in self._sources.items():
            if not isinstance(source, Function):
                deployed[name] = DeployedFunction(name, source, FUNCTION_TIMEOUT_SECONDS, FUNCTION_MEMORY_MB)
            elif source.left_out is None:
                pool = EnvironmentPool(source, self.environment_of(source, name), self._reaper)
                deployed[name] = DeployedFunction(
                    source.name, pool, source.timeout_seconds, source.memory_mb, name in self._on_demand
                )
        return deployed

    # --- addresses and environment ------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port of the listening socket."""
        return self._server.address[1]

    @property
    def address(self) -> str:
        """The host and the port by which handlers on this machine reach the listener."""
        return self._address

    @property
    def websocket_url(self) -> str:
        """The URL that clients connect to; of several APIs, that of the first."""
        return websocket_url(self.api)

    @property
    def management_url(self) -> str:
        """The `endpoint_url` of the management API; of several APIs, that of the first."""
        return management_url(self.api)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables with which handlers find this API and no other, and trust its certificate."""
        services = {} if self._services is None else {"AWS_ENDPOINT_URL": self._services.server.url}
        return services | self._environment(self.api)

    def _environment(self, api: Api) -> dict[str, str]:
        credentials = self._credentials or DUMMY_CREDENTIALS
        return {
            "AWS_ACCESS_KEY_ID": credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
            "AWS_REGION": api.region,
            "AWS_DEFAULT_REGION": api.region,
            "AWS_CA_BUNDLE": str(self._trusted),
            "NODE_EXTRA_CA_CERTS": str(self._trusted),
            _MANAGEMENT_VARIABLE: management_url(api),
        } | self._more_environment

    def environment_of(self, function: Function, logical_id: str = "") -> dict[str, str]:
        """Return the environment of a function in a process of its own. Of several APIs, its own is the first it is in.

        A URL that the template builds from an API's id and region leads to this machine instead.
        """
        api = next((api for api in self.apis if logical_id in api.functions), self.api)
        local = lambda_environment(function, api.region)
        for each in self.apis:
            host = str(each.domain_name)
            local = {name: value.replace(each.execute_api_host, host) for name, value in local.items()}
        if self._services is not None:
            local = {name: self._services.led_here(value, api.region) for name, value in local.items()}
        found = self._environment(api)
        if self._services is not None and _MANAGEMENT_VARIABLE not in self._more_environment:
            # A client without an endpoint of its own comes to the services, which say that this fails on AWS.
            del found[_MANAGEMENT_VARIABLE]
        return found | self._of_services(function) | local | self._more_environment

    def variables_of(self, name: str) -> dict[str, str]:
        """Return the environment of a function by its name here.

        Raises:
            ConfigError: there is no such function in a process of its own.
        """
        function = self._sources.get(name)
        if not isinstance(function, Function):
            named = (each for each, source in self._sources.items() if isinstance(source, Function))
            raise ConfigError(f"function: got {name!r}; allowed: {', '.join(named) or 'none without a template'}")
        return self.environment_of(function, name)

    async def invoke(self, name: str, event: Any) -> Any:
        """Invoke a function by its name here, and return its result.

        Raises:
            ConfigError: there is no such function, or it cannot run here.
            HandlerFailed: it raised an error, or timed out.
        """
        if name not in self._sources:
            raise ConfigError(f"function: got {name!r}; allowed: {', '.join(self._sources)}")
        return await self.functions.invoke(name, event, str(uuid.uuid4()))

    def _of_services(self, function: Function) -> dict[str, str]:
        """Return the variables by which a worker process finds the services, and AWS's host names lead here."""
        given, server = self._more_environment, self._services.server if self._services is not None else None
        hosts = host_table(self.api.region, self._address, server.tls_address if server is not None else None, given)
        own = {HOSTS_VARIABLE: hosts, **trust_environment(self._trusted)}
        return own if server is None else own | service_environment(server, function, given)

    def enter_process(self, kept: Mapping[str, str]) -> dict[str, str]:
        """Lead the host names of AWS here in this process, and return the variables for handlers that run in it.

        `kept` are variables of the developer that stay.
        """
        services = self._services
        tls_address = None if services is None else services.server.tls_address
        given = {**kept, **self._more_environment}
        lead_hosts_here({HOSTS_VARIABLE: host_table(self.api.region, self._address, tls_address, given)})
        return self.environment | ({} if services is None else trust_environment(self._trusted))

    # --- start and end ------------------------------------------------------------------------------------------------

    async def serve(self, started: Callable[[], None] | None = None) -> None:
        """Load the functions, and run until SIGTERM or SIGINT; then close all connections and end `$disconnect`s.

        Raises:
            ConfigError: a function cannot be run here.
        """
        try:
            await self._start()
            await self._server.serve(started)
        finally:
            await self._end()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve inside this event loop, and yield the WebSocket URL."""
        try:
            await self._start()
            async with self._server.running():
                yield self.websocket_url
        finally:
            await self._end()

    async def _start(self) -> None:
        if self._services is not None:
            self._services.attach(self.functions, self.clock, self.api.region, self.management_url)
        await self.functions.start()
        if self._services is not None:
            self._services.start()

    async def _end(self) -> None:
        await self._sites.drain(_DRAIN_SECONDS)
        if self._services is not None:
            await self._services.close()
        await self.functions.close()
        await self._reaper.close()


def websocket_url(api: Api) -> str:
    """Return the URL that clients of an API connect to."""
    return f"ws://{api.domain_name}/{api.stage}"


def management_url(api: Api) -> str:
    """Return the `endpoint_url` of the management API of an API."""
    return f"http://{api.domain_name}/{api.stage}"


def _reachable(listener: socket.socket) -> str:
    """Return the address by which handlers on this machine reach the listener; a wildcard address cannot be called."""
    host, port = listener.getsockname()[:2]
    return authority_of({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port)  # noqa: S104 - told apart, not bound
