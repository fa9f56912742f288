"""`serverless.yml` as a template: functions with `websocket` events, variables, resources."""

from pathlib import Path

import pytest

from tellwire.apigateway.definition import Authorizer, IdentitySource, Project, Route
from tellwire.apigateway.template import read_project
from tellwire.errors import ConfigError

FILE = """
service: chat
provider:
  name: aws
  runtime: python3.12
  stage: ${opt:stage, 'dev'}
  websocketsApiRouteSelectionExpression: $request.body.do
  environment:
    TABLE: ${self:custom.table}
    ENDPOINT: !Sub https://${WebsocketsApi}.execute-api.${AWS::Region}.amazonaws.com/${self:provider.stage}
    SECRET: ${ssm:/chat/secret}
    LIMIT: ${env:TELLWIRE_TEST_LIMIT, 7}
custom:
  table: ${self:service}-rows-${self:provider.stage}
  memory: {dev: 256, live: 512}
functions:
  check-in:
    handler: src/app.connect
    timeout: 9
    memorySize: ${self:custom.memory.${self:provider.stage}}
    events:
      - websocket: {route: $connect, authorizer: {name: auth, identitySource: [route.request.querystring.token]}}
      - websocket: $disconnect
  message:
    handler: src/app.message
    environment: {OWN: 'yes'}
    events:
      - websocket: {route: say, routeResponseSelectionExpression: $default}
      - http: {path: /, method: get}
  auth: {handler: src/app.auth}
plugins: [serverless-offline, serverless-plugin-warmup]
resources:
  Resources:
    Rows:
      Type: AWS::DynamoDB::Table
      Properties:
        TableName: ${self:custom.table}
        AttributeDefinitions: [{AttributeName: id, AttributeType: S}]
        KeySchema: [{AttributeName: id, KeyType: HASH}]
    WebsocketsApi: {Properties: {Description: 'A resource of the framework, with more properties.'}}
"""


def read(tmp_path: Path, text: str = FILE, **options: object) -> Project:
    (tmp_path / "serverless.yml").write_text(text)
    return read_project(tmp_path, **options)  # type: ignore[arg-type]


def test_websocket_events_are_routes(tmp_path: Path) -> None:
    api = read(tmp_path).api
    assert sorted(api.routes, key=lambda route: route.key) == [
        Route("$connect", "CheckDashinLambdaFunction"),
        Route("$disconnect", "CheckDashinLambdaFunction"),
        Route("say", "MessageLambdaFunction", has_response=True),
    ]
    assert (api.stage, api.route_selection_expression) == ("dev", "$request.body.do")
    assert api.authorizer == Authorizer("AuthLambdaFunction", (IdentitySource("route.request.querystring.token"),))


def test_functions_have_the_framework_s_names_and_what_the_provider_gives(tmp_path: Path) -> None:
    functions = read(tmp_path).functions
    check_in, message = functions["CheckDashinLambdaFunction"], functions["MessageLambdaFunction"]
    assert (check_in.name, check_in.handler, check_in.code_dir) == ("chat-dev-check-in", "src/app.connect", tmp_path)
    assert (check_in.timeout_seconds, check_in.memory_mb, message.timeout_seconds) == (9, 256, 6)
    assert message.environment == {
        "TABLE": "chat-rows-dev",
        "ENDPOINT": "https://tellwire00.execute-api.us-east-1.amazonaws.com/dev",
        "LIMIT": "7",
        "OWN": "yes",
    }


def test_the_stage_is_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELLWIRE_TEST_LIMIT", "9")
    project = read(tmp_path, stage="live")
    function = project.functions["CheckDashinLambdaFunction"]
    assert (project.api.stage, function.memory_mb, function.environment["LIMIT"]) == ("live", 512, "9")
    assert [table["TableName"] for table in project.tables] == ["chat-rows-live"]


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    notes = read(tmp_path).notes
    assert "serverless.yml: function message: event http: not emulated locally" in notes
    assert "serverless.yml: plugin serverless-plugin-warmup: not run locally" in notes
    assert not any("serverless-offline" in note for note in notes)
    assert any("SECRET: Fn::Variable '${ssm:/chat/secret}' cannot be resolved locally" in note for note in notes)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${self:custom.none, 'x'}", "x"),
        ("${opt:color}", "red"),
        ("a-${aws:region}-${aws:accountId}", "a-us-east-1-123456789012"),
        ("${param:nothing, env:TELLWIRE_TEST_NOTHING, self:service}", "chat"),
        ("#{AWS::AccountId}-${opt:color}", "123456789012-red"),
        ("${strToBool(true)}", None),
        ("${file(./x.yml):y}", None),
        ("${self:custom.none}", None),
    ],
)
def test_a_variable_has_a_value_or_is_named(tmp_path: Path, written: str, value: str | None) -> None:
    project = read(tmp_path, FILE.replace("OWN: 'yes'", f'OWN: "{written}"'), parameters={"color": "red"})
    assert project.functions["MessageLambdaFunction"].environment.get("OWN") == value
    named = [note for note in project.notes if "variable OWN:" in note]
    assert bool(named) is (value is None)


def test_a_variable_that_leads_to_itself_is_refused(tmp_path: Path) -> None:
    text = FILE.replace("OWN: 'yes'", "OWN: '${self:custom.a}'").replace("custom:", "custom:\n  a: ${self:custom.a}x")
    with pytest.raises(ConfigError, match=r"variable '\$\{self:custom\.a\}' leads to itself"):
        read(tmp_path, text)


def test_typescript_is_bundled_where_its_handler_says(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "app.ts").write_text("export const message = 1")
    function = read(tmp_path).functions["MessageLambdaFunction"]
    # With entry points esbuild would leave out the directory.
    assert (function.handler, function.build) == ("src/app.message", None)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("functions: {a: 7}", "serverless.yml: function a: got 7; allowed: a handler and events"),
        ("functions: 7", "serverless.yml: functions: got 7; allowed: an object"),
        ("functions: {a: {handler: x.y, events: [websocket]}}", "websocket: got 'websocket'; allowed: a route"),
        ("functions: {}", "the template has no WebSocket API"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"service: chat\nprovider: {{name: aws}}\n{line}\n")
    assert words in str(caught.value)
