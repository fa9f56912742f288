"""The fixture with a template: its tables, its functions, and handlers of the test in the place of some."""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest

from tellwire.errors import ConfigError
from tellwire.testing.api_gateway import run_api_gateway

TEMPLATE: dict[str, Any] = {
    "Parameters": {"Stage": {"Type": "String", "AllowedValues": ["dev", "live"]}},
    "Resources": {
        "Chat": {
            "Type": "AWS::ApiGatewayV2::Api",
            "Properties": {"ProtocolType": "WEBSOCKET", "RouteSelectionExpression": "$request.body.action"},
        },
        "Live": {
            "Type": "AWS::ApiGatewayV2::Stage",
            "Properties": {"ApiId": {"Ref": "Chat"}, "StageName": {"Ref": "Stage"}, "AutoDeploy": True},
        },
        "Route": {
            "Type": "AWS::ApiGatewayV2::Route",
            "Properties": {
                "ApiId": {"Ref": "Chat"},
                "RouteKey": "$default",
                "RouteResponseSelectionExpression": "$default",
                "Target": {"Fn::Sub": "integrations/${Behind}"},
            },
        },
        "Answer": {
            "Type": "AWS::ApiGatewayV2::RouteResponse",
            "Properties": {"ApiId": {"Ref": "Chat"}, "RouteId": {"Ref": "Route"}, "RouteResponseKey": "$default"},
        },
        "Behind": {
            "Type": "AWS::ApiGatewayV2::Integration",
            "Properties": {
                "ApiId": {"Ref": "Chat"},
                "IntegrationType": "AWS_PROXY",
                "IntegrationUri": {"Fn::GetAtt": ["Elsewhere", "Arn"]},
            },
        },
        "Elsewhere": {
            "Type": "AWS::Lambda::Function",
            "Properties": {"Handler": "a.b", "Runtime": "python3.12", "Code": {"S3Bucket": "b", "S3Key": "k"}},
        },
        "Rows": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                "TableName": "rows",
                "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            },
        },
    },
}


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "template.json"
    path.write_text(json.dumps(TEMPLATE))
    return path


def test_a_function_of_the_template_is_invoked_by_name_with_its_environment(tmp_path: Path) -> None:
    code = {"ZipFile": "import os\ndef handler(event, context):\n    return [event['n'] + 1, os.environ['ROWS']]\n"}
    worker: dict[str, Any] = {"Handler": "index.handler", "Runtime": "python3.12", "Code": code}
    worker["Environment"] = {"Variables": {"ROWS": {"Ref": "Rows"}}}
    resources = {**TEMPLATE["Resources"], "Worker": {"Type": "AWS::Lambda::Function", "Properties": worker}}
    path = tmp_path / "template.json"
    path.write_text(json.dumps(TEMPLATE | {"Resources": resources}))
    with run_api_gateway(
        template=path, parameters={"Stage": "dev"}, replacements={"Elsewhere": lambda event, context: {}}
    ) as api:
        assert api.invoke("Worker", {"n": 1}) == [2, "rows"]
        assert api.environment_of("Worker")["ROWS"] == "rows"
        for ask in (lambda: api.invoke("Walker", {}), lambda: api.environment_of("Walker")):
            with pytest.raises(ConfigError, match=r"'Walker'; allowed: .*Worker"):
                ask()


def test_a_handler_of_the_test_stands_in_for_a_function(template: Path) -> None:
    heard = []

    def answer(event: Any, context: Any) -> Any:
        heard.append(event["body"])
        return {"statusCode": 200, "body": "stood in"}

    with run_api_gateway(template=template, replacements={"Elsewhere": answer}, parameters={"Stage": "dev"}) as api:
        assert api.url.endswith("/dev")
        tables = boto3.client(
            "dynamodb",
            endpoint_url=api.environment["AWS_ENDPOINT_URL_DYNAMODB"],
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )
        assert tables.list_tables()["TableNames"] == ["rows"]
        with api.connect() as socket:
            socket.send("hi")
            assert socket.recv(45) == "stood in"
    assert heard == ["hi"]


def test_a_function_that_cannot_run_answers_as_an_integration_error(template: Path) -> None:
    with run_api_gateway(template=template, parameters={"Stage": "live"}) as api, api.connect() as socket:
        socket.send("hi")
        assert json.loads(socket.recv(45))["message"] == "Internal server error"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"replacements": {"Other": print}, "parameters": {"Stage": "dev"}},
            "replacements: got 'Other'; allowed: Elsew",
        ),
        ({"routes": {"$default": print}}, "template: got routes, too"),
        ({"parameters": {"Stage": "beta"}}, "parameter Stage: got 'beta'; allowed: dev, live"),
    ],
)
def test_a_mistake_is_named(template: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words), run_api_gateway(template=template, **options):
        pass


def test_neither_routes_nor_a_template_is_refused() -> None:
    with pytest.raises(ConfigError, match="routes: got none; allowed: handlers by route key, or a template"):
        run_api_gateway().__enter__()
