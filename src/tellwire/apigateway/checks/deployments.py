"""Stages and deployments: AWS serves only the routes that are deployed to a stage. Pure.

Source: CloudFormation template reference, "AWS::ApiGatewayV2::Stage", "AWS::ApiGatewayV2::Deployment"; CloudFormation
user guide, "DependsOn attribute".
"""

from collections.abc import Iterator
from typing import Any, Final

from tellwire.apigateway.template import references
from tellwire.apigateway.template.intrinsics import Unresolved
from tellwire.apigateway.template.resource import Resource
from tellwire.apigateway.template.stack import Stack
from tellwire.errors import ConfigError

DEPLOYMENT: Final = "AWS::ApiGatewayV2::Deployment"


def undeployed(stack: Stack, api: Resource, api_id: str, stage_name: str) -> Iterator[str]:
    """Yield a line for a stage that AWS does not deploy, and for routes that may be missing in its deployment."""
    stages = [each for each in stack.resources(references.STAGE) if _is(each, "ApiId", api_id)]
    if not stages:
        yield (f"{api}: it has no AWS::ApiGatewayV2::Stage, so AWS does not serve it; here its stage is {stage_name}")
    for stage in stages:
        if not _is(stage, "StageName", stage_name) or _is_automatic(stage):
            continue
        deployment = _deployment(stack, stage)
        if "DeploymentId" not in stage.properties:
            yield (
                f"{stage}: it has neither AutoDeploy nor a DeploymentId, so on AWS nothing is deployed to it: clients "
                "get 403"
            )
        elif deployment is not None:
            yield from _missed_routes(stack, stage, deployment, api_id)


def _missed_routes(stack: Stack, stage: Resource, deployment: Resource, api_id: str) -> Iterator[str]:
    before = _created_before(stack, deployment)
    routes = [each for each in stack.resources(references.ROUTE) if _is(each, "ApiId", api_id)]
    missed = [each for each in routes if each.logical_id not in before]
    if missed:
        names = ", ".join(each.logical_id for each in missed)
        yield (
            f"{deployment}: its DependsOn misses {names}: AWS may make the deployment before these routes, and then "
            f"stage {stage.logical_id} does not have them; add them, or use AutoDeploy"
        )


def _created_before(stack: Stack, resource: Resource) -> set[str]:
    """Return the ids of all resources that a resource depends on, by DependsOn and by references."""
    there = {each.logical_id: each for each in stack.resources()}
    found: set[str] = set()
    waiting = [resource]
    while waiting:
        each = waiting.pop()
        for name in {*each.depends_on, *_referenced(each.properties)} & there.keys():
            if name not in found:
                found.add(name)
                waiting.append(there[name])
    return found


def _referenced(value: Any) -> Iterator[str]:
    match value:
        case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), *_]} | {"Fn::GetAtt": str(name)}:
            yield name.partition(".")[0]
        case {"Fn::Sub": str(text)} | {"Fn::Sub": [str(text), *_]}:
            yield from _placeholders(text)
            yield from _referenced(list(value["Fn::Sub"][1:]) if isinstance(value["Fn::Sub"], list) else [])
        case dict():
            for item in value.values():
                yield from _referenced(item)
        case list():
            for item in value:
                yield from _referenced(item)


def _placeholders(text: str) -> Iterator[str]:
    for part in text.split("${")[1:]:
        yield part.partition("}")[0].partition(".")[0].strip()


def _deployment(stack: Stack, stage: Resource) -> Resource | None:
    match stage.properties.get("DeploymentId"):
        case {"Ref": str(name)}:
            return stack.resource(name, DEPLOYMENT)
        case {"Fn::GetAtt": [str(name), *_]}:
            return stack.resource(name, DEPLOYMENT)
        case _:
            return None


def _is_automatic(stage: Resource) -> bool:
    try:
        return stage.flag("AutoDeploy")
    except ConfigError:
        return True


def _is(resource: Resource, name: str, wanted: str) -> bool:
    try:
        return bool(resource.resolved(name) == wanted)
    except Unresolved:
        return False
