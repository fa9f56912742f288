"""Everything of a template besides its APIs and functions: services, schedules, policies, and checks."""

from collections.abc import Iterator, Sequence

from tellwire.apigateway.checks.deployments import undeployed
from tellwire.apigateway.checks.permissions import missing_permissions
from tellwire.apigateway.definition import Api
from tellwire.apigateway.services.definition import Services
from tellwire.apigateway.template import references
from tellwire.apigateway.template.function_urls import read_function_urls
from tellwire.apigateway.template.invocations import (
    read_event_rules,
    read_event_sources,
    read_qualifiers,
    read_schedules,
)
from tellwire.apigateway.template.policies import read_policies
from tellwire.apigateway.template.services import read_creations
from tellwire.apigateway.template.stack import Stack


def read_services(stack: Stack, apis: Sequence[Api]) -> Services:
    """Return the parts of a template that need services."""
    queues, streams = read_event_sources(stack)
    return Services(
        creations=tuple(read_creations(stack)),
        schedules=tuple(read_schedules(stack)),
        queue_sources=queues,
        stream_sources=streams,
        function_urls=tuple(read_function_urls(stack)),
        event_rules=tuple(read_event_rules(stack)),
        policies=read_policies(stack),
        qualifiers=read_qualifiers(stack),
        problems=tuple(dict.fromkeys(_problems(stack, apis))),
    )


def _problems(stack: Stack, apis: Sequence[Api]) -> Iterator[str]:
    by_id = {api.api_id: api for api in apis}
    for resource in stack.resources(references.API):
        if references.is_websocket_api(resource) and (api := by_id.get(stack.api_id(resource))) is not None:
            yield from missing_permissions(stack, api.api_id, api.stage)
            yield from undeployed(stack, resource, api.api_id, api.stage)
