"""A local API Gateway: the composition of its parts, its start and its end.

The only module that chooses the clock, the functions and the address that the others work with.
"""

import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from tellwire.apigateway.application import ApiGatewayApplication
from tellwire.apigateway.certificate import make_certificate
from tellwire.apigateway.clock_api import ClockApi
from tellwire.apigateway.definition import Api, Function
from tellwire.apigateway.management import ManagementApi
from tellwire.apigateway.runner.functions import DeployedFunction, Functions, lambda_environment
from tellwire.apigateway.runner.host import InProcess
from tellwire.apigateway.runner.process import WorkerProcess
from tellwire.aws_api.sigv4 import Credentials
from tellwire.carriers.hub import Hub
from tellwire.errors import ConfigError
from tellwire.limits import FUNCTION_MEMORY_MB, FUNCTION_TIMEOUT_SECONDS
from tellwire.ports import Clock, SystemClock
from tellwire.server.framing import text_frames
from tellwire.server.server import Server, authority_of, listen
from tellwire.server.socket import SocketLimits, Sockets

_DRAIN_SECONDS = 5.0

DUMMY_CREDENTIALS = Credentials("local", "local")
"""Credentials that handlers sign with when signatures are not checked."""


class LocalApi:
    """A WebSocket API on this machine.

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
        api: Api,
        functions: Mapping[str, Function | InProcess],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock | None = None,
        credentials: Credentials | None = None,
        environment: Mapping[str, str] | None = None,
        socket_limits: SocketLimits | None = None,
    ) -> None:
        self._host, self._port = host, port
        self.clock = clock or SystemClock()
        self._credentials = credentials
        self._more_environment = dict(environment or {})
        self._sources = functions
        self._limits = replace(socket_limits or SocketLimits(), ping_after_seconds=0, closes_slow=False)
        self._resources = contextlib.ExitStack()
        self.api = api
        for name in _named_functions(api):
            if name not in functions:
                raise ConfigError(f"function: got {name!r}, which does not exist; allowed: {', '.join(functions)}")

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(contextlib.closing(listen(self._host, self._port)))
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tellwire-")))
            tls, self._trusted = make_certificate(directory, self._host)
            self.api = replace(self.api, domain_name=_reachable(listener))
            self._compose(listener, tls)
            self._resources = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def _compose(self, listener: socket.socket, tls: Any) -> None:
        hub = Hub(self.clock, text_frames)
        self.functions = Functions(self._deployed(), self.clock, self.api.region)
        self._application = ApiGatewayApplication(self.api, self.functions, hub, self.clock)
        self._server = Server(
            Sockets(self._application, self.clock, self._limits),
            ClockApi(ManagementApi(self.api, hub, self.clock, self._credentials), self.clock),
            drain_seconds=_DRAIN_SECONDS,
            listener=listener,
            tls=tls,
        )

    def _deployed(self) -> dict[str, DeployedFunction]:
        deployed = {}
        for name, source in self._sources.items():
            if isinstance(source, Function):
                worker = WorkerProcess(source, self.environment_of(source))
                deployed[name] = DeployedFunction(source.name, worker, source.timeout_seconds, source.memory_mb)
            else:
                deployed[name] = DeployedFunction(name, source, FUNCTION_TIMEOUT_SECONDS, FUNCTION_MEMORY_MB)
        return deployed

    # --- addresses and environment ------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port of the listening socket."""
        return self._server.address[1]

    @property
    def websocket_url(self) -> str:
        """The URL that clients connect to."""
        return f"ws://{self.api.domain_name}/{self.api.stage}"

    @property
    def management_url(self) -> str:
        """The `endpoint_url` of the management API."""
        return f"http://{self.api.domain_name}/{self.api.stage}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables with which handlers find this API and no other, and trust its certificate."""
        credentials = self._credentials or DUMMY_CREDENTIALS
        return {
            "AWS_ACCESS_KEY_ID": credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
            "AWS_REGION": self.api.region,
            "AWS_DEFAULT_REGION": self.api.region,
            "AWS_CA_BUNDLE": str(self._trusted),
            "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI": self.management_url,
        } | self._more_environment

    def environment_of(self, function: Function) -> dict[str, str]:
        """Return the environment of a function in a process of its own.

        A URL that the template builds from the API's id and region leads to this machine instead.
        """
        own = lambda_environment(function, self.api.region)
        here = str(self.api.domain_name)
        local = {name: value.replace(self.api.execute_api_host, here) for name, value in own.items()}
        return self.environment | local | self._more_environment

    # --- start and end ------------------------------------------------------------------------------------------------

    async def serve(self, started: Callable[[], None] | None = None) -> None:
        """Load the functions, and run until SIGTERM or SIGINT; then close all connections and end `$disconnect`s.

        Raises:
            ConfigError: a function cannot be run here.
        """
        try:
            await self.functions.start()
            await self._server.serve(started)
        finally:
            await self._end()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve inside this event loop, and yield the WebSocket URL."""
        try:
            await self.functions.start()
            async with self._server.running():
                yield self.websocket_url
        finally:
            await self._end()

    async def _end(self) -> None:
        await self._application.drain(_DRAIN_SECONDS)
        await self.functions.close()


def _named_functions(api: Api) -> list[str]:
    authorizer = [api.authorizer.function] if api.authorizer is not None else []
    return [route.function for route in api.routes] + authorizer


def _reachable(listener: socket.socket) -> str:
    """Return the address by which handlers on this machine reach the listener; a wildcard address cannot be called."""
    host, port = listener.getsockname()[:2]
    return authority_of({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port)  # noqa: S104 - told apart, not bound
