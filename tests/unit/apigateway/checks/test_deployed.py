"""Lines on a template that runs here and fails on AWS: permissions, stages and deployments."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tellwire.apigateway.template import read_project
from tests.unit.apigateway.template.conftest import Read, Template, read, template

__all__ = ["read", "template"]

ROOT = Path(__file__).parents[4]
ARN = "arn:aws:execute-api:${AWS::Region}:${AWS::AccountId}:${Chat}"
Add = Callable[..., Template]


def add(template: Template, logical_id: str, kind: str, *, depends_on: Any = None, **properties: Any) -> Template:
    resource: dict[str, Any] = {"Type": f"AWS::{kind}", "Properties": properties}
    if depends_on is not None:
        resource["DependsOn"] = depends_on
    template["Resources"][logical_id] = resource
    return template


def permit(template: Template, source: Any = None, function: Any = None, **properties: Any) -> Template:
    given = {"FunctionName": {"Ref": "Fn"} if function is None else function}
    given |= {"Action": "lambda:InvokeFunction", "Principal": "apigateway.amazonaws.com"}
    if source is not None:
        given["SourceArn"] = source
    return add(template, "Permission", "Lambda::Permission", **{**given, **properties})


def deploy(template: Template, **stage: Any) -> Template:
    return add(template, "Stage", "ApiGatewayV2::Stage", ApiId={"Ref": "Chat"}, StageName="prod", **stage)


def problems(read: Read, template: Template) -> tuple[str, ...]:
    return read(template).services.problems


# --- permissions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        None,
        {"Fn::Sub": f"{ARN}/*"},
        {"Fn::Sub": f"{ARN}/*/*"},
        {"Fn::Sub": f"{ARN}/prod/$connect"},
        {"Fn::Sub": f"{ARN}/*/$connect"},
        # Not known here, so nothing is said.
        {"Fn::ImportValue": "arn"},
    ],
)
def test_a_permission_that_fits_is_no_problem(template: Template, read: Read, source: Any) -> None:
    assert problems(read, permit(deploy(template, AutoDeploy=True), source)) == ()


def test_a_function_without_permission_is_named_with_its_route(template: Template, read: Read) -> None:
    [line] = problems(read, deploy(template, AutoDeploy=True))
    assert line.startswith("route $connect: on AWS, API Gateway may not invoke function Fn: there is no AWS::Lambda::")


@pytest.mark.parametrize("source", [f"{ARN}/prod/$disconnect", f"{ARN}/dev/*", f"{ARN}/*/GET/*", "arn:aws:s3:::b"])
def test_a_source_arn_that_does_not_fit_is_named(template: Template, read: Read, source: str) -> None:
    [line] = problems(read, permit(deploy(template, AutoDeploy=True), {"Fn::Sub": source}))
    assert "no AWS::Lambda::Permission has a SourceArn that fits" in line
    assert "tellwire00/prod/$connect" in line


@pytest.mark.parametrize(
    "other",
    [{"Principal": "s3.amazonaws.com"}, {"Action": "lambda:GetFunction"}, {"FunctionName": "another"}],
)
def test_a_permission_for_something_else_is_none(template: Template, read: Read, other: dict[str, str]) -> None:
    assert len(problems(read, permit(deploy(template, AutoDeploy=True), **other))) == 1


def test_a_permission_of_a_function_does_not_cover_its_alias(template: Template, read: Read) -> None:
    add(template, "Live", "Lambda::Alias", Name="live", FunctionName={"Ref": "Fn"}, FunctionVersion="1")
    uri = "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${Live}/invocations"
    template["Resources"]["ConnectIntegration"]["Properties"]["IntegrationUri"] = {"Fn::Sub": uri}
    deploy(template, AutoDeploy=True)
    [line] = problems(read, permit(template))
    assert "may not invoke function Fn:live" in line
    assert problems(read, permit(template, function={"Ref": "Live"})) == ()


def test_credentials_of_an_integration_need_no_permission(template: Template, read: Read) -> None:
    properties = template["Resources"]["ConnectIntegration"]["Properties"]
    properties["CredentialsArn"] = "arn:aws:iam::123456789012:role/x"
    assert problems(read, deploy(template, AutoDeploy=True)) == ()


# --- stages and deployments -------------------------------------------------------------------------------------------


def test_an_api_without_a_stage_is_not_served_on_aws(template: Template, read: Read) -> None:
    [line] = problems(read, permit(template))
    assert line.startswith("AWS::ApiGatewayV2::Api Chat: it has no AWS::ApiGatewayV2::Stage")


def test_a_stage_without_a_deployment_is_named(template: Template, read: Read) -> None:
    [line] = problems(read, permit(deploy(template)))
    assert line.startswith("AWS::ApiGatewayV2::Stage Stage: it has neither AutoDeploy nor a DeploymentId")


@pytest.mark.parametrize("written", [True, "true"])
def test_a_stage_that_deploys_itself_is_no_problem(template: Template, read: Read, written: Any) -> None:
    assert problems(read, permit(deploy(template, AutoDeploy=written))) == ()


def deployment(template: Template, depends_on: Any, **properties: Any) -> Template:
    add(
        template,
        "Deployment",
        "ApiGatewayV2::Deployment",
        depends_on=depends_on,
        ApiId={"Ref": "Chat"},
        **properties,
    )
    add(
        template,
        "Say",
        "ApiGatewayV2::Route",
        ApiId={"Ref": "Chat"},
        RouteKey="say",
        Target={"Fn::Sub": "integrations/${ConnectIntegration}"},
    )
    return permit(deploy(template, DeploymentId={"Ref": "Deployment"}))


@pytest.mark.parametrize("depends_on", [None, "Connect", ["Connect"], "ConnectIntegration"])
def test_a_deployment_that_may_come_before_a_route_is_named(template: Template, read: Read, depends_on: Any) -> None:
    [line] = problems(read, deployment(template, depends_on))
    assert line.startswith("AWS::ApiGatewayV2::Deployment Deployment: its DependsOn misses ")
    assert "Say" in line


def test_a_deployment_that_waits_for_all_routes_is_no_problem(template: Template, read: Read) -> None:
    assert problems(read, deployment(template, ["Connect", "Say"])) == ()


def test_a_deployment_waits_for_its_references_and_for_theirs(template: Template, read: Read) -> None:
    add(template, "Topic", "SNS::Topic", depends_on="Connect", TopicName={"Fn::Sub": "after-${Say}"})
    assert problems(read, deployment(template, None, Description={"Fn::Sub": "after ${Topic.TopicName}"})) == ()


# --- whole templates --------------------------------------------------------------------------------------------------


def test_our_own_examples_would_work_on_aws(tmp_path: Path) -> None:
    project = read_project(ROOT / "examples" / "aws_chat", workspace=tmp_path)
    assert project.services.problems == ()
    assert [name for name, policy in project.services.policies.items() if not policy.is_complete] == []
