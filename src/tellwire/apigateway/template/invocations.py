"""Invocations of functions by others than the API: schedules, queues, and the names that Lambda Invoke takes.

Source: CloudFormation template reference, "AWS::Events::Rule", "AWS::Scheduler::Schedule",
"AWS::Lambda::EventSourceMapping".
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from tellwire.apigateway.services.definition import EventRule, QueueSource, Schedule, StreamSource
from tellwire.apigateway.services.event_filters import check_pattern, read_filters
from tellwire.apigateway.services.schedule_times import next_times
from tellwire.apigateway.template.intrinsics import Unresolved
from tellwire.apigateway.template.references import FUNCTION, GLOBAL_TABLE, TABLE, name_of
from tellwire.apigateway.template.resource import Resource
from tellwire.apigateway.template.stack import Stack
from tellwire.errors import ConfigError, shown

RULE: Final = "AWS::Events::Rule"
SCHEDULE: Final = "AWS::Scheduler::Schedule"
MAPPING: Final = "AWS::Lambda::EventSourceMapping"
ALIAS: Final = "AWS::Lambda::Alias"
VERSION: Final = "AWS::Lambda::Version"
READ: Final = frozenset({RULE, SCHEDULE, MAPPING})

_FUNCTION = re.compile(r"(?:arn:[\w-]+:lambda:[\w-]*:\d*:function:)?(?P<name>[\w-]+)(?::[\w$-]+)?", re.ASCII)
_STREAM = re.compile(r"arn:[\w-]+:dynamodb:[\w-]*:\d*:table/(?P<name>[\w.-]+)/stream/.+", re.ASCII)
_QUEUE = re.compile(r"arn:[\w-]+:sqs:[\w-]*:\d*:(?P<name>[\w.-]+)", re.ASCII)


def read_schedules(stack: Stack) -> Iterator[Schedule]:
    """Yield the schedules of functions. Those that do not run here are noted."""
    for resource in stack.resources(RULE, SCHEDULE):
        try:
            found = list(_of_rule(stack, resource) if resource.type == RULE else _of_schedule(stack, resource))
            for schedule in found:
                next_times(schedule.expression, schedule.timezone)
        except (ConfigError, Unresolved) as error:
            stack.note(f"{resource}: does not run here: {error}")
        except (AttributeError, KeyError, TypeError, ValueError):
            stack.note(f"{resource}: does not run here: its properties have another form than AWS's")
        else:
            yield from found


def read_event_rules(stack: Stack) -> Iterator[EventRule]:
    """Yield the rules by which events on a bus invoke functions. Targets that are no functions are noted."""
    for resource in stack.resources(RULE):
        if resource.value("EventPattern") is None or resource.text("State", "ENABLED") == "DISABLED":
            continue
        for target in resource.value("Targets", []):
            try:
                yield _event_rule(stack, resource, target)
            except (ConfigError, Unresolved) as error:
                stack.note(f"{resource}: does not run here: {error}")
            except (AttributeError, KeyError, TypeError, ValueError):
                stack.note(f"{resource}: does not run here: its properties have another form than AWS's")


def _event_rule(stack: Stack, resource: Resource, target: Any) -> EventRule:
    if not isinstance(target, dict) or {"InputPath", "InputTransformer"} & target.keys():
        raise ConfigError(f"Targets: got {shown(target)}; allowed here: a function, with Input or without")
    pattern = resource.value("EventPattern")
    if not isinstance(pattern, dict):
        raise ConfigError(f"EventPattern: got {shown(pattern)}; allowed: an object")
    check_pattern(pattern)
    bus = resource.text("EventBusName", "default").rpartition("/")[2]
    function = function_named(stack, resource.resolve(target.get("Arn")))
    return EventRule(name_of(resource), bus, pattern, function, _payload(target.get("Input")))


def read_event_sources(stack: Stack) -> tuple[tuple[QueueSource, ...], tuple[StreamSource, ...]]:
    """Return the queues and the streams that invoke functions. Other event sources are noted."""
    queues: list[QueueSource] = []
    streams: list[StreamSource] = []
    for resource in stack.resources(MAPPING):
        try:
            if "Enabled" in resource.properties and not resource.flag("Enabled"):
                continue
            source = _event_source(stack, resource)
        except (ConfigError, Unresolved) as error:
            stack.note(f"{resource}: does not run here: {error}")
        except (AttributeError, KeyError, TypeError, ValueError):
            stack.note(f"{resource}: does not run here: its properties have another form than AWS's")
        else:
            (queues if isinstance(source, QueueSource) else streams).append(source)  # type: ignore[arg-type]
    return tuple(queues), tuple(streams)


def read_qualifiers(stack: Stack) -> dict[str, frozenset[str]]:
    """Return the versions and aliases of functions, by logical id. A template publishes one version at most."""
    found: dict[str, set[str]] = {}
    for resource in stack.resources(ALIAS, VERSION):
        try:
            function = function_named(stack, resource.text("FunctionName"))
            found.setdefault(function, set()).add(resource.text("Name") if resource.type == ALIAS else "1")
        except (ConfigError, Unresolved) as error:
            stack.note(f"{resource}: is not known here: {error}")
    return {function: frozenset(names) for function, names in found.items()}


def _of_rule(stack: Stack, resource: Resource) -> Iterator[Schedule]:
    if resource.text("State", "ENABLED") == "DISABLED":
        return
    if resource.value("ScheduleExpression") is None:
        return
    name = name_of(resource)
    for target in resource.value("Targets", []):
        if not isinstance(target, dict) or {"InputPath", "InputTransformer"} & target.keys():
            raise ConfigError(f"Targets: got {shown(target)}; allowed here: a function, with Input or without")
        yield Schedule(
            name=f"rule {name}",
            function=function_named(stack, target.get("Arn")),
            expression=resource.text("ScheduleExpression"),
            arn=f"arn:aws:events:{stack.identity.region}:{stack.identity.account_id}:rule/{name}",
            payload=_payload(target.get("Input")),
        )


def _of_schedule(stack: Stack, resource: Resource) -> Iterator[Schedule]:
    if resource.text("State", "ENABLED") == "DISABLED":
        return
    name, group = name_of(resource), resource.text("GroupName", "default")
    match resource.value("Target"):
        case {"Arn": arn, **target}:
            yield Schedule(
                name=f"schedule {name}",
                function=function_named(stack, arn),
                expression=resource.text("ScheduleExpression"),
                arn=f"arn:aws:scheduler:{stack.identity.region}:{stack.identity.account_id}:schedule/{group}/{name}",
                source="aws.scheduler",
                timezone=resource.text("ScheduleExpressionTimezone", "UTC"),
                payload=_payload(target.get("Input")),
            )
        case other:
            raise ConfigError(f"Target: got {shown(other)}; allowed here: a function")


def _event_source(stack: Stack, resource: Resource) -> QueueSource | StreamSource:
    arn = resource.text("EventSourceArn", "")
    function = function_named(stack, resource.text("FunctionName"))
    reports_failures = "ReportBatchItemFailures" in resource.value("FunctionResponseTypes", [])
    filters = read_filters(resource.value("FilterCriteria", {}))
    if (queue := _QUEUE.fullmatch(arn)) is not None:
        batch_size = int(resource.number("BatchSize", 10, (1, 10_000)))
        return QueueSource(queue["name"], arn, function, batch_size, reports_failures, filters)
    if (stream := _STREAM.fullmatch(arn)) is not None and _has_table(stack, stream["name"]):
        batch_size = int(resource.number("BatchSize", 100, (1, 10_000)))
        return StreamSource(stream["name"], arn, function, min(batch_size, 1000), reports_failures, filters)
    raise ConfigError(
        f"EventSourceArn: got {arn or 'none'!r}; allowed here: a queue of SQS, the stream of a table of this template"
    )


def _has_table(stack: Stack, name: str) -> bool:
    return any(name_of(table) == name for table in stack.resources(TABLE, GLOBAL_TABLE))


def function_named(stack: Stack, arn: Any) -> str:
    """Return the logical id of the function with a name or an ARN, with a version or an alias or without.

    Raises:
        ConfigError: it is no function of this template.
    """
    found = _FUNCTION.fullmatch(arn) if isinstance(arn, str) else None
    for function in stack.resources(FUNCTION):
        if found is not None and name_of(function) == found["name"]:
            return function.logical_id
    raise ConfigError(f"got the target {shown(arn)}; allowed here: a function of this template")


def _payload(written: Any) -> str | None:
    if written is None:
        return None
    if not isinstance(written, str):
        return json.dumps(written)
    try:
        json.loads(written)
    except ValueError as error:
        raise ConfigError(f"Input: got {shown(written)}; allowed: JSON") from error
    return written
