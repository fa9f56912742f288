"""Routes, stages, authorizers and API keys of a template, one at a time."""

from pathlib import Path
from typing import Any

import pytest

from tellwire.apigateway.definition import Project
from tellwire.apigateway.template import read_project
from tellwire.errors import ConfigError
from tests.unit.apigateway.template.conftest import INVOCATION, Read, Template

TEMPLATES = Path(__file__).parents[3] / "data" / "templates"


def change(template: Template, logical_id: str, **properties: Any) -> Template:
    template["Resources"][logical_id]["Properties"].update(properties)
    return template


def add(template: Template, logical_id: str, kind: str, **properties: Any) -> Template:
    template["Resources"][logical_id] = {"Type": f"AWS::{kind}", "Properties": properties}
    return template


def refusal(read: Read, template: Template, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read(template, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "http_api.yaml",
            "the template has no WebSocket API; got these APIs: AWS::ApiGatewayV2::Api Web (HTTP); allowed: ",
        ),
        ("two_apis.yaml", "the template has several WebSocket APIs: Chat, News; allowed: one"),
        (
            "mock_integration.yaml",
            "route ping: got the integration type MOCK (AWS::ApiGatewayV2::Integration Pong); "
            "allowed: AWS_PROXY with Lambda",
        ),
        ("syntax.yaml", "template syntax.yaml, line 5: not YAML"),
        ("serverless.yaml", "Resource with id [Chat] is invalid. Route must have associated function."),
        ("serverless.yaml", "Resource with id [Extra] is invalid. invalid 'PackageType' : Tape"),
    ],
)
def test_a_template_that_cannot_run_here_is_refused_in_words(name: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_project(TEMPLATES / "bad" / name)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        {"Fn::Sub": INVOCATION},
        {
            "Fn::Sub": [
                "arn:x:apigateway:r:lambda:path/2015-03-31/functions/${F}/invocations",
                {"F": {"Fn::GetAtt": "Fn.Arn"}},
            ]
        },
        {"Fn::Join": ["", ["arn:aws:apigateway:r:lambda:path/2015-03-31/functions/", {"Ref": "Live"}, "/invocations"]]},
        {"Fn::GetAtt": ["Fn", "Arn"]},
        {"Ref": "Live"},
        {"Fn::Sub": "${Fn.Arn}:live"},
        {"Fn::Sub": "${Fn.Arn}:$LATEST"},
        "arn:aws-cn:lambda:cn-north-1:999999999999:function:Fn",
    ],
)
def test_an_integration_may_name_its_function_in_any_usual_form(template: Template, read: Read, uri: Any) -> None:
    add(template, "Live", "Lambda::Alias", FunctionName={"Ref": "Fn"}, Name="live")
    project = read(change(template, "ConnectIntegration", IntegrationUri=uri))
    assert project.api.routes[0].function == "Fn"


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("https://example.com", "got 'https://example.com'; allowed: the ARN of a Lambda function"),
        ("arn:aws:lambda:us-east-1:123456789012:function:Other", "the function 'Other' is not in this template"),
        ({"Fn::ImportValue": "fn"}, "Fn::ImportValue 'fn' cannot be resolved locally"),
        (None, "AWS::ApiGatewayV2::Integration ConnectIntegration: IntegrationUri is missing"),
    ],
)
def test_an_integration_that_leads_to_no_function_here_is_refused(
    template: Template, read: Read, uri: Any, words: str
) -> None:
    assert words in refusal(read, change(template, "ConnectIntegration", IntegrationUri=uri))


def test_a_route_without_integration_is_refused(template: Template, read: Read) -> None:
    del template["Resources"]["Connect"]["Properties"]["Target"]
    assert refusal(read, template).startswith("route $connect: has no integration")


def test_a_route_to_an_integration_that_is_not_there_is_refused(template: Template, read: Read) -> None:
    words = "Target: got 'integrations/Nothing'; allowed: the id of an AWS::ApiGatewayV2::Integration in this template"
    assert words in refusal(read, change(template, "Connect", Target="integrations/Nothing"))


@pytest.mark.parametrize(("milliseconds", "seconds"), [(50, 0.05), (29_000, 29.0), ("1500", 1.5)])
def test_an_integration_has_its_timeout(template: Template, read: Read, milliseconds: Any, seconds: float) -> None:
    project = read(change(template, "ConnectIntegration", TimeoutInMillis=milliseconds))
    assert project.api.routes[0].timeout_seconds == seconds


@pytest.mark.parametrize("milliseconds", [49, 29_001, "long", "nan", True])
def test_a_timeout_out_of_bounds_is_refused(template: Template, read: Read, milliseconds: Any) -> None:
    words = refusal(read, change(template, "ConnectIntegration", TimeoutInMillis=milliseconds))
    assert words.endswith("allowed: 50 to 29000")


def test_routes_of_another_api_are_not_this_ones(template: Template, read: Read) -> None:
    add(template, "Web", "ApiGatewayV2::Api", ProtocolType="HTTP")
    add(template, "Get", "ApiGatewayV2::Route", ApiId="somewhere-else", RouteKey="GET /")
    project = read(template)
    assert [route.key for route in project.api.routes] == ["$connect"]
    assert project.notes == ("AWS::ApiGatewayV2::Api Web: not emulated locally",)


@pytest.mark.parametrize(
    ("kind", "missed"),
    [
        ("ApiGateway::RestApi", True),
        ("ApiGatewayV2::DomainName", True),
        ("Lambda::EventSourceMapping", True),
        ("StepFunctions::StateMachine", True),
        ("ApiGateway::Account", False),
        ("ApiGatewayV2::Deployment", False),
        ("IAM::Role", False),
        ("Lambda::Permission", False),
        ("Logs::LogGroup", False),
        ("CloudWatch::Alarm", False),
        ("CDK::Metadata", False),
    ],
)
def test_what_someone_might_miss_is_noted_and_nothing_else(
    template: Template, read: Read, kind: str, missed: bool
) -> None:
    notes = read(add(template, "Thing", kind)).notes
    assert notes == ((f"AWS::{kind} Thing: not emulated locally",) if missed else ())


def test_a_route_whose_api_is_not_known_is_left_out_and_named(template: Template, read: Read) -> None:
    add(template, "Other", "ApiGatewayV2::Route", ApiId={"Fn::ImportValue": "api"}, RouteKey="x")
    project = read(template)
    assert [route.key for route in project.api.routes] == ["$connect"]
    assert project.notes == (
        "AWS::ApiGatewayV2::Route Other: its API is not known, so it is left out: "
        "Fn::ImportValue 'api' cannot be resolved locally",
    )


@pytest.mark.parametrize(
    ("expression", "response_key", "answers", "noted"),
    [
        ("$default", "$default", True, False),
        ("$default", None, False, True),
        (None, "$default", False, True),
        (None, None, False, False),
    ],
)
def test_a_route_answers_if_both_halves_are_there(
    template: Template, read: Read, expression: str | None, response_key: str | None, answers: bool, noted: bool
) -> None:
    if expression is not None:
        change(template, "Connect", RouteResponseSelectionExpression=expression)
    if response_key is not None:
        of = {"ApiId": {"Ref": "Chat"}, "RouteId": {"Ref": "Connect"}}
        add(template, "Answer", "ApiGatewayV2::RouteResponse", RouteResponseKey=response_key, **of)
    project = read(template)
    assert project.api.routes[0].has_response is answers
    assert bool(project.notes) is noted


# --- stages ----------------------------------------------------------------------------------------------------------


def stages(template: Template, *names: str) -> Template:
    for name in names:
        add(template, f"Stage{name}", "ApiGatewayV2::Stage", ApiId={"Ref": "Chat"}, StageName=name)
    return template


def test_a_template_without_stage_is_at_prod(template: Template, read: Read) -> None:
    assert read(template).api.stage == "prod"
    assert read(template, stage="dev").api.stage == "dev"


def test_the_only_stage_is_the_one(template: Template, read: Read) -> None:
    assert read(stages(template, "live")).api.stage == "live"


def test_one_of_several_stages_must_be_chosen(template: Template, read: Read) -> None:
    stages(template, "live", "beta")
    assert refusal(read, template) == "the template has several stages: live, beta; choose one with --stage"
    assert refusal(read, template, stage="prod") == "stage: got 'prod'; allowed: live, beta"
    assert read(template, stage="beta").api.stage == "beta"


def test_a_stage_variable_may_be_in_the_uri_of_an_integration(template: Template, read: Read) -> None:
    uri = "arn:aws:lambda:us-east-1:123456789012:function:${stageVariables.fn}"
    change(stages(template, "live"), "Stagelive", StageVariables={"fn": "Fn", "url": {"Fn::ImportValue": "u"}})
    project = read(change(template, "ConnectIntegration", IntegrationUri=uri))
    assert project.api.routes[0].function == "Fn"
    assert project.api.stage_variables == {"fn": "Fn"}
    assert project.notes == ("stage variable url: Fn::ImportValue 'u' cannot be resolved locally; it is left out",)


# --- authorization ---------------------------------------------------------------------------------------------------


def authorized(template: Template, **properties: Any) -> Template:
    change(template, "Connect", AuthorizationType="CUSTOM", AuthorizerId={"Ref": "Auth"})
    own = {"ApiId": {"Ref": "Chat"}, "AuthorizerType": "REQUEST", "AuthorizerUri": {"Fn::Sub": INVOCATION}}
    return add(template, "Auth", "ApiGatewayV2::Authorizer", **{**own, **properties})


@pytest.mark.parametrize(
    ("written", "expressions"),
    [
        (None, []),
        (["route.request.header.Auth"], ["route.request.header.Auth"]),
        ("route.request.header.Auth", ["route.request.header.Auth"]),
        ("route.request.header.A, context.identity.sourceIp", ["route.request.header.A", "context.identity.sourceIp"]),
    ],
)
def test_identity_sources_may_be_a_list_or_text(
    template: Template, read: Read, written: Any, expressions: list[str]
) -> None:
    authorizer = read(authorized(template, IdentitySource=written)).api.authorizer
    assert authorizer is not None
    assert [source.expression for source in authorizer.identity_sources] == expressions


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"AuthorizerType": "JWT"}, "AWS::ApiGatewayV2::Authorizer Auth: AuthorizerType: got JWT; allowed: REQUEST"),
        ({"IdentitySource": ["header.Auth"]}, "identity source: got 'header.Auth'; allowed: route.request.header"),
        ({"AuthorizerUri": "arn:aws:lambda:r:1:function:X"}, "the function 'X' is not in this template"),
    ],
)
def test_an_authorizer_that_cannot_run_here_is_refused(
    template: Template, read: Read, properties: dict[str, Any], words: str
) -> None:
    assert words in refusal(read, authorized(template, **properties))


def test_an_authorizer_elsewhere_than_on_connect_is_refused(template: Template, read: Read) -> None:
    words = "route ping: AuthorizationType: got CUSTOM; allowed: NONE, and CUSTOM or AWS_IAM on $connect"
    assert refusal(read, change(authorized(template), "Connect", RouteKey="ping")) == words


def test_iam_is_noted_as_not_checked(template: Template, read: Read) -> None:
    project = read(change(template, "Connect", AuthorizationType="AWS_IAM"))
    assert project.api.authorizer is None
    assert project.notes == ("route $connect: AWS_IAM authorization is not checked locally: everyone may connect",)


def test_keys_without_a_value_are_noted_and_disabled_ones_are_none(template: Template, read: Read) -> None:
    add(template, "A", "ApiGateway::ApiKey", Value="a" * 20)
    add(template, "B", "ApiGateway::ApiKey", Value="b" * 20, Enabled=False)
    add(template, "C", "ApiGateway::ApiKey")
    project: Project = read(change(template, "Connect", ApiKeyRequired="true"))
    assert project.api.routes[0].api_key_required
    assert project.api.api_keys == {"a" * 20}
    assert project.notes == (
        "AWS::ApiGateway::ApiKey C: has no Value, AWS makes one up; the key does not exist locally",
    )


def test_what_the_api_does_otherwise_on_aws_is_noted(template: Template, read: Read) -> None:
    change(template, "Chat", ApiKeySelectionExpression="$context.authorizer.usageIdentifierKey")
    change(template, "Connect", RequestParameters={"route.request.querystring.x": {"Required": True}})
    assert read(template).notes == (
        "AWS::ApiGatewayV2::Api Chat: API keys are read from the header x-api-key only",
        "route $connect: RequestParameters is not checked locally",
    )
