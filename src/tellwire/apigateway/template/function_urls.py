"""Function URLs of a template.

Source: CloudFormation template reference, "AWS::Lambda::Url".
"""

from collections.abc import Iterator

from tellwire.apigateway.services.definition import FunctionUrl
from tellwire.apigateway.template.intrinsics import Unresolved
from tellwire.apigateway.template.invocations import function_named
from tellwire.apigateway.template.references import FUNCTION_URL
from tellwire.apigateway.template.resource import Resource
from tellwire.apigateway.template.stack import Stack
from tellwire.errors import ConfigError


def read_function_urls(stack: Stack) -> Iterator[FunctionUrl]:
    """Yield the function URLs. Those that do not run here are noted."""
    for resource in stack.resources(FUNCTION_URL):
        try:
            yield _function_url(stack, resource)
        except (ConfigError, Unresolved) as error:
            stack.note(f"{resource}: does not run here: {error}")


def _function_url(stack: Stack, resource: Resource) -> FunctionUrl:
    if (mode := resource.text("InvokeMode", "BUFFERED")) != "BUFFERED":
        raise ConfigError(f"InvokeMode: got {mode}; allowed here: BUFFERED")
    function = function_named(stack, resource.text("TargetFunctionArn"))
    return FunctionUrl(resource.logical_id, function, resource.text("AuthType") != "NONE")
