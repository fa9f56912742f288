"""The resources of `RealtimeApi` in a template."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.aws_tables import HISTORY_TABLE
from tellwire.apigateway.template import read_project
from tests.sam_template import Deployed, rights_of
from tests.unit.infra.conftest import SECRET, Synthesized, text

pytestmark = [pytest.mark.timeout(180), pytest.mark.long]  # the first test waits for Node

NAMES = ("connect", "disconnect", "default", "sweep")
CONNECT, DISCONNECT, DEFAULT, SWEEP = (f"tellwire.aws.handlers.{name}" for name in NAMES)
BROADCAST = "tellwire.aws.handlers.broadcast"
HANDLERS = pytest.mark.parametrize("handler", [CONNECT, DISCONNECT, DEFAULT, SWEEP])
TABLE = "AWS::DynamoDB::Table"

CFN_LINT = str(Path(sys.executable).with_name("cfn-lint"))
EXECUTE_API = "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:"


def own_log(template: Synthesized, handler: str) -> set[tuple[str, str]]:
    group = template.function(handler)["LoggingConfig"]["LogGroup"]["Ref"]
    return {("logs:CreateLogStream", f"${{{group}.Arn}}"), ("logs:PutLogEvents", f"${{{group}.Arn}}")}


def connections(template: Synthesized) -> tuple[str, str, set[tuple[str, str]]]:
    """Return the ARNs of the table and of its index, and the right to manage connections."""
    table, _ = template.named(TABLE, "Connections")
    api, _ = template.only("AWS::ApiGatewayV2::Api")
    manage = {
        ("execute-api:ManageConnections", f"{EXECUTE_API}${{{api}}}/prod/{method}/@connections/*")
        for method in ("POST", "DELETE")
    }
    return f"${{{table}.Arn}}", f"${{{table}.Arn}}/index/byConnection", manage


def history(template: Synthesized) -> tuple[str, str, set[tuple[str, str]]]:
    """Return the ARNs of the history table and of its index, and the rights to store publications."""
    table, _ = template.named(TABLE, "History")
    arn = f"${{{table}.Arn}}"
    keep = {(f"dynamodb:{action}", arn) for action in ("GetItem", "PutItem", "UpdateItem")}
    return arn, f"{arn}/index/leasedUploads", keep


def environment(template: Synthesized, handler: str) -> dict[str, str]:
    return {name: text(value) for name, value in template.function(handler)["Environment"]["Variables"].items()}


def host(template: Synthesized) -> str:
    api, _ = template.only("AWS::ApiGatewayV2::Api")
    return f"${{{api}}}.execute-api.${{AWS::Region}}.${{AWS::URLSuffix}}"


# --- rights -----------------------------------------------------------------------------------------------------------


def test_connect_may_put_a_row_look_for_shut_outs_remove_it_and_no_more(plain: Synthesized) -> None:
    table, _, _ = connections(plain)
    allowed = {(f"dynamodb:{action}", table) for action in ("PutItem", "Query", "DeleteItem")}
    assert plain.rights(CONNECT) == allowed | own_log(plain, CONNECT)


def test_disconnect_may_find_a_row_and_delete_it_and_no_more(plain: Synthesized) -> None:
    table, index, _ = connections(plain)
    allowed = {("dynamodb:Query", index), ("dynamodb:UpdateItem", table), ("dynamodb:DeleteItem", table)}
    assert plain.rights(DISCONNECT) == allowed | own_log(plain, DISCONNECT)


def of_default(template: Synthesized) -> set[tuple[str, str]]:
    table, index, manage = connections(template)
    allowed = {("dynamodb:Query", index)}
    allowed |= {(f"dynamodb:{action}", table) for action in ("Query", "UpdateItem", "DeleteItem")}
    return allowed | manage | own_log(template, DEFAULT)


def test_default_may_find_and_change_a_row_and_answer_and_no_more(live_only: Synthesized) -> None:
    assert live_only.rights(DEFAULT) == of_default(live_only)


def test_with_a_history_default_may_keep_what_is_said_and_tell_other_devices_and_no_more(plain: Synthesized) -> None:
    kept, _, keep = history(plain)
    assert plain.rights(DEFAULT) == of_default(plain) | keep | {("dynamodb:Query", kept)}


def test_the_sweeper_may_find_what_runs_say_that_it_stalled_and_tell_devices_and_no_more(plain: Synthesized) -> None:
    table, _, manage = connections(plain)
    kept, running, keep = history(plain)
    allowed = {("dynamodb:Query", running)}
    allowed |= {(f"dynamodb:{action}", table) for action in ("Query", "UpdateItem", "DeleteItem")}
    allowed |= {("dynamodb:BatchGetItem", kept)}
    # It looks connections up.
    manage |= {(action, on.replace("/POST/", "/GET/")) for action, on in manage}
    assert plain.rights(SWEEP) == allowed | keep | manage | own_log(plain, SWEEP)


def of_broadcast(template: Synthesized) -> set[tuple[str, str]]:
    table, _, manage = connections(template)
    allowed = {(f"dynamodb:{action}", table) for action in ("Query", "UpdateItem", "DeleteItem")}
    role_of_the_cdk = {("arn:${AWS::Partition}:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole", "managed")}
    return allowed | manage | role_of_the_cdk


def test_who_may_broadcast_may_look_up_post_and_clean_up_and_no_more(live_only: Synthesized) -> None:
    table, index, _ = connections(live_only)
    more = {("dynamodb:Query", index), ("dynamodb:Scan", table)}  # to connections, and to all
    assert live_only.rights("index.handler") == of_broadcast(live_only) | more


def test_with_a_history_who_may_broadcast_may_keep_what_is_said_and_no_more(worker: Synthesized) -> None:
    _, _, keep = history(worker)
    table, index, _ = connections(worker)
    more = {("dynamodb:Query", index), ("dynamodb:Scan", table)}  # to connections, and to all
    assert worker.rights("index.handler") == of_broadcast(worker) | keep | more


def test_the_broadcaster_has_the_rights_of_a_worker_for_every_target_and_its_variables(over_http: Synthesized) -> None:
    _, _, keep = history(over_http)
    table, index, _ = connections(over_http)
    more = {("dynamodb:Query", index), ("dynamodb:Scan", table)}
    worker = {right for right in of_broadcast(over_http) if right[1] != "managed"}
    assert over_http.rights(BROADCAST) == worker | keep | more | own_log(over_http, BROADCAST)
    assert environment(over_http, BROADCAST) == environment(over_http, SWEEP)


def test_only_signed_requests_of_those_who_are_granted_reach_the_broadcaster(
    over_http: Synthesized, plain: Synthesized
) -> None:
    _, url = over_http.only("AWS::Lambda::Url")
    assert url["AuthType"] == "AWS_IAM"
    function = text(url["TargetFunctionArn"])
    [policy] = [
        each
        for each in over_http.of_type("AWS::IAM::Policy").values()
        if any(role["Ref"].startswith("Caller") for role in each["Roles"])
    ]
    granted = set()
    for statement in policy["PolicyDocument"]["Statement"]:
        on = statement["Resource"]
        granted |= {(statement["Action"], text(each)) for each in (on if isinstance(on, list) else [on])}
    assert granted == {
        ("lambda:InvokeFunctionUrl", function),
        ("lambda:InvokeFunction", function),
        ("lambda:InvokeFunction", f"{function}:*"),
    }
    assert "BroadcastUrl" in over_http.template["Outputs"]
    assert plain.of_type("AWS::Lambda::Url") == {}


def test_the_broadcaster_has_alarms_for_its_errors_and_for_those_that_its_url_answers(over_http: Synthesized) -> None:
    name, _ = over_http.named("AWS::Lambda::Function", "Broadcaster")
    alarms = over_http.of_type("AWS::CloudWatch::Alarm").values()
    watched = {
        alarm["MetricName"]
        for alarm in alarms
        if any(text(each["Value"]) == f"${{{name}}}" for each in alarm.get("Dimensions", []))
    }
    assert watched == {"Errors", "Throttles", "Url5xxCount"}


def test_by_default_the_rights_of_a_worker_are_those_in_the_template_of_sam(granted: Synthesized) -> None:
    _, _, keep = history(granted)
    rights = granted.rights("index.handler")
    assert rights == of_broadcast(granted) | keep
    managed = {right for right in rights if right[1] == "managed"}
    in_sam = rights_of(Deployed().properties("Broadcast")["PolicyDocument"])
    names = {granted.named(TABLE, name)[0]: f"{name}Table" for name in ("Connections", "History")}
    names[granted.only("AWS::ApiGatewayV2::Api")[0]] = "WebSocketApi"
    assert {(action, _renamed(on, names)) for action, on in rights - managed} == in_sam


def _renamed(resource: str, names: dict[str, str]) -> str:
    """Return a resource with the logical ids of another template."""
    for name, other in names.items():
        resource = resource.replace(name, other)
    return resource


def test_only_api_gateway_may_call_the_handlers_and_only_for_their_route(plain: Synthesized) -> None:
    api, _ = plain.only("AWS::ApiGatewayV2::Api")
    rule, _ = plain.only("AWS::Events::Rule")
    permissions = plain.of_type("AWS::Lambda::Permission").values()
    callers = {(each["Principal"], text(each["SourceArn"])) for each in permissions}
    routes = ("$connect", "$disconnect", "$default")
    assert callers == {
        *(("apigateway.amazonaws.com", f"{EXECUTE_API}${{{api}}}/*{route}") for route in routes),
        ("events.amazonaws.com", f"${{{rule}.Arn}}"),
    }


# --- functions --------------------------------------------------------------------------------------------------------


@HANDLERS
def test_a_handler_has_its_time_its_memory_arm64_and_a_pinned_python(plain: Synthesized, handler: str) -> None:
    function = plain.function(handler)
    layer, _ = plain.only("AWS::Lambda::LayerVersion")
    expected: dict[str, Any] = {
        "Timeout": 50 if handler == SWEEP else 28,
        "MemorySize": 1024 if handler == SWEEP else 256,
        "Architectures": ["arm64"],
        "Runtime": "python3.13",
        "Layers": [{"Ref": layer}],
    }
    assert function | expected == function


def test_each_handler_knows_what_it_needs_and_only_who_verifies_tokens_knows_by_what(plain: Synthesized) -> None:
    table, _ = plain.named(TABLE, "Connections")
    history_table, _ = plain.named(TABLE, "History")
    pool, _ = plain.only("AWS::Cognito::UserPool")
    client, _ = plain.only("AWS::Cognito::UserPoolClient")
    where = {"CONNECTIONS_TABLE_NAME": f"${{{table}}}"}
    tokens = {"COGNITO_USER_POOL_ID": f"${{{pool}}}", "COGNITO_CLIENT_ID": f"${{{client}}}"}
    kept = {"HISTORY_TABLE_NAME": f"${{{history_table}}}"}
    endpoint = {"WEBSOCKET_API_ENDPOINT": f"https://{host(plain)}/prod"}
    assert environment(plain, CONNECT) == where | tokens
    assert environment(plain, DISCONNECT) == where
    assert environment(plain, DEFAULT) == where | kept | endpoint | tokens
    assert environment(plain, SWEEP) == where | kept | endpoint


def test_a_worker_gets_what_tellwire_looks_for_beside_what_it_has(worker: Synthesized) -> None:
    table, _ = worker.named(TABLE, "Connections")
    history_table, _ = worker.named(TABLE, "History")
    assert environment(worker, "index.handler") == {
        "BUCKET": "parts",
        "CONNECTIONS_TABLE_NAME": f"${{{table}}}",
        "HISTORY_TABLE_NAME": f"${{{history_table}}}",
        "WEBSOCKET_API_ENDPOINT": f"https://{host(worker)}/prod",
    }


@HANDLERS
def test_a_secret_reaches_only_who_verifies_with_it(worker: Synthesized, handler: str) -> None:
    secret = SECRET if handler in (CONNECT, DEFAULT) else None
    assert environment(worker, handler).get("TELLWIRE_JWT_SECRET") == secret


def test_messages_of_your_own_have_a_handler_of_your_own(custom: Synthesized) -> None:
    handlers = {each["Handler"] for each in custom.of_type("AWS::Lambda::Function").values()}
    assert handlers == {CONNECT, DISCONNECT, "app.default", SWEEP}
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


# --- the tables -------------------------------------------------------------------------------------------------------


def test_the_table_is_what_the_handlers_read_and_write(plain: Synthesized) -> None:
    _, table = plain.named(TABLE, "Connections")
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
def test_the_tables_go_with_the_sockets_unless_they_are_kept(
    stacks: dict[str, Synthesized], name: str, policy: str, recovery: bool
) -> None:
    # A history from an hour ago would assign offsets again that clients have seen.
    for table, recovers in (("Connections", recovery), ("History", False)):
        logical_id, properties = stacks[name].named(TABLE, table)
        resource = stacks[name].template["Resources"][logical_id]
        assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == (policy, policy)
        assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": recovers}


def test_the_history_is_the_table_that_tests_run_with(plain: Synthesized) -> None:
    _, table = plain.named(TABLE, "History")
    attributes = table.pop("AttributeDefinitions")
    expected = dict(HISTORY_TABLE)
    assert sorted(attributes, key=str) == sorted(expected.pop("AttributeDefinitions"), key=str)
    assert table == {
        **expected,
        "TimeToLiveSpecification": {"AttributeName": "expiresAt", "Enabled": True},
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": False},
    }


def test_without_a_history_nothing_of_it_is_there(live_only: Synthesized) -> None:
    live_only.named(TABLE, "Connections")
    live_only.only(TABLE)
    assert not live_only.of_type("AWS::Events::Rule")
    handlers = {each["Handler"] for each in live_only.of_type("AWS::Lambda::Function").values()}
    assert handlers == {CONNECT, DISCONNECT, DEFAULT, "index.handler"}
    for alarm in live_only.of_type("AWS::CloudWatch::Alarm"):
        assert "Sweep" not in alarm
        assert "History" not in alarm
    assert "HISTORY_TABLE_NAME" not in live_only.path.read_text()


def test_a_stack_that_gets_a_history_keeps_all_it_has(worker: Synthesized, live_only: Synthesized) -> None:
    # Only properties that are updated in place may change: variables, rights, and the metrics of alarms.
    in_place = {"Environment", "Policies", "PolicyDocument", "AlarmDescription"}
    # It has the name of the stack, which two stacks cannot share.
    in_place.add("Name")
    after = worker.template["Resources"]
    for logical_id, before in live_only.template["Resources"].items():
        assert after[logical_id]["Type"] == before["Type"]
        for name in before.get("Properties", {}).keys() - in_place:
            assert after[logical_id]["Properties"][name] == before["Properties"][name], (logical_id, name)


# --- the sweeper ------------------------------------------------------------------------------------------------------


def test_the_sweeper_runs_once_a_minute_and_a_run_that_failed_is_not_repeated(plain: Synthesized) -> None:
    _, rule = plain.only("AWS::Events::Rule")
    assert (rule["ScheduleExpression"], rule["State"]) == ("rate(1 minute)", "ENABLED")
    [target] = rule["Targets"]
    [sweeper] = [name for name, each in plain.of_type("AWS::Lambda::Function").items() if each["Handler"] == SWEEP]
    assert text(target["Arn"]) == f"${{{sweeper}.Arn}}"
    _, asynchronous = plain.only("AWS::Lambda::EventInvokeConfig")
    assert text(asynchronous["FunctionName"]) == f"${{{sweeper}}}"
    assert (asynchronous["MaximumRetryAttempts"], asynchronous["MaximumEventAgeInSeconds"]) == (0, 60)
    # Two runs never overlap, although that would be harmless.
    assert plain.function(SWEEP)["Timeout"] < 60


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
    # Without DataTraceEnabled and LoggingLevel: execution logs contain query strings and messages.
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
    assert len(groups) == 5
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
            about = dimensions.get("FunctionName") or dimensions.get("Stage")
            about = about or f"{dimensions['Operation']} {dimensions['TableName']}"
            watched.add(f"{metric['Namespace']} {metric['MetricName']} {about}")
    functions = [f"${{{name}}}" for name in plain.of_type("AWS::Lambda::Function")]
    assert len(functions) == 4
    connections_table, history_table = (plain.named(TABLE, name)[0] for name in ("Connections", "History"))
    both = ("PutItem", "UpdateItem", "DeleteItem", "Query", "TransactWriteItems")
    operations = [
        *(f"{name} ${{{connections_table}}}" for name in (*both, "Scan")),
        *(f"{name} ${{{history_table}}}" for name in (*both, "GetItem", "BatchGetItem")),
    ]
    assert watched == {
        *(f"AWS/Lambda {metric} {name}" for metric in ("Errors", "Throttles") for name in functions),
        *(f"AWS/ApiGateway {metric} prod" for metric in ("ExecutionError", "IntegrationError", "ConnectCount")),
        *(f"AWS/DynamoDB {metric} {name}" for metric in ("ThrottledRequests", "SystemErrors") for name in operations),
    }


def test_a_sum_has_a_value_while_one_of_its_parts_alone_has_one(plain: Synthesized) -> None:
    sums = 0
    for alarm in plain.of_type("AWS::CloudWatch::Alarm").values():
        metrics = alarm.get("Metrics", [])
        parts = [
            each["Id"]
            for each in metrics
            if each.get("MetricStat", {}).get("Metric", {}).get("Namespace") == "AWS/DynamoDB"
        ]
        if parts:
            [expression] = [each["Expression"] for each in metrics if "Expression" in each]
            assert expression == " + ".join(f"FILL({part}, 0)" for part in parts)
            sums += 1
    assert sums == 4


def test_a_topic_hears_of_every_alarm(custom: Synthesized) -> None:
    topic, _ = custom.only("AWS::SNS::Topic")
    alarms = custom.of_type("AWS::CloudWatch::Alarm")
    assert len(alarms) == 14
    assert all(alarm["AlarmActions"] == [{"Ref": topic}] for alarm in alarms.values())


# --- as a whole -------------------------------------------------------------------------------------------------------


def test_cfn_lint_warns_of_nothing_but_of_what_the_cdk_writes_for_every_function(
    stacks: dict[str, Synthesized],
) -> None:
    command = [CFN_LINT, "--format", "json", *(str(stack.path) for stack in stacks.values())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    findings = [(each["Filename"], each["Rule"]["Id"], each["Location"]["Path"]) for each in json.loads(done.stdout)]
    with_workers = [stacks[name] for name in ("Worker", "LiveOnly", "Granted")]
    # An unnecessary DependsOn, of a function that is not ours.
    assert sorted(finding[:2] for finding in findings) == sorted((str(each.path), "W3005") for each in with_workers)
    for file_name, _, path in findings:
        assert path[0::2][:2] == ["Resources", "DependsOn"], file_name
        assert path[1].startswith("CsvWorker")


@pytest.mark.parametrize(
    ("name", "stage"), [("Plain", "prod"), ("Custom", "dev"), ("Worker", "prod"), ("LiveOnly", "prod")]
)
def test_tellwire_local_reads_it(stacks: dict[str, Synthesized], name: str, stage: str, tmp_path: Any) -> None:
    project = read_project(stacks[name].path, workspace=tmp_path)
    assert project.api.stage == stage
    assert [route.key for route in project.api.routes] == ["$connect", "$disconnect", "$default"]
    assert set(project.ttl_attributes.values()) == {"expiresAt"}
    table, _ = stacks[name].named(TABLE, "Connections")
    assert len(project.tables) == (1 if name == "LiveOnly" else 2)
    assert {each.environment["CONNECTIONS_TABLE_NAME"] for each in project.functions.values()} == {table}
