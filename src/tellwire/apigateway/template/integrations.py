"""Integrations: functions, services and mocks behind routes, as far as they run here.

    AWS_PROXY with Lambda    the function gets an event, and its result has the answer
    AWS with Lambda          the function gets the message; with `X-Amz-Invocation-Type: 'Event'` nobody waits for it
    AWS with a service       the message is the request of an action, and its response is the answer
    MOCK                     a status, and perhaps a text

Source: API Gateway V2 API reference, "Integrations"; developer guide, "Set up data transformations for WebSocket APIs"
and "Integrate with asynchronous Lambda invocation".
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tellwire.apigateway.definition import Integration, IntegrationResponse, Templates
from tellwire.apigateway.services.actions import CALLED
from tellwire.apigateway.services.definition import ServiceAction
from tellwire.apigateway.template import references
from tellwire.apigateway.template.links import function_of, linked, own
from tellwire.apigateway.template.resource import LeftOut, Resource
from tellwire.apigateway.template.stack import Stack
from tellwire.errors import ConfigError, shown
from tellwire.limits import INTEGRATION_TIMEOUT_SECONDS, MIN_INTEGRATION_TIMEOUT_SECONDS

_INVOCATION_TYPE: Final = "x-amz-invocation-type"
_HEADER: Final = "integration.request.header."
_LITERAL: Final = re.compile(r"'([^']*)'")
_ALLOWED: Final = "AWS_PROXY and AWS with Lambda, AWS with a service, MOCK"
_SERVICE_URI: Final = re.compile(
    r"arn:[\w-]+:apigateway:[\w-]*:(?:[\w-]+\.)?(?P<service>[\w-]+):(?P<kind>action|path)/(?P<rest>.*)", re.ASCII
)
_PASSES: Final = {"WHEN_NO_MATCH": True, "WHEN_NO_TEMPLATES": False, "NEVER": False}
_MOCK_STATUSES: Final = (200, 599)


@dataclass(frozen=True, slots=True)
class Behind:
    """The integration of a route. `qualifier` is the version or alias of the function."""

    integration: Integration
    timeout_seconds: float
    function: str = ""
    qualifier: str = ""
    request: Templates = field(default_factory=Templates)
    responses: tuple[IntegrationResponse, ...] = ()
    service: ServiceAction | None = None


def read_integration(
    stack: Stack, api: Resource, route: Resource, key: str, stage_variables: Mapping[str, str]
) -> Behind:
    """Return the integration of a route.

    Raises:
        LeftOut: it does not run here; it names the route.
        ConfigError: the integration is not valid.
    """
    if "Target" not in route.properties:
        raise LeftOut(f"route {key}: has no integration ({route} has no Target); allowed: a Lambda proxy")
    integration = linked(stack, api, route, "Target", references.INTEGRATION)
    seconds = _timeout_seconds(integration)
    match kind := integration.text("IntegrationType"):
        case "AWS_PROXY":
            function, qualifier = function_of(integration, "IntegrationUri", stage_variables, stack)
            return Behind(Integration.PROXY, seconds, function, qualifier)
        case "AWS":
            request, responses = _mapping(stack, api, integration, key)
            service = _service(integration, key)
            if service is not None:
                return Behind(Integration.SERVICE, seconds, "", "", request, responses, service)
            function, qualifier = function_of(integration, "IntegrationUri", stage_variables, stack)
            invoked = (
                Integration.EVENT if _headers(integration).get(_INVOCATION_TYPE) == "Event" else Integration.CUSTOM
            )
            return Behind(invoked, seconds, function, qualifier, request, responses)
        case "MOCK":
            request, responses = _mapping(stack, api, integration, key)
            for template in request.by_key.values():
                _require_status(template, integration, key)
            return Behind(Integration.MOCK, seconds, "", "", request, responses)
        case _:
            raise LeftOut(f"route {key}: got the integration type {kind} ({integration}); allowed: {_ALLOWED}")


def _service(integration: Resource, key: str) -> ServiceAction | None:
    """Return the action of the service that an integration calls; None if it is a function."""
    uri = integration.text("IntegrationUri")
    found = _SERVICE_URI.fullmatch(uri)
    if found is None or found["service"] == "lambda":
        return None
    if found["service"] not in CALLED:
        raise LeftOut(
            f"route {key}: {integration} calls {found['service']}, which is not answered here; "
            f"allowed: {', '.join(CALLED)}"
        )
    headers = _headers(integration)
    if found["kind"] == "action":
        return ServiceAction(found["service"], action=found["rest"], headers=headers)
    return ServiceAction(found["service"], path=f"/{found['rest'].lstrip('/')}", headers=headers)


def _headers(integration: Resource) -> dict[str, str]:
    """Return the headers that an integration sends, by their names in lower case: those with a fixed value."""
    parameters = integration.value("RequestParameters") or {}
    named = {name.lower().removeprefix(_HEADER): str(value) for name, value in parameters.items()}
    return {name: found[1] for name, value in named.items() if (found := _LITERAL.fullmatch(value)) is not None}


def _require_status(template: str, integration: Resource, key: str) -> None:
    """Check the status of a mock, unless it is computed."""
    if "$" in template or "#" in template:
        return
    least, most = _MOCK_STATUSES
    try:
        status = int(json.loads(template)["statusCode"])
    except (ValueError, KeyError, TypeError):
        status = 0
    if not least <= status <= most:
        raise ConfigError(
            f'route {key}: {integration}: RequestTemplates: got {shown(template)}; allowed: {{"statusCode": 200}}'
        )


# --- mapping templates -----------------------------------------------------------------------------------------------


def _mapping(
    stack: Stack, api: Resource, integration: Resource, key: str
) -> tuple[Templates, tuple[IntegrationResponse, ...]]:
    """Return the templates of an integration, and those of its responses."""
    responses = [
        IntegrationResponse(response.text("IntegrationResponseKey"), _templates(response, "ResponseTemplates", key))
        for response in own(stack, api, references.INTEGRATION_RESPONSE)
        if response.text("IntegrationId").rpartition("/")[2] == integration.logical_id
    ]
    return _templates(integration, "RequestTemplates", key), tuple(responses)


def _templates(resource: Resource, name: str, key: str) -> Templates:
    written: Any = resource.value(name) or {}
    if not isinstance(written, dict):
        raise ConfigError(f"route {key}: {resource}: {name}: got {shown(written)}; allowed: templates by their keys")
    by_key = {
        str(each): template if isinstance(template, str) else json.dumps(template) for each, template in written.items()
    }
    passing = resource.text("PassthroughBehavior", "WHEN_NO_MATCH")
    if passing not in _PASSES:
        raise ConfigError(
            f"route {key}: {resource}: PassthroughBehavior: got {passing!r}; allowed: {', '.join(_PASSES)}"
        )
    passes_through = _PASSES[passing] or (passing == "WHEN_NO_TEMPLATES" and not by_key)
    return Templates(by_key, resource.text("TemplateSelectionExpression", ""), passes_through)


def _timeout_seconds(integration: Resource) -> float:
    allowed = (MIN_INTEGRATION_TIMEOUT_SECONDS * 1000, INTEGRATION_TIMEOUT_SECONDS * 1000)
    return integration.number("TimeoutInMillis", allowed[1], allowed) / 1000
