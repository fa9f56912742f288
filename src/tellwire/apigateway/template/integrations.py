"""Integrations: functions and mocks behind routes, as far as they run here.

    AWS_PROXY with Lambda    the function gets an event, and its result has the answer
    AWS with Lambda          the function gets the message; with `X-Amz-Invocation-Type: 'Event'` nobody waits for it
    MOCK                     a status, and perhaps a text

Mapping templates are written in Velocity, which is not run here: only those that are plain text are used.

Source: API Gateway V2 API reference, "Integrations"; developer guide, "Set up data transformations for WebSocket APIs"
and "Integrate with asynchronous Lambda invocation".
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tellwire.apigateway.definition import Integration
from tellwire.apigateway.template import references
from tellwire.apigateway.template.links import function_of, linked, own
from tellwire.apigateway.template.resource import LeftOut, Resource
from tellwire.apigateway.template.stack import Stack
from tellwire.errors import ConfigError, shown
from tellwire.limits import INTEGRATION_TIMEOUT_SECONDS, MIN_INTEGRATION_TIMEOUT_SECONDS

_INVOCATION_TYPE: Final = "integration.request.header.x-amz-invocation-type"
_ALLOWED: Final = "AWS_PROXY and AWS with Lambda, MOCK"
_MOCK_STATUSES: Final = (200, 599)


@dataclass(frozen=True, slots=True)
class Behind:
    """The integration of a route. `answer` is the text of a mock; `qualifier` the version or alias of the function."""

    integration: Integration
    timeout_seconds: float
    function: str = ""
    qualifier: str = ""
    status: int = 200
    answer: str | None = None


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
            return _custom(stack, api, integration, key, stage_variables, seconds)
        case "MOCK":
            return _mock(stack, api, integration, key, seconds)
        case _:
            raise LeftOut(f"route {key}: got the integration type {kind} ({integration}); allowed: {_ALLOWED}")


def _custom(
    stack: Stack, api: Resource, integration: Resource, key: str, stage_variables: Mapping[str, str], seconds: float
) -> Behind:
    templates = [*_templates(integration, "RequestTemplates", key), *_response_templates(stack, api, integration, key)]
    if templates:
        raise LeftOut(
            f"route {key}: {integration} has mapping templates ({shown(templates[0])}), which are not run here; "
            "allowed: none"
        )
    function, qualifier = function_of(integration, "IntegrationUri", stage_variables, stack)
    kind = Integration.EVENT if _is_asynchronous(integration) else Integration.CUSTOM
    return Behind(kind, seconds, function, qualifier)


def _is_asynchronous(integration: Resource) -> bool:
    parameters = integration.value("RequestParameters") or {}
    headers = {name.lower(): str(value).strip("'") for name, value in parameters.items()}
    return headers.get(_INVOCATION_TYPE) == "Event"


def _mock(stack: Stack, api: Resource, integration: Resource, key: str, seconds: float) -> Behind:
    statuses = {_status(template, integration, key) for template in _templates(integration, "RequestTemplates", key)}
    if len(statuses) > 1:
        raise LeftOut(f"route {key}: {integration} has several mapping templates, which are not run here; allowed: one")
    answers = _response_templates(stack, api, integration, key)
    for answer in answers:
        _require_plain(answer, integration, key)
    return Behind(
        Integration.MOCK, seconds, status=statuses.pop() if statuses else 200, answer=answers[0] if answers else None
    )


def _status(template: str, integration: Resource, key: str) -> int:
    _require_plain(template, integration, key)
    least, most = _MOCK_STATUSES
    try:
        status = int(json.loads(template)["statusCode"])
    except (ValueError, KeyError, TypeError):
        status = 0
    if not least <= status <= most:
        raise ConfigError(
            f'route {key}: {integration}: RequestTemplates: got {shown(template)}; allowed: {{"statusCode": 200}}'
        )
    return status


def _require_plain(template: str, integration: Resource, key: str) -> None:
    if "$" in template or "#" in template:
        raise LeftOut(
            f"route {key}: {integration} has a mapping template ({shown(template)}), which is not run here; "
            "allowed: plain text"
        )


def _templates(resource: Resource, name: str, key: str) -> list[str]:
    templates: Any = resource.value(name) or {}
    if not isinstance(templates, dict):
        raise ConfigError(f"route {key}: {resource}: {name}: got {shown(templates)}; allowed: templates by their keys")
    return [template if isinstance(template, str) else json.dumps(template) for template in templates.values()]


def _response_templates(stack: Stack, api: Resource, integration: Resource, key: str) -> list[str]:
    return [
        template
        for response in own(stack, api, references.INTEGRATION_RESPONSE)
        if response.text("IntegrationId").rpartition("/")[2] == integration.logical_id
        for template in _templates(response, "ResponseTemplates", key)
    ]


def _timeout_seconds(integration: Resource) -> float:
    allowed = (MIN_INTEGRATION_TIMEOUT_SECONDS * 1000, INTEGRATION_TIMEOUT_SECONDS * 1000)
    return integration.number("TimeoutInMillis", allowed[1], allowed) / 1000
