"""Routes, stages, authorizers and API keys of a template, one at a time."""

from pathlib import Path
from typing import Any

import pytest

from tellwire.apigateway.definition import Authorizer, Integration, IntegrationResponse, Project, Templates
from tellwire.apigateway.services.definition import ServiceAction
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
        ("for_each.yaml", "Fn::ForEach::Routes: the transform AWS::LanguageExtensions is not supported; allowed: "),
        (
            "no_transform.yaml",
            "AWS::Serverless::WebSocketApi Chat needs the line Transform: AWS::Serverless-2016-10-31",
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
def test_a_route_whose_integration_leads_to_no_function_here_is_left_out(
    template: Template, read: Read, uri: Any, words: str
) -> None:
    if uri is None:
        del template["Resources"]["ConnectIntegration"]["Properties"]["IntegrationUri"]
        assert words in refusal(read, template)
    else:
        assert words in left_out(read(change(template, "ConnectIntegration", IntegrationUri=uri)))


def left_out(project: Project, key: str = "$connect") -> str:
    """Return the reason for which a route is left out."""
    route = project.api.route(key)
    assert route is not None
    assert route.function == f"route {key}"
    return str(project.functions[route.function].left_out)


def test_a_route_without_integration_is_left_out(template: Template, read: Read) -> None:
    del template["Resources"]["Connect"]["Properties"]["Target"]
    assert left_out(read(template)).startswith("has no integration")


def test_a_route_to_an_integration_that_is_not_there_is_left_out(template: Template, read: Read) -> None:
    words = "Target: got 'integrations/Nothing'; allowed: the id of an AWS::ApiGatewayV2::Integration in this template"
    assert words in left_out(read(change(template, "Connect", Target="integrations/Nothing")))


@pytest.mark.parametrize("kind", ["HTTP", "HTTP_PROXY"])
def test_a_route_to_another_server_is_left_out(template: Template, read: Read, kind: str) -> None:
    reason = left_out(read(change(template, "ConnectIntegration", IntegrationType=kind)))
    assert reason == (
        f"got the integration type {kind} (AWS::ApiGatewayV2::Integration ConnectIntegration); "
        "allowed: AWS_PROXY and AWS with Lambda, AWS with a service, MOCK"
    )


def test_one_route_that_cannot_run_leaves_the_others(template: Template, read: Read) -> None:
    add(template, "Ping", "ApiGatewayV2::Route", ApiId={"Ref": "Chat"}, RouteKey="ping")
    project = read(template)
    assert [route.function for route in project.api.routes] == ["Fn", "route ping"]
    assert project.functions["Fn"].left_out is None


def mock(template: Template, **properties: Any) -> Template:
    del template["Resources"]["ConnectIntegration"]["Properties"]["IntegrationUri"]
    return change(template, "ConnectIntegration", IntegrationType="MOCK", **properties)


@pytest.mark.parametrize("templates", [{}, {"200": '{"statusCode": 200}'}, {"$default": "#set($x = 1){}"}])
def test_a_mock_has_no_function(template: Template, read: Read, templates: dict[str, str]) -> None:
    project = read(mock(template, **({"RequestTemplates": templates} if templates else {})))
    [route] = project.api.routes
    assert (route.integration, route.request.by_key) == (Integration.MOCK, templates)
    assert project.functions.keys() == project.on_demand


def test_a_route_has_the_templates_of_its_integration_responses(template: Template, read: Read) -> None:
    of = {"ApiId": {"Ref": "Chat"}, "IntegrationId": {"Ref": "ConnectIntegration"}}
    add(
        mock(template),
        "Said",
        "ApiGatewayV2::IntegrationResponse",
        IntegrationResponseKey="/200/",
        TemplateSelectionExpression="\\$default",
        ResponseTemplates={"200": {"pong": True}},
        **of,
    )
    [route] = read(template).api.routes
    assert route.responses == (IntegrationResponse("/200/", Templates({"200": '{"pong": true}'}, "\\$default")),)


@pytest.mark.parametrize(
    ("behavior", "passes"), [(None, True), ("WHEN_NO_MATCH", True), ("WHEN_NO_TEMPLATES", False), ("NEVER", False)]
)
def test_a_custom_integration_has_its_mapping_templates(
    template: Template, read: Read, behavior: str | None, passes: bool
) -> None:
    change(template, "ConnectIntegration", IntegrationType="AWS", RequestTemplates={"$default": "$input.body"})
    if behavior is not None:
        change(template, "ConnectIntegration", PassthroughBehavior=behavior)
    [route] = read(template).api.routes
    assert (route.function, route.request) == ("Fn", Templates({"$default": "$input.body"}, "", passes))


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"RequestTemplates": {"$default": "#if($x"}}, "not a template in Velocity"),
        ({"RequestTemplates": {"x": ""}, "TemplateSelectionExpression": "$context.stage"}, "selection expression"),
    ],
)
def test_a_template_of_another_form_leaves_out_its_route(
    template: Template, read: Read, properties: dict[str, Any], words: str
) -> None:
    assert words in left_out(read(change(template, "ConnectIntegration", IntegrationType="AWS", **properties)))


def test_an_unknown_passthrough_behavior_is_refused(template: Template, read: Read) -> None:
    change(template, "ConnectIntegration", IntegrationType="AWS", PassthroughBehavior="MAYBE")
    assert "got 'MAYBE'; allowed: WHEN_NO_MATCH, WHEN_NO_TEMPLATES, NEVER" in refusal(read, template)


def calling(template: Template, service: str, **properties: Any) -> Template:
    uri = {"Fn::Sub": f"arn:aws:apigateway:${{AWS::Region}}:{service}"}
    return change(template, "ConnectIntegration", IntegrationType="AWS", IntegrationUri=uri, **properties)


@pytest.mark.parametrize(
    ("uri", "service"),
    [
        ("dynamodb:action/PutItem", ServiceAction("dynamodb", "PutItem")),
        ("sqs:path/123456789012/jobs", ServiceAction("sqs", path="/123456789012/jobs")),
        ("sns:path//", ServiceAction("sns")),
    ],
)
def test_a_route_calls_a_service_without_a_function(
    template: Template, read: Read, uri: str, service: ServiceAction
) -> None:
    [route] = read(calling(template, uri)).api.routes
    assert (route.integration, route.function, route.service) == (Integration.SERVICE, "", service)


def test_headers_of_an_integration_are_those_with_a_fixed_value(template: Template, read: Read) -> None:
    parameters = {
        "integration.request.header.Content-Type": "'text/plain'",
        "integration.request.header.Authorization": "route.request.header.Authorization",
    }
    [route] = read(calling(template, "sns:action/Publish", RequestParameters=parameters)).api.routes
    assert route.service == ServiceAction("sns", "Publish", headers={"content-type": "text/plain"})


def test_a_route_to_a_service_that_is_not_here_is_left_out(template: Template, read: Read) -> None:
    assert "calls states, which is not answered here" in left_out(
        read(calling(template, "states:action/StartExecution"))
    )


def test_a_mock_with_a_status_of_another_form_is_refused(template: Template, read: Read) -> None:
    words = refusal(read, mock(template, RequestTemplates={"200": "ok"}))
    assert words.endswith("RequestTemplates: got 'ok'; allowed: {\"statusCode\": 200}")


@pytest.mark.parametrize(
    ("parameters", "kind"),
    [
        (None, Integration.CUSTOM),
        ({"integration.request.header.X-Amz-Invocation-Type": "'Event'"}, Integration.EVENT),
        ({"integration.request.header.X-Amz-Invocation-Type": "'RequestResponse'"}, Integration.CUSTOM),
    ],
)
def test_a_custom_integration_invokes_its_function(
    template: Template, read: Read, parameters: Any, kind: Integration
) -> None:
    more = {"RequestParameters": parameters} if parameters else {}
    [route] = read(change(template, "ConnectIntegration", IntegrationType="AWS", **more)).api.routes
    assert (route.function, route.integration) == ("Fn", kind)


def test_an_alias_is_the_qualifier_of_its_route(template: Template, read: Read) -> None:
    add(template, "Live", "Lambda::Alias", FunctionName={"Ref": "Fn"}, Name="live")
    project = read(change(template, "ConnectIntegration", IntegrationUri={"Ref": "Live"}))
    assert project.api.routes[0].qualifier == "live"


# --- several APIs -----------------------------------------------------------------------------------------------------


def second(template: Template) -> Template:
    add(template, "News", "ApiGatewayV2::Api", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.do")
    of = {"ApiId": {"Ref": "News"}, "Target": {"Fn::Sub": "integrations/${NewsIntegration}"}}
    add(template, "NewsRoute", "ApiGatewayV2::Route", RouteKey="read", **of)
    uri = {"Fn::Sub": INVOCATION}
    return add(
        template,
        "NewsIntegration",
        "ApiGatewayV2::Integration",
        ApiId={"Ref": "News"},
        IntegrationType="AWS_PROXY",
        IntegrationUri=uri,
    )


def test_several_apis_have_a_path_and_an_id_each(template: Template, read: Read) -> None:
    apis = read(second(template)).apis
    assert [(api.name, api.path, api.api_id) for api in apis] == [
        ("Chat", "/Chat/prod", "tellwire00"),
        ("News", "/News/prod", "tellwire01"),
    ]
    assert [[route.key for route in api.routes] for api in apis] == [["$connect"], ["read"]]


def test_one_of_several_apis_has_the_address_to_itself(template: Template, read: Read) -> None:
    [api] = read(second(template), api="News").apis
    assert (api.name, api.path) == ("News", "/prod")
    assert refusal(read, template, api="Web") == "api: got 'Web'; allowed: Chat, News"


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
        (None, "$default", True, False),
        (None, None, False, False),
    ],
)
def test_a_route_answers_if_it_has_a_route_response(
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
    ],
)
def test_an_authorizer_that_cannot_run_here_is_refused(
    template: Template, read: Read, properties: dict[str, Any], words: str
) -> None:
    assert words in refusal(read, authorized(template, **properties))


def test_an_authorizer_whose_function_is_not_here_is_left_out(template: Template, read: Read) -> None:
    project = read(authorized(template, AuthorizerUri="arn:aws:lambda:r:1:function:X"))
    assert project.api.authorizer == Authorizer("authorizer of Chat")
    assert "the function 'X' is not in this template" in str(project.functions["authorizer of Chat"].left_out)


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
    assert project.api.api_keys == {"a" * 20, "local-key-of-C"}
    assert project.notes == ("AWS::ApiGateway::ApiKey C: has no Value, so AWS makes one up; here it is local-key-of-C",)


def test_a_route_that_requires_a_key_of_a_template_without_one_lets_nobody_in(template: Template, read: Read) -> None:
    assert read(change(template, "Connect", ApiKeyRequired=True)).notes == (
        "AWS::ApiGatewayV2::Api Chat: a route requires an API key, and the template has none: nobody can connect, as "
        "on AWS",
    )


def test_what_the_api_does_otherwise_on_aws_is_noted(template: Template, read: Read) -> None:
    change(template, "Chat", ApiKeySelectionExpression="$context.authorizer.usageIdentifierKey")
    change(template, "Connect", RequestParameters={"route.request.querystring.x": {"Required": True}})
    assert read(template).notes == (
        "AWS::ApiGatewayV2::Api Chat: API keys are read from the header x-api-key only",
        "route $connect: RequestParameters is not checked locally",
    )
