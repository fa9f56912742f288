"""The services beside an API: the environment of its functions, and everything that invokes them."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tellwire.apigateway.definition import Function, Project
from tellwire.apigateway.dynamodb import create_tables
from tellwire.apigateway.services.actions import ServiceCaller
from tellwire.apigateway.services.definition import Services
from tellwire.apigateway.services.function_urls import address, host
from tellwire.apigateway.services.invoke import Invoker, LambdaApi
from tellwire.apigateway.services.queues import Queues
from tellwire.apigateway.services.resources import create
from tellwire.apigateway.services.schedules import Schedules
from tellwire.apigateway.services.server import Attachment, LocalServices, Say
from tellwire.apigateway.services.streams import Streams
from tellwire.ports import Clock

_BUNDLES = ("AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
"""Variables with a file of trusted authorities: of the SDKs and the CLI, of Node, of requests, and of OpenSSL."""

_SESSION_TOKEN = "AWS_SESSION_TOKEN"  # noqa: S105 - the name of a variable


@dataclass(eq=False)
class TemplateServices:
    """The services, and the parts of a template that use them. `functions` are names on AWS, by logical id.

    `dynamodb` is the address of the database, if there are tables. `created` are resources that exist, `notes` are on
    those that do not.
    """

    server: LocalServices
    definition: Services = field(default_factory=Services)
    functions: Mapping[str, str] = field(default_factory=dict)
    dynamodb: str | None = None
    tables: Sequence[str] = ()
    created: Sequence[str] = ()
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        self._lambda_api: LambdaApi | None = None
        self._schedules: Schedules | None = None
        self._queues: Queues | None = None
        self._streams: Streams | None = None

    @property
    def table_environment(self) -> dict[str, str]:
        """The variable of the database, which may be elsewhere."""
        return {} if self.dynamodb is None else {"AWS_ENDPOINT_URL_DYNAMODB": self.dynamodb}

    def led_here(self, text: str, region: str) -> str:
        """Return a value of the template with the function URLs in it that lead to this machine."""
        for each in self.definition.function_urls:
            text = text.replace(host(each, region), address(self.server.url, each))
        return text

    def caller(self, region: str) -> ServiceCaller:
        """Return the services as routes call them that have no function."""
        return ServiceCaller(self.server.url, region, self.dynamodb)

    @property
    def summary(self) -> list[str]:
        """The lines on the services at the start."""
        lines = [f"services    {self.server.url}"]
        if self.dynamodb is not None:
            lines.append(f"dynamodb    {self.dynamodb}  {', '.join(self.tables)}")
        lines += [f"created     {each}" for each in self.created]
        lines += [
            f"{each.function} has the URL {address(self.server.url, each)}" for each in self.definition.function_urls
        ]
        return lines + [f"{each.name} invokes {each.function}, {each.expression}" for each in self.definition.schedules]

    def attach(self, functions: Invoker, clock: Clock, region: str, management_url: str) -> None:
        """Connect the services with the functions, from within their event loop. Schedules begin with `start`."""
        names = {name: logical_id for logical_id, name in self.functions.items()}
        self._lambda_api = LambdaApi(functions, names, clock, self.definition.qualifiers)
        policies = {
            name: policy
            for logical_id, name in self.functions.items()
            if (policy := self.definition.policies.get(logical_id)) is not None
        }
        loop = asyncio.get_running_loop()
        urls = {each.name: each for each in self.definition.function_urls}
        attachment = Attachment(loop, self._lambda_api, management_url, policies, self.definition.event_rules, urls)
        self.server.attach(attachment)
        self._schedules = Schedules(self.definition.schedules, self._lambda_api, clock, region)
        self._queues = Queues(self.definition.queue_sources, functions, self.server.url, region)
        self._streams = Streams(self.definition.stream_sources, functions, self.server.url, region)
        self.server.on_call(self._queues.called)
        self.server.on_call(self._streams.called)

    def start(self) -> None:
        """Begin schedules, queues and streams, once the functions are loaded."""
        for part in (self._schedules, self._queues, self._streams):
            if part is not None:
                part.start()

    async def close(self) -> None:
        """Take the functions away from the services."""
        self.server.attach(None)
        for part in (self._schedules, self._queues, self._streams, self._lambda_api):
            if part is not None:
                await part.close()


@contextmanager
def services_of(
    project: Project,
    *,
    dynamodb: str | None = None,
    port: int = 0,
    say: Say = lambda line: None,
    is_strict: bool = False,
) -> Iterator[TemplateServices]:
    """Run the services of a project, with its tables and resources, until the block ends.

    Args:
        project: the project.
        dynamodb: the address of another database for the tables.
        port: as of `LocalServices`, as are `say` and `is_strict`.
        say: see there.
        is_strict: see there.

    Raises:
        ConfigError: a table is refused, or the optional packages are missing.
    """
    region = project.api.region
    with LocalServices(region, port=port, say=say, is_strict=is_strict) as server:
        server.load()
        tables, url = [], None
        if project.tables or dynamodb is not None:
            url = dynamodb or server.url
            tables = create_tables(url, project.tables, project.ttl_attributes, region)
        created, notes = create(server.url, region, project.services.creations)
        if url != server.url:
            sources = project.services.stream_sources
            notes += [f"the stream of {each.table} does not run here: its table is at {url}" for each in sources]
            project = replace(project, services=replace(project.services, stream_sources=()))
        names = {logical_id: function.name for logical_id, function in project.functions.items()}
        yield TemplateServices(server, project.services, names, url, tables, created, notes)


def service_environment(server: LocalServices, function: Function, given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with which a function in a process of its own finds the services, and no others.

    `given` are variables of the developer, who may have credentials for a service elsewhere.
    """
    found = {"AWS_ENDPOINT_URL": server.url}
    if "AWS_ACCESS_KEY_ID" not in given:
        # As on Lambda there is a token; here it says whose call it is.
        found[_SESSION_TOKEN] = function.name
    return found


def trust_environment(bundle: Path) -> dict[str, str]:
    """Return the variables that name a file of trusted authorities."""
    return dict.fromkeys(_BUNDLES, str(bundle))


def trust(bundle: Path, server: LocalServices) -> None:
    """Add the certificate of the services to a file of trusted authorities."""
    bundle.write_bytes(bundle.read_bytes() + server.certificate)
