"""The template of examples/aws_parts_upload: its resources, their rights, and the parameters it refuses."""

import json
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from bench.aws_tables import HISTORY_TABLE
from tellwire.apigateway.checks.policies import denied_permission
from tellwire.apigateway.definition import Project
from tellwire.apigateway.services.calls import AwsCall
from tellwire.apigateway.template import read_project
from tellwire.apigateway.template.source import read_source
from tellwire.errors import ConfigError
from tests.sam_template import EXAMPLE, SECRET, Deployed, rights_of, text

COGNITO = {"CognitoUserPoolId": "eu-west-1_AbCdEfGhI", "CognitoClientId": "1h57kf5cpq17m0eml12EXAMPLE"}

TABLE = "${ConnectionsTable.Arn}"
INDEX = f"{TABLE}/index/byConnection"
HISTORY = "${HistoryTable.Arn}"
BUCKET = "${Uploads.Arn}"
API = "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${WebSocketApi}/prod"
MANAGE = {("execute-api:ManageConnections", f"{API}/{method}/@connections/*") for method in ("POST", "DELETE")}
KEEP = {(f"dynamodb:{action}", HISTORY) for action in ("GetItem", "PutItem", "UpdateItem")}
# A connection that is gone leaves its topics, whose members change.
POST = {(f"dynamodb:{action}", TABLE) for action in ("Query", "DeleteItem", "UpdateItem")} | MANAGE
TELL = KEEP | POST
CONVERSE = {("dynamodb:Query", INDEX), ("dynamodb:UpdateItem", TABLE), ("dynamodb:Query", HISTORY)}
LOOK = {("execute-api:ManageConnections", f"{API}/GET/@connections/*")}
SWEEP = LOOK | {("dynamodb:BatchGetItem", HISTORY), ("dynamodb:Query", f"{HISTORY}/index/leasedUploads")}
HANDLERS = ("Connect", "Disconnect", "Default", "Sweep", "Broadcast")
KEEP_FAILURES = {("sqs:SendMessage", "${FailedUploads.Arn}")}


def files(folder: str) -> set[tuple[str, str]]:
    """Return the right to read uploads, and to see and write results."""
    results = f"{BUCKET}/{folder}/*"
    return {("s3:GetObject", f"{BUCKET}/uploads/*"), ("s3:GetObject", results), ("s3:PutObject", results)}


@pytest.fixture(scope="module")
def deployed() -> Deployed:
    return Deployed()


def read(tmp_path: Path, **parameters: str) -> Project:
    return read_project(EXAMPLE, parameters=parameters, workspace=tmp_path, functions=["CsvWorkerFunction"])


# --- as a template ----------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_cfn_lint_has_nothing_to_say() -> None:
    cfn_lint = str(Path(sys.executable).with_name("cfn-lint"))
    done = subprocess.run(
        [cfn_lint, str(EXAMPLE / "template.yaml")], capture_output=True, text=True, timeout=110, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert "cfn-lint" not in (EXAMPLE / "template.yaml").read_text()


@pytest.mark.parametrize("parameters", [SECRET, COGNITO], ids=["secret", "cognito"])
def test_either_way_to_verify_tokens_will_do(tmp_path: Path, parameters: dict[str, str]) -> None:
    project = read(tmp_path, **parameters)
    names = {"TELLWIRE_JWT_SECRET", "COGNITO_USER_POOL_ID", "COGNITO_CLIENT_ID"}
    for function in ("ConnectFunction", "DefaultFunction"):
        given = {name: value for name, value in project.functions[function].environment.items() if name in names}
        assert set(given.values()) == set(parameters.values())
    for function in ("DisconnectFunction", "CsvWorkerFunction"):
        assert names.isdisjoint(project.functions[function].environment)


@pytest.mark.parametrize(
    "parameters",
    [{}, SECRET | COGNITO, SECRET | {"CognitoClientId": "abc"}, {"CognitoUserPoolId": "eu-west-1_AbCdEfGhI"}],
    ids=["neither", "both", "secret and a client", "a pool without a client"],
)
def test_no_way_to_verify_tokens_or_two_are_refused(tmp_path: Path, parameters: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="Give CognitoUserPoolId and CognitoClientId, or JwtSecret alone"):
        read(tmp_path, **parameters)


def test_parameters_have_the_form_that_they_must_have() -> None:
    parameters = read_source(EXAMPLE).body["Parameters"]
    assert parameters["JwtSecret"]["NoEcho"] is True
    allowed = {
        name: re.compile(each["AllowedPattern"]) for name, each in parameters.items() if "AllowedPattern" in each
    }
    for name, value in (SECRET | COGNITO).items():
        assert allowed[name].search(value)
        assert allowed[name].search("")
    assert not allowed["JwtSecret"].search("x" * 31)
    assert not allowed["CognitoUserPoolId"].search("AbCdEfGhI")


def test_notes_are_about_what_is_not_emulated_and_nothing_else(tmp_path: Path) -> None:
    layers = ("TellwireLayer", "WorkersLayer")
    others = [note for note in read(tmp_path, **SECRET).notes if not any(layer in note for layer in layers)]
    assert others == [
        "AWS::S3::Bucket Uploads: not emulated locally",
    ]


# --- handlers ---------------------------------------------------------------------------------------------------------


def test_handlers_are_tellwire_s_own_and_end_before_api_gateway_gives_up(deployed: Deployed) -> None:
    for name in ("connect", "disconnect", "default", "sweep", "broadcast"):
        function = deployed.properties(f"{name.capitalize()}Function")
        assert function["Handler"] == f"tellwire.aws.handlers.{name}"
        expected = (50, 1024) if name == "sweep" else (28, 256)
        assert (function["Timeout"], function["MemorySize"]) == expected
        assert (function["Runtime"], function["Architectures"]) == ("python3.13", ["arm64"])


def test_every_function_has_the_layer_of_tellwire_and_workers_another(deployed: Deployed) -> None:
    layers = {name: properties["Layers"] for name, properties in deployed.of_type("AWS::Lambda::Function").items()}
    named = {name: [re.sub(r"[0-9a-f]{10}$", "", layer["Ref"]) for layer in found] for name, found in layers.items()}
    handlers = {f"{name}Function": ["TellwireLayer"] for name in HANDLERS}
    workers = {f"{name}WorkerFunction": ["TellwireLayer", "WorkersLayer"] for name in ("Csv", "Image")}
    assert named == handlers | workers


def test_routes_go_by_the_type_of_a_message(tmp_path: Path) -> None:
    api = read(tmp_path, **SECRET).api
    assert api.route_selection_expression == "$request.body.type"
    assert {route.key: route.function for route in api.routes} == {
        "$connect": "ConnectFunction",
        "$disconnect": "DisconnectFunction",
        "$default": "DefaultFunction",
    }


def test_the_tables_have_their_keys_their_indexes_and_their_expiry(tmp_path: Path) -> None:
    project = read(tmp_path, **SECRET)
    table, history = sorted(project.tables, key=lambda each: str(each["TableName"]))
    assert history == {**HISTORY_TABLE, "TableName": "HistoryTable"}
    keys = [{"AttributeName": "userId", "KeyType": "HASH"}, {"AttributeName": "connectionId", "KeyType": "RANGE"}]
    assert table["KeySchema"] == keys
    (index,) = table["GlobalSecondaryIndexes"]
    assert (index["IndexName"], index["Projection"]) == ("byConnection", {"ProjectionType": "ALL"})
    assert index["KeySchema"] == [{"AttributeName": "connectionId", "KeyType": "HASH"}]
    assert project.ttl_attributes == {"ConnectionsTable": "expiresAt", "HistoryTable": "expiresAt"}


# --- rights -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "allowed"),
    [
        ("ConnectFunction", {(f"dynamodb:{action}", TABLE) for action in ("PutItem", "Query", "DeleteItem")}),
        (
            "DisconnectFunction",
            {("dynamodb:Query", INDEX), *((f"dynamodb:{each}Item", TABLE) for each in ("Delete", "Update"))},
        ),
        ("DefaultFunction", CONVERSE | TELL),
        ("SweepFunction", SWEEP | TELL),
        ("BroadcastFunction", TELL | {("dynamodb:Query", INDEX), ("dynamodb:Scan", TABLE)}),
        ("CsvWorkerFunction", files("parts") | TELL | KEEP_FAILURES),
        ("ImageWorkerFunction", files("thumbnails") | TELL | KEEP_FAILURES),
    ],
)
def test_each_function_may_do_what_it_does_and_no_more(
    deployed: Deployed, function: str, allowed: set[tuple[str, str]]
) -> None:
    assert deployed.rights(function) == allowed


def test_publishing_over_http_is_signed_and_absent_unless_it_is_wanted(deployed: Deployed, tmp_path: Path) -> None:
    assert deployed.properties("BroadcastFunctionUrl")["AuthType"] == "AWS_IAM"
    callers = rights_of(deployed.properties("PublishOverHttp")["PolicyDocument"])
    assert callers == {
        (f"lambda:{action}", "${BroadcastFunction.Arn}") for action in ("InvokeFunctionUrl", "InvokeFunction")
    }
    assert "BroadcastFunction" in read(tmp_path, **SECRET, HttpPublishing="present").functions
    assert "BroadcastFunction" not in read(tmp_path, **SECRET).functions


def test_tellwire_local_knows_the_rights_of_the_managed_policy(tmp_path: Path) -> None:
    policy = read(tmp_path, **SECRET).services.policies["CsvWorkerFunction"]

    def denied(action: str) -> str | None:
        return denied_permission(policy, AwsCall("dynamodb", action, "us-east-1", "HistoryTable"), "us-east-1")

    assert (denied("PutItem"), denied("Scan")) == (None, "dynamodb:Scan")


# --- workers ----------------------------------------------------------------------------------------------------------


def test_workers_find_the_tables_and_the_api(tmp_path: Path) -> None:
    environment = read(tmp_path, **SECRET).functions["CsvWorkerFunction"].environment
    assert environment == {
        "CONNECTIONS_TABLE_NAME": "ConnectionsTable",
        "HISTORY_TABLE_NAME": "HistoryTable",
        "WEBSOCKET_API_ENDPOINT": "https://tellwire00.execute-api.us-east-1.amazonaws.com/prod",
    }


def test_s3_invokes_each_worker_for_its_files_and_for_no_results(deployed: Deployed) -> None:
    notifications = deployed.properties("Uploads")["NotificationConfiguration"]["LambdaConfigurations"]

    def invoked_by(key: str) -> set[str]:
        return {
            notification["Function"]["Fn::GetAtt"][0]
            for notification in notifications
            if all(
                fnmatchcase(key, f"{rule['Value']}*" if rule["Name"] == "prefix" else f"*{rule['Value']}")
                for rule in notification["Filter"]["S3Key"]["Rules"]
            )
        }

    assert {notification["Event"] for notification in notifications} == {"s3:ObjectCreated:*"}
    for name in ("parts.csv", "parts.xlsx", "parts.ods"):
        assert invoked_by(f"uploads/user-1/moc-1/{name}") == {"CsvWorkerFunction"}
    for name in ("blue.png", "red.jpg", "DSC_1.JPG", "red.jpeg", "a.webp", "b.heic", "IMG_1.HEIC"):
        assert invoked_by(f"uploads/user-1/moc-1/{name}") == {"ImageWorkerFunction"}
    # Otherwise they would process their own results, without end.
    for result in (
        "parts/u/m/parts.csv",
        "parts/u/m/parts.xlsx.csv",
        "thumbnails/u/m/blue.png",
        "thumbnails/u/m/red.jpg",
    ):
        assert invoked_by(result) == set()


def test_who_keeps_what_is_said_knows_where_and_nobody_else_does(tmp_path: Path) -> None:
    names = ("Connect", "Disconnect", "Default", "Sweep", "CsvWorker", "ImageWorker")
    functions = [f"{name}Function" for name in names]
    project = read_project(EXAMPLE, parameters=SECRET, workspace=tmp_path, functions=functions)
    kept = [name for name in functions if "HISTORY_TABLE_NAME" in project.functions[name].environment]
    assert kept == ["DefaultFunction", "SweepFunction", "CsvWorkerFunction", "ImageWorkerFunction"]
    assert project.functions["SweepFunction"].environment == project.functions["CsvWorkerFunction"].environment


def test_the_sweeper_runs_once_a_minute_and_a_run_that_failed_is_not_repeated(deployed: Deployed) -> None:
    (rule,) = deployed.of_type("AWS::Events::Rule").values()
    assert rule["ScheduleExpression"] == "rate(1 minute)"
    assert [text(target["Arn"]) for target in rule["Targets"]] == ["${SweepFunction.Arn}"]
    asynchronous = deployed.properties("SweepFunctionEventInvokeConfig")
    assert (asynchronous["MaximumRetryAttempts"], asynchronous["MaximumEventAgeInSeconds"]) == (0, 60)


def test_an_upload_whose_worker_keeps_failing_is_kept_in_a_queue(deployed: Deployed) -> None:
    configurations = [deployed.properties(f"{name}WorkerFunctionEventInvokeConfig") for name in ("Csv", "Image")]
    destinations = [text(each["DestinationConfig"]["OnFailure"]["Destination"]) for each in configurations]
    assert destinations == ["${FailedUploads.Arn}"] * 2


# --- logs and outputs -------------------------------------------------------------------------------------------------


def test_no_log_can_hold_a_token(deployed: Deployed) -> None:
    (stage,) = deployed.of_type("AWS::ApiGatewayV2::Stage").values()
    fields = json.loads(stage["AccessLogSettings"]["Format"])
    assert set(fields.values()) == {
        "$context.requestTime",
        "$context.requestId",
        "$context.eventType",
        "$context.routeKey",
        "$context.connectionId",
        "$context.status",
        "$context.identity.sourceIp",
        "$context.error.responseType",
    }
    assert stage["DefaultRouteSettings"]["DataTraceEnabled"] is False


def test_clients_cannot_use_up_the_requests_of_the_account(deployed: Deployed) -> None:
    (stage,) = deployed.of_type("AWS::ApiGatewayV2::Stage").values()
    throttles = {"ThrottlingRateLimit": 1000, "ThrottlingBurstLimit": 1000}
    assert stage["DefaultRouteSettings"] | throttles == stage["DefaultRouteSettings"]


def test_a_concurrency_can_be_reserved_for_messages_of_clients(deployed: Deployed) -> None:
    reserved = deployed.properties("DefaultFunction")["ReservedConcurrentExecutions"]
    assert reserved == {"Fn::If": ["ReservesConcurrency", {"Ref": "ReservedConcurrency"}, {"Ref": "AWS::NoValue"}]}


def test_every_log_group_ends_some_day_and_every_function_writes_to_one(deployed: Deployed) -> None:
    groups = deployed.of_type("AWS::Logs::LogGroup")
    assert all(group["RetentionInDays"] <= 30 for group in groups.values())
    for function in deployed.of_type("AWS::Lambda::Function").values():
        assert function["LoggingConfig"]["LogGroup"]["Ref"] in groups


def test_the_role_that_logs_is_there_before_the_stage(deployed: Deployed) -> None:
    condition, with_role, without = deployed.properties("WebSocketApi")["Description"]["Fn::If"]
    assert condition == deployed.resources["ApiGatewayAccount"]["Condition"]
    assert "${ApiGatewayAccount}" in text(with_role)
    assert "${" not in text(without)


def test_the_role_of_the_account_is_not_replaced_unless_somebody_asks_for_it() -> None:
    parameter = read_source(EXAMPLE).body["Parameters"]["ApiGatewayLogRole"]
    assert (parameter["Default"], parameter["AllowedValues"]) == ("present", ["create", "present"])


def test_every_worker_has_time_and_memory(deployed: Deployed) -> None:
    for function in deployed.of_type("AWS::Lambda::Function").values():
        assert function["Timeout"] > 3
        assert function["MemorySize"] > 128


def test_urls_and_names_are_outputs() -> None:
    outputs = read_source(EXAMPLE).body["Outputs"]
    host = "${WebSocketApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}/prod"
    assert {name: text(output["Value"]) for name, output in outputs.items()} == {
        "WebSocketUrl": f"wss://{host}",
        "ManagementEndpoint": f"https://{host}",
        "ConnectionsTableName": "${ConnectionsTable}",
        "HistoryTableName": "${HistoryTable}",
        "UploadsBucket": "${Uploads}",
        "BroadcastUrl": "${BroadcastFunctionUrl.FunctionUrl}",
        "PublishOverHttpPolicy": "${PublishOverHttp}",
    }
