"""Parts of a template besides its API: resources of services, schedules, event sources, and policies. Data only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

ANSWERED: Final = (
    "dynamodb",
    "sqs",
    "sns",
    "ssm",
    "secretsmanager",
    "events",
    "cognito-idp",
    "sts",
)
"""Services that are answered here by moto, by the names in signatures."""


@dataclass(frozen=True, slots=True)
class ServiceAction:
    """An action of a service that a route calls itself, without a function.

    An integration names the `action`, or the `path` of a request whose body names it.
    """

    service: str
    action: str = ""
    path: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.service}:{self.action or self.path}"


@dataclass(frozen=True, slots=True)
class Creation:
    """A call that creates a resource: an operation of boto3 with its parameters.

    `wanted_id` is the id that the template's values have, where AWS would choose one. `secret` are parameters to be
    filled with random text of this length.
    """

    about: str
    service: str
    operation: str
    parameters: Mapping[str, Any]
    wanted_id: str | None = None
    generated: "GeneratedSecret | None" = None


@dataclass(frozen=True, slots=True)
class GeneratedSecret:
    """A secret that AWS makes up: so many characters, alone or as one value in a JSON object."""

    length: int = 32
    template: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule that invokes a function. `payload` is JSON; None: the event of EventBridge.

    `source` is `aws.events` for a rule and `aws.scheduler` for a schedule.
    """

    name: str
    function: str
    expression: str
    arn: str
    source: str = "aws.events"
    timezone: str = "UTC"
    payload: str | None = None


@dataclass(frozen=True, slots=True)
class EventRule:
    """A rule that invokes a function for each event on a bus that matches its pattern. `payload` replaces the event."""

    name: str
    bus: str
    pattern: Mapping[str, Any]
    function: str
    payload: str | None = None


@dataclass(frozen=True, slots=True)
class QueueSource:
    """A queue whose messages invoke a function."""

    queue: str
    arn: str
    function: str
    batch_size: int = 10
    reports_failures: bool = False
    filters: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class StreamSource:
    """A table whose changes invoke a function. `filters` are patterns; none: every change."""

    table: str
    arn: str
    function: str
    batch_size: int = 100
    reports_failures: bool = False
    filters: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class FunctionUrl:
    """A function URL, by its logical id. `is_signed`: requests need a signature (`AWS_IAM`)."""

    name: str
    function: str
    is_signed: bool = True


@dataclass(frozen=True, slots=True)
class Policy:
    """Permissions of a function in the template: statements of IAM. `is_complete`: there are no others."""

    statements: tuple[Mapping[str, Any], ...] = ()
    is_complete: bool = True


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of a template that need services.

    `policies`, and `qualifiers` (versions and aliases), are by logical id of the function. `problems` are lines on what
    runs here and fails on AWS.
    """

    creations: tuple[Creation, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    queue_sources: tuple[QueueSource, ...] = ()
    event_rules: tuple[EventRule, ...] = ()
    stream_sources: tuple[StreamSource, ...] = ()
    function_urls: tuple[FunctionUrl, ...] = ()
    policies: Mapping[str, Policy] = field(default_factory=dict)
    qualifiers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def invoked(self) -> set[str]:
        """The functions that schedules, rules, queues, streams and URLs invoke, by logical id."""
        sources = {each.function for each in self.queue_sources} | {each.function for each in self.stream_sources}
        sources |= {each.function for each in self.function_urls}
        return sources | {each.function for each in self.schedules} | {each.function for each in self.event_rules}
