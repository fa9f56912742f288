"""Definition of a WebSocket API: its routes, authorizer, functions and tables. Data only.

Command-line options, templates and test fixtures are read into these classes; all other modules here work on them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from tellwire.apigateway.services.definition import ServiceAction, Services
from tellwire.errors import ConfigError
from tellwire.limits import FUNCTION_MEMORY_MB, FUNCTION_TIMEOUT_SECONDS, INTEGRATION_TIMEOUT_SECONDS

CONNECT: Final = "$connect"
DISCONNECT: Final = "$disconnect"
DEFAULT: Final = "$default"

ACCOUNT_ID: Final = "123456789012"
"""The account id in AWS's own examples."""

Event = dict[str, Any]
"""The event that a function is invoked with: JSON."""

_IDENTITY_SOURCE = re.compile(r"(route\.request\.(header|querystring)|context|stageVariables)\.(.+)")
_STAGE = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True, slots=True)
class Function:
    """A Lambda function whose code is on this machine.

    `handler` is written as in Lambda's configuration: `app.handler`, `package/app.handler` or `package.app.handler`,
    relative to `code_dir`. `environment` is added to the variables that Lambda sets. `layers` are directories of
    modules. `left_out` says why the function cannot run on this machine: its invocations fail. `build` has
    SAM's options for esbuild.
    """

    name: str
    handler: str
    code_dir: Path
    runtime: str = "python"
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float = FUNCTION_TIMEOUT_SECONDS
    memory_mb: int = FUNCTION_MEMORY_MB
    layers: tuple[Path, ...] = ()
    left_out: str | None = None
    build: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class IdentitySource:
    """A value that a request must bring before its authorizer is invoked: `route.request.header.Authorization`.

    Raises:
        ConfigError: the expression has not a form that API Gateway allows for WebSocket APIs.
    """

    expression: str

    def __post_init__(self) -> None:
        if _IDENTITY_SOURCE.fullmatch(self.expression) is None:
            raise ConfigError(
                f"identity source: got {self.expression!r}; allowed: route.request.header.<Name>, "
                "route.request.querystring.<name>, context.<name>, stageVariables.<name>"
            )

    @property
    def kind(self) -> str:
        """Return `header`, `querystring`, `context` or `stageVariables`."""
        return self.expression.removeprefix("route.request.").partition(".")[0]

    @property
    def name(self) -> str:
        return self.expression.removeprefix("route.request.").partition(".")[2]


@dataclass(frozen=True, slots=True)
class Authorizer:
    """A REQUEST authorizer: the only kind WebSocket APIs have, and only on `$connect`."""

    function: str
    identity_sources: tuple[IdentitySource, ...] = ()


class Integration(StrEnum):
    """The kinds of integrations that run here."""

    PROXY = "AWS_PROXY"
    """The function gets an event with everything about the request, and its result has the answer."""
    CUSTOM = "AWS"
    """The function gets the message itself, and its result is the answer."""
    EVENT = "AWS, asynchronous"
    """The function gets the message itself, and nobody waits for its result."""
    SERVICE = "AWS, a service"
    """No function: the message is the request of a service, and its response is the answer."""
    MOCK = "MOCK"
    """No function: the status is that of the mapping template."""


@dataclass(frozen=True, slots=True)
class Templates:
    """Mapping templates by key, and the expression that selects one.

    Without one for a message `passes_through` says whether the message goes on as it is.
    """

    by_key: Mapping[str, str] = field(default_factory=dict)
    selection: str = ""
    passes_through: bool = True


@dataclass(frozen=True, slots=True)
class IntegrationResponse:
    """The mapping templates of a response. `key` is `$default`, or `/…/` with a regular expression for the status."""

    key: str = DEFAULT
    templates: Templates = field(default_factory=Templates)


@dataclass(frozen=True, slots=True)
class Route:
    """A route and the function behind it; `qualifier` is the version or alias by which it is invoked.

    A mock and a service have no function. `has_response`: the route has a route response, so the function's `body` goes
    back to the client. `models` are JSON Schemas by model key; the selection expression chooses the one that a message
    must follow. `request` maps a message to the input of the integration, `responses` its output to the answer.
    """

    key: str
    function: str
    has_response: bool = False
    api_key_required: bool = False
    timeout_seconds: float = INTEGRATION_TIMEOUT_SECONDS
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    model_selection_expression: str = DEFAULT
    integration: Integration = Integration.PROXY
    qualifier: str = ""
    request: Templates = field(default_factory=Templates)
    responses: tuple[IntegrationResponse, ...] = ()
    service: ServiceAction | None = None

    def __post_init__(self) -> None:
        if self.key.startswith("$") and self.key not in (CONNECT, DISCONNECT, DEFAULT):
            raise ConfigError(f"route: got {self.key!r}; allowed: $connect, $disconnect, $default, or no $ in front")
        if not self.key:
            raise ConfigError("route: got an empty key; allowed: $connect, $disconnect, $default or a name of yours")


@dataclass(frozen=True, slots=True)
class Api:
    """A WebSocket API at one stage. Its functions are named here and defined elsewhere.

    `domain_name` is the host by which handlers reach it; None means the host it would have on AWS. `name` is the
    logical id in a template. `prefix` is a path in front of the stage, by which several APIs share an address.

    Raises:
        ConfigError: a route exists twice, an authorizer has no `$connect`, or the stage has characters that API Gateway
            does not accept.
    """

    routes: tuple[Route, ...]
    stage: str = "prod"
    authorizer: Authorizer | None = None
    route_selection_expression: str = "$request.body.action"
    stage_variables: Mapping[str, str] = field(default_factory=dict)
    api_keys: frozenset[str] = frozenset()
    domain_name: str | None = None
    api_id: str = "tellwire00"
    region: str = "us-east-1"
    account_id: str = ACCOUNT_ID
    name: str = ""
    prefix: str = ""

    def __post_init__(self) -> None:
        if _STAGE.fullmatch(self.stage) is None:
            raise ConfigError(f"stage: got {self.stage!r}; allowed: 1-128 letters, digits, _ and -")
        if self.authorizer is not None and self.route(CONNECT) is None:
            raise ConfigError("authorizer: there is no $connect route, and only that can have one")
        keys = [route.key for route in self.routes]
        for key in keys:
            if keys.count(key) > 1:
                raise ConfigError(f"route: got {key!r} twice; allowed: once")

    def route(self, key: str) -> Route | None:
        """Return the route of this key."""
        return next((route for route in self.routes if route.key == key), None)

    @property
    def path(self) -> str:
        """Return the path of both URLs: the stage, behind the prefix if there is one."""
        return f"{self.prefix}/{self.stage}"

    @property
    def functions(self) -> list[str]:
        """Return the names of the functions that this API needs."""
        authorizer = [self.authorizer.function] if self.authorizer is not None else []
        return [*(route.function for route in self.routes if route.function), *authorizer]

    @property
    def execute_api_host(self) -> str:
        """Return the host this API would have on AWS."""
        return f"{self.api_id}.execute-api.{self.region}.amazonaws.com"

    @property
    def connect_arn(self) -> str:
        """Return the `methodArn` of the authorizer's event."""
        return f"arn:aws:execute-api:{self.region}:{self.account_id}:{self.api_id}/{self.stage}/{CONNECT}"


@dataclass(frozen=True, slots=True)
class Project:
    """The parts of a template that run here.

    `apis` is at least one. A function that cannot run has the reason in `left_out`. `tables` are parameters of
    DynamoDB's CreateTable; `ttl_attributes` has the attribute by which items expire, for each table that has one;
    `notes` has one line for each other part that was left out. `on_demand` are functions that no API needs: they are
    loaded when they are first invoked.
    """

    apis: tuple[Api, ...]
    functions: Mapping[str, Function]
    tables: tuple[Mapping[str, Any], ...] = ()
    ttl_attributes: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    on_demand: frozenset[str] = frozenset()
    services: Services = field(default_factory=Services)

    @property
    def api(self) -> Api:
        """Return the API, or the first of several."""
        return self.apis[0]
