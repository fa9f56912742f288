"""Links between the parts of an API: `ApiId`, `Target`, `AuthorizerId`, and the URI of a function.

Source: API Gateway V2 API reference, "Routes", "Integrations", "Authorizers".
"""

import re
from collections.abc import Mapping

from tellwire.apigateway.template.intrinsics import Unresolved
from tellwire.apigateway.template.references import FUNCTION, name_of
from tellwire.apigateway.template.resource import LeftOut, Resource
from tellwire.apigateway.template.stack import Stack

_FUNCTION_ARN = r"arn:[\w-]+:lambda:[\w-]*:\d*:function:(?P<name>[\w-]+)(?::(?P<qualifier>[\w$-]+))?"
_URI = re.compile(
    rf"(?:arn:[\w-]+:apigateway:[\w-]+:lambda:path/2015-03-31/functions/)?{_FUNCTION_ARN}(?:/invocations)?",
    re.ASCII,
)
_STAGE_VARIABLE = re.compile(r"\$\{stageVariables\.(\w+)\}")


def own(stack: Stack, api: Resource, resource_type: str) -> list[Resource]:
    """Return the resources of a type that belong to a WebSocket API; others may belong to another one."""
    return [resource for resource in stack.resources(resource_type) if _is_own(stack, api, resource)]


def _is_own(stack: Stack, api: Resource, resource: Resource) -> bool:
    try:
        return bool(resource.resolved("ApiId") == stack.api_id(api))
    except Unresolved as unresolved:
        stack.note(f"{resource}: its API is not known, so it is left out: {unresolved}")
        return False


def linked(stack: Stack, api: Resource, resource: Resource, link: str, resource_type: str) -> Resource:
    """Return the resource of the same API that a property names by its id, with or without a path in front.

    Raises:
        LeftOut: there is no such resource.
    """
    target = resource.text(link)
    for found in own(stack, api, resource_type):
        if found.logical_id == target.rpartition("/")[2]:
            return found
    raise LeftOut(f"{resource}: {link}: got {target!r}; allowed: the id of an {resource_type} in this template")


def function_of(resource: Resource, uri_property: str, variables: Mapping[str, str], stack: Stack) -> tuple[str, str]:
    """Return the logical id of the function that a resource invokes, and the version or alias that it names, or "".

    Raises:
        LeftOut: the property is not known here, or does not name a function of this template.
    """
    uri = resource.text(uri_property)
    filled = _STAGE_VARIABLE.sub(lambda variable: variables.get(variable[1], variable[0]), uri)
    found = _URI.fullmatch(filled)
    if found is None:
        raise LeftOut(f"{resource}: {uri_property}: got {filled!r}; allowed: the ARN of a Lambda function")
    for function in stack.resources(FUNCTION):
        if name_of(function) == found["name"]:
            return function.logical_id, found["qualifier"] or ""
    raise LeftOut(f"{resource}: {uri_property}: the function {found['name']!r} is not in this template")
