"""Whole templates: SAM's WebSocketApi, an API of single resources, and a synthesized CDK app."""

import os
from pathlib import Path

import pytest
from samtranslator.translator.arn_generator import ArnGenerator

from tellwire.apigateway.definition import Authorizer, IdentitySource, Project, Route
from tellwire.apigateway.template import read_project

TEMPLATES = Path(__file__).parents[3] / "data" / "templates"
HOST = "tellwire00.execute-api.us-east-1.amazonaws.com"


@pytest.fixture
def sam(tmp_path: Path) -> Project:
    return read_project(TEMPLATES / "sam", workspace=tmp_path)


@pytest.fixture
def cdk() -> Project:
    return read_project(TEMPLATES / "cdk.out")


@pytest.fixture
def classic() -> Project:
    return read_project(TEMPLATES / "classic" / "template.yaml", stage="Prod")


def test_sam_routes_lead_to_their_functions(sam: Project) -> None:
    assert sam.api.routes == (
        Route("$connect", "ConnectFunction"),
        Route("$disconnect", "DisconnectFunction"),
        Route("sendMessage", "MessageFunction", has_response=True, timeout_seconds=5.0, qualifier="live"),
        Route("whisper", "MessageFunction"),
    )
    assert sam.api.route_selection_expression == "$request.body.action"


def test_a_sam_stage_takes_its_name_from_a_parameter(tmp_path: Path) -> None:
    project = read_project(TEMPLATES / "sam", parameters={"StageName": "dev"}, workspace=tmp_path)
    assert (project.api.stage, project.api.stage_variables) == ("dev", {"greeting": "hello"})
    assert project.functions["MessageFunction"].name == "chat-dev-message"
    assert project.functions["ConnectFunction"].environment["CONNECTIONS_TABLE_NAME"] == "chat-dev-connections"


def test_a_sam_authorizer_has_its_identity_sources(sam: Project) -> None:
    sources = (IdentitySource("route.request.querystring.token"), IdentitySource("route.request.header.Origin"))
    assert sam.api.authorizer == Authorizer("AuthorizerFunction", sources)


def test_sam_functions_have_what_globals_give_and_what_they_say_themselves(sam: Project) -> None:
    message, connect = sam.functions["MessageFunction"], sam.functions["ConnectFunction"]
    assert (message.name, message.handler, message.runtime) == ("chat-live-message", "app.handler", "python3.12")
    assert (message.timeout_seconds, message.memory_mb, connect.memory_mb) == (5.0, 512, 256)
    assert message.code_dir == TEMPLATES / "sam" / "message"
    assert message.layers == (TEMPLATES / "sam" / "layer" / "python",)
    assert connect.environment == {
        "CONNECTIONS_TABLE_NAME": "chat-live-connections",
        "LOG_LEVEL": "INFO",
        "RETENTION_DAYS": "7",
    }


def test_the_api_has_the_url_it_would_have_on_aws(sam: Project) -> None:
    assert sam.functions["MessageFunction"].environment["WEBSOCKET_API_ENDPOINT"] == f"https://{HOST}/live"


def test_code_in_the_template_becomes_a_module(sam: Project, tmp_path: Path) -> None:
    disconnect = sam.functions["DisconnectFunction"]
    assert disconnect.handler == "index.handler"
    assert disconnect.code_dir.is_relative_to(tmp_path)
    assert (disconnect.code_dir / "index.py").read_text().startswith("def handler(event, context):")


def test_a_function_that_no_route_needs_is_loaded_on_demand(sam: Project) -> None:
    assert sam.on_demand == {"ReportFunction"}


def test_a_simple_table_is_a_table(sam: Project) -> None:
    assert sam.tables == (
        {
            "TableName": "chat-live-connections",
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "connectionId", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "connectionId", "KeyType": "HASH"}],
        },
    )


def test_what_cannot_be_had_locally_is_named_in_one_line_each(sam: Project) -> None:
    assert sorted(sam.notes) == sorted(
        [
            "parameter ReportUrl has no value, so AWS would not deploy this; give it one with --parameter ReportUrl=…",
            "function ConnectFunction: environment variable SHARED_BUCKET: Fn::ImportValue 'shared-bucket' cannot be "
            "resolved locally; set it with --env-file",
            "a layer is left out, install its packages on this machine: "
            "arn:aws:lambda:us-east-1:017000801446:layer:AWSLambdaPowertoolsPythonV3:1 is not in the template",
            "route whisper: it does not answer, as on AWS: "
            "there is no AWS::ApiGatewayV2::RouteResponse with RouteResponseKey $default",
        ]
    )


def test_reading_sam_needs_no_aws_configuration_and_leaves_none_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_PROFILE", "a-profile-that-does-not-exist")
    monkeypatch.setattr(ArnGenerator, "BOTO_SESSION_REGION_NAME", "eu-north-1")
    before = dict(os.environ)
    project = read_project(TEMPLATES / "sam", region="eu-central-1", parameters={"StageName": "x"}, workspace=tmp_path)
    assert project.api.region == "eu-central-1"
    assert dict(os.environ) == before
    assert ArnGenerator.BOTO_SESSION_REGION_NAME == "eu-north-1"
    assert [record for record in caplog.records if record.levelname != "INFO"] == []


def test_an_api_spelled_out_is_read_as_written(classic: Project) -> None:
    api = classic.api
    assert api.routes == (
        Route("$connect", "OnConnect"),
        Route("sendmessage", "SendMessage", api_key_required=True, qualifier="live"),
    )
    assert (api.stage, api.stage_variables) == ("Prod", {"alias": "live"})
    assert (api.route_selection_expression, api.authorizer) == ("$request.body.message", None)
    assert api.api_keys == {"a-key-of-at-least-twenty-characters"}


def test_lambdas_own_defaults_hold_where_the_template_says_nothing(classic: Project) -> None:
    function = classic.functions["SendMessage"]
    assert (function.name, function.timeout_seconds, function.memory_mb) == ("SendMessage", 3.0, 128)


def test_names_and_arns_of_what_runs_here_are_known(classic: Project) -> None:
    assert classic.functions["OnConnect"].environment == {
        "TABLE_NAME": "chat_connections",
        "TABLE_ARN": "arn:aws:dynamodb:us-east-1:123456789012:table/chat_connections",
        "API_HOST": f"wss://{HOST}",
    }


def test_a_table_keeps_its_keys_indexes_and_stream_and_nothing_else(classic: Project) -> None:
    [table] = classic.tables
    assert set(table) == {
        "TableName",
        "BillingMode",
        "AttributeDefinitions",
        "KeySchema",
        "GlobalSecondaryIndexes",
        "StreamSpecification",
    }
    assert table["GlobalSecondaryIndexes"] == [
        {
            "IndexName": "byRoom",
            "KeySchema": [{"AttributeName": "room", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }
    ]
    assert table["StreamSpecification"] == {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    assert classic.ttl_attributes == {"chat_connections": "expiresAt"}


def test_nothing_is_noted_of_a_template_that_runs_as_it_is(classic: Project) -> None:
    assert classic.notes == ()


def test_a_synthesized_cdk_app_is_read(cdk: Project) -> None:
    assert cdk.api.routes == (
        Route("$connect", "OnConnect11112222"),
        Route("sendMessage", "OnMessage55556666", has_response=True, qualifier="live"),
    )
    assert cdk.api.stage == "prod"
    assert cdk.api.authorizer == Authorizer("Authorizer33334444", (IdentitySource("route.request.querystring.token"),))


def test_cdk_urls_are_those_of_the_api(cdk: Project) -> None:
    assert cdk.functions["OnMessage55556666"].environment["ENDPOINT"] == f"https://{HOST}/prod"
    assert cdk.functions["OnConnect11112222"].environment["URL"] == f"wss://{HOST}/prod"


def test_cdk_assets_are_found_by_their_metadata_and_by_their_manifest(cdk: Project) -> None:
    assets = TEMPLATES / "cdk.out"
    assert cdk.functions["OnConnect11112222"].code_dir == assets / "asset.cccccccc1"
    assert cdk.functions["Authorizer33334444"].code_dir == assets / "asset.aaaaaaaa2"
    assert cdk.functions["OnMessage55556666"].layers == (assets / "asset.ffffffff4" / "python",)


def test_a_cdk_table_v2_is_a_table(cdk: Project) -> None:
    [table] = cdk.tables
    assert table["TableName"] == "Connections5A6B7C8D"
    assert [index["IndexName"] for index in table["GlobalSecondaryIndexes"]] == ["byUser"]
    assert "Replicas" not in table
    assert cdk.ttl_attributes == {"Connections5A6B7C8D": "expiresAt"}


def test_a_secret_in_a_cdk_environment_is_left_out_and_named(cdk: Project) -> None:
    assert "SECRET" not in cdk.functions["OnMessage55556666"].environment
    assert cdk.notes == (
        "function OnMessage55556666: environment variable SECRET: the dynamic reference '{{resolve:secretsmanager:' "
        "cannot be resolved locally; set it with --env-file",
    )
