"""What `RealtimeApi` puts into a template."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tellwire.apigateway.template import read_project
from tests.unit.infra.conftest import SECRET, Synthesized, text

pytestmark = pytest.mark.timeout(180)  # the first test waits for Node

CONNECT, DISCONNECT, DEFAULT = (f"tellwire.aws.handlers.{name}" for name in ("connect", "disconnect", "default"))
HANDLERS = pytest.mark.parametrize("handler", [CONNECT, DISCONNECT, DEFAULT])

CFN_LINT = str(Path(sys.executable).with_name("cfn-lint"))
EXECUTE_API = "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:"


def own_log(template: Synthesized, handler: str) -> set[tuple[str, str]]:
    group = template.function(handler)["LoggingConfig"]["LogGroup"]["Ref"]
    return {("logs:CreateLogStream", f"${{{group}.Arn}}"), ("logs:PutLogEvents", f"${{{group}.Arn}}")}


def connections(template: Synthesized) -> tuple[str, str, set[tuple[str, str]]]:
    """Return the ARNs of the table and of its index, and the right to manage connections."""
    table, _ = template.only("AWS::DynamoDB::Table")
    api, _ = template.only("AWS::ApiGatewayV2::Api")
    manage = {
        ("execute-api:ManageConnections", f"{EXECUTE_API}${{{api}}}/prod/{method}/@connections/*")
        for method in ("POST", "DELETE")
    }
    return f"${{{table}.Arn}}", f"${{{table}.Arn}}/index/byConnection", manage


def environment(template: Synthesized, handler: str) -> dict[str, str]:
    return {name: text(value) for name, value in template.function(handler)["Environment"]["Variables"].items()}


def host(template: Synthesized) -> str:
    api, _ = template.only("AWS::ApiGatewayV2::Api")
    return f"${{{api}}}.execute-api.${{AWS::Region}}.${{AWS::URLSuffix}}"


# --- rights -----------------------------------------------------------------------------------------------------------


def test_connect_may_put_a_row_and_no_more(plain: Synthesized) -> None:
    table, _, _ = connections(plain)
    assert plain.rights(CONNECT) == {("dynamodb:PutItem", table)} | own_log(plain, CONNECT)


def test_disconnect_may_find_a_row_and_delete_it_and_no_more(plain: Synthesized) -> None:
    table, index, _ = connections(plain)
    allowed = {("dynamodb:Query", index), ("dynamodb:DeleteItem", table)}
    assert plain.rights(DISCONNECT) == allowed | own_log(plain, DISCONNECT)


def test_default_may_find_and_change_a_row_and_answer_and_no_more(plain: Synthesized) -> None:
    table, index, manage = connections(plain)
    allowed = {("dynamodb:Query", index), ("dynamodb:UpdateItem", table), ("dynamodb:DeleteItem", table)}
    assert plain.rights(DEFAULT) == allowed | manage | own_log(plain, DEFAULT)


def test_who_may_broadcast_may_look_up_post_and_clean_up_and_no_more(worker: Synthesized) -> None:
    table, index, manage = connections(worker)
    allowed = {
        ("dynamodb:Query", table),
        ("dynamodb:Query", index),
        ("dynamodb:Scan", table),
        ("dynamodb:DeleteItem", table),
    }
    role_of_the_cdk = {("arn:${AWS::Partition}:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole", "managed")}
    assert worker.rights("index.handler") == allowed | manage | role_of_the_cdk


def test_only_api_gateway_may_call_the_handlers_and_only_for_their_route(plain: Synthesized) -> None:
    api, _ = plain.only("AWS::ApiGatewayV2::Api")
    permissions = plain.of_type("AWS::Lambda::Permission").values()
    assert {each["Principal"] for each in permissions} == {"apigateway.amazonaws.com"}
    assert {text(each["SourceArn"]) for each in permissions} == {
        f"{EXECUTE_API}${{{api}}}/*{route}" for route in ("$connect", "$disconnect", "$default")
    }


# --- functions --------------------------------------------------------------------------------------------------------


@HANDLERS
def test_a_handler_has_30_seconds_256_mb_arm64_and_a_pinned_python(plain: Synthesized, handler: str) -> None:
    function = plain.function(handler)
    layer, _ = plain.only("AWS::Lambda::LayerVersion")
    expected: dict[str, Any] = {
        "Timeout": 30,
        "MemorySize": 256,
        "Architectures": ["arm64"],
        "Runtime": "python3.13",
        "Layers": [{"Ref": layer}],
    }
    assert function | expected == function


def test_connect_and_default_verify_tokens_and_disconnect_need_not(plain: Synthesized) -> None:
    table, _ = plain.only("AWS::DynamoDB::Table")
    pool, _ = plain.only("AWS::Cognito::UserPool")
    client, _ = plain.only("AWS::Cognito::UserPoolClient")
    where = {"CONNECTIONS_TABLE_NAME": f"${{{table}}}"}
    tokens = {"COGNITO_USER_POOL_ID": f"${{{pool}}}", "COGNITO_CLIENT_ID": f"${{{client}}}"}
    endpoint = {"WEBSOCKET_API_ENDPOINT": f"https://{host(plain)}/prod"}
    assert environment(plain, CONNECT) == where | tokens
    assert environment(plain, DISCONNECT) == where
    assert environment(plain, DEFAULT) == where | endpoint | tokens


def test_a_worker_gets_what_tellwire_looks_for_beside_what_it_has(worker: Synthesized) -> None:
    table, _ = worker.only("AWS::DynamoDB::Table")
    assert environment(worker, "index.handler") == {
        "BUCKET": "parts",
        "CONNECTIONS_TABLE_NAME": f"${{{table}}}",
        "WEBSOCKET_API_ENDPOINT": f"https://{host(worker)}/prod",
    }


@HANDLERS
def test_a_secret_reaches_only_who_verifies_with_it(worker: Synthesized, handler: str) -> None:
    assert environment(worker, handler).get("TELLWIRE_JWT_SECRET") == (None if handler == DISCONNECT else SECRET)


def test_messages_of_your_own_have_a_handler_of_your_own(custom: Synthesized) -> None:
    handlers = {each["Handler"] for each in custom.of_type("AWS::Lambda::Function").values()}
    assert handlers == {CONNECT, DISCONNECT, "app.default"}
    codes = {each: custom.function(each)["Code"]["S3Key"] for each in handlers}
    assert codes["app.default"] != codes[CONNECT] == codes[DISCONNECT]
    variables = environment(custom, "app.default")
    assert variables["TELLWIRE_JWKS_URL"] == "https://id.example.com/keys"
    assert variables["MOCS_TABLE"] == "mocs"


def test_package_and_processor_go_together(custom: Synthesized) -> None:
    for function in custom.of_type("AWS::Lambda::Function").values():
        assert (function["Runtime"], function["Architectures"]) == ("python3.12", ["x86_64"])
        assert "Layers" not in function


def test_no_code_is_inline_as_its_handler_would_have_to_be_called_index(plain: Synthesized) -> None:
    for function in plain.of_type("AWS::Lambda::Function").values():
        assert function["Code"].keys() == {"S3Bucket", "S3Key"}


def test_a_layer_that_is_there_is_not_made_again(worker: Synthesized) -> None:
    layer, _ = worker.only("AWS::Lambda::LayerVersion")
    assert worker.function(CONNECT)["Layers"] == [{"Ref": layer}]


# --- the table --------------------------------------------------------------------------------------------------------


def test_the_table_is_what_the_handlers_read_and_write(plain: Synthesized) -> None:
    _, table = plain.only("AWS::DynamoDB::Table")
    assert table == {
        "AttributeDefinitions": [
            {"AttributeName": "userId", "AttributeType": "S"},
            {"AttributeName": "connectionId", "AttributeType": "S"},
        ],
        "KeySchema": [
            {"AttributeName": "userId", "KeyType": "HASH"},
            {"AttributeName": "connectionId", "KeyType": "RANGE"},
        ],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "byConnection",
                "KeySchema": [{"AttributeName": "connectionId", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        "BillingMode": "PAY_PER_REQUEST",
        "TimeToLiveSpecification": {"AttributeName": "expiresAt", "Enabled": True},
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": False},
    }


@pytest.mark.parametrize(("name", "policy", "recovery"), [("Plain", "Delete", False), ("Custom", "Retain", True)])
def test_the_table_goes_with_its_sockets_unless_it_is_kept(
    stacks: dict[str, Synthesized], name: str, policy: str, recovery: bool
) -> None:
    logical_id, table = stacks[name].only("AWS::DynamoDB::Table")
    resource = stacks[name].template["Resources"][logical_id]
    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == (policy, policy)
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": recovery}


# --- the API ----------------------------------------------------------------------------------------------------------


def test_messages_are_routed_by_their_type(plain: Synthesized) -> None:
    _, api = plain.only("AWS::ApiGatewayV2::Api")
    assert api["ProtocolType"] == "WEBSOCKET"
    assert api["RouteSelectionExpression"] == "$request.body.type"
    assert api["Name"] == "Plain-Realtime"


@pytest.mark.parametrize(
    ("name", "stage_name", "rate", "burst"), [("Plain", "prod", 1000, 1000), ("Custom", "dev", 7, 9)]
)
def test_a_stage_deploys_itself_and_has_a_limit(
    stacks: dict[str, Synthesized], name: str, stage_name: str, rate: int, burst: int
) -> None:
    _, stage = stacks[name].only("AWS::ApiGatewayV2::Stage")
    assert (stage["StageName"], stage["AutoDeploy"]) == (stage_name, True)
    # And no DataTraceEnabled, no LoggingLevel: execution logs hold query strings and messages.
    assert stage["DefaultRouteSettings"] == {"ThrottlingRateLimit": rate, "ThrottlingBurstLimit": burst}


def test_the_outputs_are_both_urls(plain: Synthesized) -> None:
    outputs = {name: text(output["Value"]) for name, output in plain.template["Outputs"].items()}
    assert outputs == {"WebSocketUrl": f"wss://{host(plain)}/prod", "ManagementEndpoint": f"https://{host(plain)}/prod"}


# --- logs -------------------------------------------------------------------------------------------------------------


def test_the_access_log_names_every_field_and_none_holds_a_token(plain: Synthesized) -> None:
    _, stage = plain.only("AWS::ApiGatewayV2::Stage")
    log_format = stage["AccessLogSettings"]["Format"]
    assert set(re.findall(r"\$[\w.]+", log_format)) == {
        "$context.requestId",
        "$context.requestTime",
        "$context.eventType",
        "$context.routeKey",
        "$context.connectionId",
        "$context.messageId",
        "$context.identity.sourceIp",
        "$context.status",
        "$context.integrationLatency",
        "$context.error.responseType",
    }


def test_a_line_of_the_access_log_is_json_whatever_is_missing(plain: Synthesized) -> None:
    _, stage = plain.only("AWS::ApiGatewayV2::Stage")
    line = re.sub(r"\$context\.[\w.]+", "-", stage["AccessLogSettings"]["Format"])
    assert "\n" not in line
    assert set(json.loads(line).values()) == {"-"}


@pytest.mark.parametrize(("name", "days"), [("Plain", 30), ("Custom", 7)])
def test_every_log_ends(stacks: dict[str, Synthesized], name: str, days: int) -> None:
    groups = stacks[name].of_type("AWS::Logs::LogGroup")
    assert len(groups) == 4
    assert {group["RetentionInDays"] for group in groups.values()} == {days}


def test_the_account_is_left_alone_unless_it_is_asked_for(plain: Synthesized, custom: Synthesized) -> None:
    assert not plain.of_type("AWS::ApiGateway::Account")
    account, properties = custom.only("AWS::ApiGateway::Account")
    stage, _ = custom.only("AWS::ApiGatewayV2::Stage")
    role = properties["CloudWatchRoleArn"]["Fn::GetAtt"][0]
    resources = custom.template["Resources"]
    assert {resources[account]["DeletionPolicy"], resources[role]["DeletionPolicy"]} == {"Retain"}
    assert account in resources[stage]["DependsOn"]


# --- alarms -----------------------------------------------------------------------------------------------------------


def test_there_is_an_alarm_for_everything_that_fails(plain: Synthesized) -> None:
    watched: set[str] = set()
    for alarm in plain.of_type("AWS::CloudWatch::Alarm").values():
        assert alarm["TreatMissingData"] == "notBreaching"
        assert "AlarmActions" not in alarm
        metrics = [each["MetricStat"]["Metric"] for each in alarm.get("Metrics", []) if "MetricStat" in each] or [alarm]
        for metric in metrics:
            dimensions = {each["Name"]: text(each["Value"]) for each in metric["Dimensions"]}
            about = dimensions.get("FunctionName") or dimensions.get("Operation") or dimensions.get("Stage")
            watched.add(f"{metric['Namespace']} {metric['MetricName']} {about}")
    functions = [f"${{{name}}}" for name in plain.of_type("AWS::Lambda::Function")]
    operations = ["PutItem", "UpdateItem", "DeleteItem", "Query", "Scan"]
    assert watched == {
        *(f"AWS/Lambda {metric} {name}" for metric in ("Errors", "Throttles") for name in functions),
        *(f"AWS/ApiGateway {metric} prod" for metric in ("ExecutionError", "IntegrationError", "ConnectCount")),
        *(f"AWS/DynamoDB {metric} {name}" for metric in ("ThrottledRequests", "SystemErrors") for name in operations),
    }


def test_a_topic_hears_of_every_alarm(custom: Synthesized) -> None:
    topic, _ = custom.only("AWS::SNS::Topic")
    alarms = custom.of_type("AWS::CloudWatch::Alarm")
    assert len(alarms) == 10
    assert all(alarm["AlarmActions"] == [{"Ref": topic}] for alarm in alarms.values())


# --- as a whole -------------------------------------------------------------------------------------------------------


def test_cfn_lint_warns_of_nothing_but_of_what_the_cdk_writes_for_every_function(
    stacks: dict[str, Synthesized],
) -> None:
    command = [CFN_LINT, "--format", "json", *(str(stack.path) for stack in stacks.values())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    findings = [(each["Filename"], each["Rule"]["Id"], each["Location"]["Path"]) for each in json.loads(done.stdout)]
    worker = stacks["Worker"].path
    [function] = [name for name in stacks["Worker"].of_type("AWS::Lambda::Function") if name.startswith("CsvWorker")]
    # A DependsOn that is not needed, of a function that is not ours.
    assert [finding[:2] for finding in findings] == [(str(worker), "W3005")], findings
    assert findings[0][2][:3] == ["Resources", function, "DependsOn"]


@pytest.mark.parametrize(("name", "stage"), [("Plain", "prod"), ("Custom", "dev"), ("Worker", "prod")])
def test_tellwire_local_reads_it(stacks: dict[str, Synthesized], name: str, stage: str, tmp_path: Any) -> None:
    project = read_project(stacks[name].path, workspace=tmp_path)
    assert project.api.stage == stage
    assert [route.key for route in project.api.routes] == ["$connect", "$disconnect", "$default"]
    assert list(project.ttl_attributes.values()) == ["expiresAt"]
    table, _ = stacks[name].only("AWS::DynamoDB::Table")
    assert {each.environment["CONNECTIONS_TABLE_NAME"] for each in project.functions.values()} == {table}
