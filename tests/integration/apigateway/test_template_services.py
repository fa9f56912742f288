"""Functions of a template that call AWS, run by `tellwire local`: small templates of our own for each pattern."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.integration.apigateway.test_local_command import Running, clean_environment, run

TELLWIRE = str(Path(sys.executable).with_name("tellwire"))
SECONDS = 60

HEAD = """
Transform: AWS::Serverless-2016-10-31
Globals: {Function: {Runtime: PYTHON, Handler: app.handler, CodeUri: NAME, Timeout: 20}}
Resources:
  Api:
    Type: AWS::Serverless::WebSocketApi
    Properties:
      StageName: dev
      RouteSelectionExpression: $request.body.action
      AUTH
      Routes:
        $connect: {FunctionArn: !GetAtt Chat.Arn}
        $default: {FunctionArn: !GetAtt Chat.Arn}
""".replace("PYTHON", f"python{sys.version_info.major}.{sys.version_info.minor}")

GREETER = """
import time, boto3
def handler(event, context):
    url = f"https://{event['api']}.execute-api.us-east-1.amazonaws.com/{event['stage']}"
    client = boto3.client("apigatewaymanagementapi", endpoint_url=url)
    while True:
        try:
            return client.post_to_connection(ConnectionId=event["id"], Data=event["text"].encode())
        except client.exceptions.GoneException:
            time.sleep(0.05)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    directory.mkdir()
    return directory


Local = Callable[..., Running]


@pytest.fixture
def local(project: Path, tmp_path: Path) -> Iterator[Local]:
    """Run `tellwire local` with a template, and with the code of its functions by name."""
    with ExitStack() as stack:

        def start(template: str, *arguments: str, auth: str = "", **code: str) -> Running:
            write(project, template, auth, **code)
            log = tmp_path / "log"
            with log.open("w") as stderr:
                process = stack.enter_context(
                    subprocess.Popen(
                        [TELLWIRE, "local", "--port", "0", "--template", ".", *arguments],
                        cwd=project,
                        env=clean_environment(),
                        stdout=subprocess.PIPE,
                        stderr=stderr,
                        text=True,
                    )
                )
            stack.callback(process.terminate)
            assert process.stdout is not None
            running = Running(process, log, [process.stdout.readline()])
            while not any("$default" in line for line in running.out) and running.out[-1]:
                running.out.append(process.stdout.readline())
            return running

        yield start


def write(project: Path, template: str, auth: str = "", **code: str) -> None:
    (project / "template.yaml").write_text(HEAD.replace("AUTH", auth) + template)
    for name, text in code.items():
        (project / name).mkdir(exist_ok=True)
        (project / name / "app.py").write_text(text)


def services_url(running: Running) -> str:
    found = re.search(r"services\s+(\S+)", "".join(running.out))
    assert found is not None, running.out
    return found[1]


def client(running: Running, service: str) -> Any:
    keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    return boto3.client(service, endpoint_url=services_url(running), region_name="us-east-1", **keys)


def ask(socket: ClientConnection, message: str = "hello") -> Any:
    socket.send(message)
    return json.loads(socket.recv(SECONDS))


# --- Lambda Invoke ----------------------------------------------------------------------------------------------------


def test_connect_invokes_another_function_that_greets_afterwards(local: Local) -> None:
    chat = """
import boto3, json, os
def handler(event, context):
    request = event["requestContext"]
    to = {"id": request["connectionId"], "api": request["apiId"], "stage": request["stage"]}
    to["text"] = "you are connected"
    boto3.client("lambda").invoke(
        FunctionName=os.environ["GREETER"], InvocationType="Event", Payload=json.dumps(to).encode()
    )
    return {"statusCode": 200}
"""
    template = """
  Chat:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: chat
      Environment: {Variables: {GREETER: !GetAtt Greeter.Arn}}
      Policies: [LambdaInvokePolicy: {FunctionName: !Ref Greeter}]
  Greeter:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: greeter
      Policies: [Statement: [{Effect: Allow, Action: "execute-api:ManageConnections", Resource: "*"}]]
"""
    running = local(template, chat=chat, greeter=GREETER)
    with running.connect("dev") as socket:
        assert socket.recv(SECONDS) == "you are connected"
    # All of it would work on AWS.
    assert "AWS answers" not in running.log.read_text()
    assert "fails on AWS" not in running.log.read_text()


ANSWERING = """
import boto3, json, os
def handler(event, context):
    request = event["requestContext"]
    if request["eventType"] == "CONNECT":
        return {"statusCode": 200}
    answer = work()
    url = "https://" + request["domainName"] + "/" + request["stage"]
    client = boto3.client("apigatewaymanagementapi", endpoint_url=url)
    client.post_to_connection(ConnectionId=request["connectionId"], Data=json.dumps(answer).encode())
    return {"statusCode": 200}
"""

CHAT = "\n  Chat: {Type: AWS::Serverless::Function, Properties: {CodeUri: chat, Policies: [AdministratorAccess]}}\n"


def test_a_function_gets_the_result_and_the_error_of_another(local: Local) -> None:
    work = """
def work():
    client = boto3.client("lambda")
    good = client.invoke(FunctionName="adder", Payload=b'{"a": 1, "b": 2}')
    bad = client.invoke(FunctionName="arn:aws:lambda:us-east-1:123456789012:function:adder", Payload=b'{}')
    try:
        client.invoke(FunctionName="nobody")
    except client.exceptions.ResourceNotFoundException as error:
        missing = str(error)
    return [json.load(good["Payload"]), bad["FunctionError"], json.load(bad["Payload"])["errorType"], missing]
"""
    template = CHAT + "  Adder: {Type: AWS::Serverless::Function, Properties: {CodeUri: adder, FunctionName: adder}}\n"
    running = local(
        template, chat=ANSWERING + work, adder="def handler(event, context):\n    return event['a'] + event['b']\n"
    )
    with running.connect("dev") as socket:
        result, error, kind, missing = ask(socket)
    assert (result, error, kind) == (3, "Unhandled", "KeyError")
    assert "Function not found: nobody" in missing


# --- routes without a function ----------------------------------------------------------------------------------------

SERVICE_ROUTE = """
  NAMERoute:
    Type: AWS::ApiGatewayV2::Route
    Properties: {ApiId: !Ref Api, RouteKey: NAME, Target: !Sub "integrations/${NAMEIntegration}"}
  NAMEAnswer:
    Type: AWS::ApiGatewayV2::RouteResponse
    Properties: {ApiId: !Ref Api, RouteId: !Ref NAMERoute, RouteResponseKey: $default}
  NAMEIntegration:
    Type: AWS::ApiGatewayV2::Integration
    Properties:
      ApiId: !Ref Api
      IntegrationType: AWS
      IntegrationMethod: POST
      IntegrationUri: !Sub "arn:aws:apigateway:${AWS::Region}:URI"
      TemplateSelectionExpression: \\$default
      RequestTemplates: {$default: !Sub 'BODY'}
"""


def service_route(name: str, uri: str, body: str) -> str:
    return SERVICE_ROUTE.replace("NAME", name).replace("URI", uri).replace("BODY", body.replace("'", "''"))


def test_routes_call_services_without_a_function(local: Local) -> None:
    template = CHAT.replace("Policies", "Events: {Jobs: {Type: SQS, Properties: {Queue: !GetAtt Jobs.Arn}}}, Policies")
    template += """
  Jobs: {Type: AWS::SQS::Queue, Properties: {QueueName: jobs}}
  News: {Type: AWS::SNS::Topic}
  Members:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: id, AttributeType: S}]
      KeySchema: [{AttributeName: id, KeyType: HASH}]
"""
    item = """{"TableName": "${Members}", "Item": {"id": {"S": "$context.connectionId"}}}"""
    job = "Action=SendMessage&MessageBody=$util.urlEncode($context.connectionId)"
    template += service_route("join", "dynamodb:action/PutItem", item)
    template += service_route("leave", "dynamodb:action/PutItem", item.replace("${Members}", "Nobody"))
    template += service_route("news", "sns:action/Publish", "TopicArn=${News}&Message=$input.path('$.text')")
    template += service_route("work", "sqs:path/${AWS::AccountId}/jobs", job)
    chat = """
import boto3, os
def handler(event, context):
    for record in event.get("Records", ()):
        client = boto3.client("apigatewaymanagementapi", endpoint_url=os.environ["URL"])
        client.post_to_connection(ConnectionId=record["body"], Data=b'"done"')
    return {"statusCode": 200}
"""
    url = "https://${Api}.execute-api.${AWS::Region}.amazonaws.com/dev"
    template = template.replace("CodeUri: chat", f'CodeUri: chat, Environment: {{Variables: {{URL: !Sub "{url}"}}}}')
    running = local(template, chat=chat)
    with running.connect("dev") as socket:
        assert ask(socket, '{"action": "join"}') == {}
        assert client(running, "dynamodb").scan(TableName="Members", Select="COUNT")["Count"] == 1
        published = ask(socket, '{"action": "news", "text": "hi"}')
        assert published["PublishResponse"]["PublishResult"]["MessageId"]
        # The response of the service and the message of the function that waits for the queue, in any order.
        answers = [ask(socket, '{"action": "work"}'), json.loads(socket.recv(SECONDS))]
        answers.remove("done")
        assert answers[0]["SendMessageResponse"]["SendMessageResult"]["MessageId"]
        # Without an integration response for errors they are answers like others.
        assert "ResourceNotFoundException" in json.dumps(ask(socket, '{"action": "leave"}'))


# --- events ----------------------------------------------------------------------------------------------------------


def test_events_on_a_bus_invoke_the_functions_of_matching_rules(local: Local) -> None:
    template = CHAT.replace("CodeUri: chat", "CodeUri: chat, Environment: {Variables: {BUS: !Ref Bus}}")
    template += """
  Bus: {Type: AWS::Events::EventBus, Properties: {Name: chat}}
  Said:
    Type: AWS::Events::Rule
    Properties:
      EventBusName: !Ref Bus
      EventPattern: {source: [chat], detail-type: [Said]}
      Targets: [{Id: one, Arn: !GetAtt Chat.Arn}]
"""
    chat = """
import boto3, json, os
def handler(event, context):
    if "detail" in event:
        to = event["detail"]
        client = boto3.client("apigatewaymanagementapi", endpoint_url=to["url"])
        return client.post_to_connection(ConnectionId=to["id"], Data=json.dumps(event).encode())
    request = event["requestContext"]
    if request["eventType"] == "MESSAGE":
        to = {"id": request["connectionId"], "url": "https://" + request["domainName"] + "/" + request["stage"]}
        entry = {"EventBusName": os.environ["BUS"], "Source": "chat", "Detail": json.dumps(to)}
        kinds = ["Other", "Said"]
        boto3.client("events").put_events(Entries=[{**entry, "DetailType": kind} for kind in kinds])
    return {"statusCode": 200}
"""
    running = local(template, chat=chat)
    with running.connect("dev") as socket:
        event = ask(socket)
    assert (event["detail-type"], event["source"], event["resources"]) == ("Said", "chat", [])


# --- services ---------------------------------------------------------------------------------------------------------


def test_resources_of_the_template_are_found_by_the_values_of_its_variables(local: Local) -> None:
    work = """
def work():
    env = os.environ
    boto3.client("sqs").send_message(QueueUrl=env["QUEUE"], MessageBody="a job")
    boto3.client("sns").publish(TopicArn=env["TOPIC"], Message="news")
    return [
        boto3.client("ssm").get_parameter(Name=env["PARAMETER"])["Parameter"]["Value"],
        boto3.client("secretsmanager").get_secret_value(SecretId=env["SECRET"])["SecretString"],
        boto3.client("cognito-idp").describe_user_pool(UserPoolId=env["POOL"])["UserPool"]["Name"],
    ]
"""
    template = """
  Chat:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: chat
      Policies: [AdministratorAccess]
      Environment:
        Variables:
          {QUEUE: !Ref Queue, TOPIC: !Ref Topic, PARAMETER: !Ref Level, SECRET: !Ref Secret, POOL: !Ref Users}
  Worker:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: worker
      Events:
        Jobs: {Type: SQS, Properties: {Queue: !GetAtt Queue.Arn}}
        News: {Type: SNS, Properties: {Topic: !Ref Topic}}
  Queue: {Type: AWS::SQS::Queue, Properties: {QueueName: jobs}}
  Topic: {Type: AWS::SNS::Topic}
  Level: {Type: AWS::SSM::Parameter, Properties: {Type: String, Name: /chat/level, Value: "7"}}
  Secret: {Type: AWS::SecretsManager::Secret, Properties: {SecretString: hush}}
  Users: {Type: AWS::Cognito::UserPool, Properties: {UserPoolName: people}}
"""
    worker = """
def handler(event, context):
    record = event["Records"][0]
    print("GOT", record.get("body") or record["Sns"]["Message"])
"""
    running = local(template, chat=ANSWERING + work, worker=worker)
    with running.connect("dev") as socket:
        assert ask(socket) == ["7", "hush", "people"]
    running.wait_for("GOT a job")
    running.wait_for("GOT news")


def test_an_authorizer_accepts_the_token_of_a_pool_of_the_template(local: Local) -> None:
    guard = """
import json, os, urllib.request
import jwt
POOL = os.environ["POOL"]
ISSUER = f"https://cognito-idp.us-east-1.amazonaws.com/{POOL}"
def handler(event, context):
    token = event["queryStringParameters"]["token"]
    keys = json.load(urllib.request.urlopen(f"{ISSUER}/.well-known/jwks.json"))["keys"]
    try:
        key = jwt.PyJWK(keys[0])
        claims = jwt.decode(token, key, algorithms=["RS256"], issuer=ISSUER, audience=os.environ["CLIENT"])
    except jwt.InvalidTokenError:
        raise Exception("Unauthorized")
    policy = [{"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": event["methodArn"]}]
    return {"principalId": claims["sub"], "policyDocument": {"Version": "2012-10-17", "Statement": policy}}
"""
    template = (
        CHAT
        + """
  Guard:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: guard, Environment: {Variables: {POOL: !Ref Users, CLIENT: !Ref Web}}}
  Users: {Type: AWS::Cognito::UserPool}
  Web:
    Type: AWS::Cognito::UserPoolClient
    Properties: {UserPoolId: !Ref Users, ExplicitAuthFlows: [ALLOW_USER_PASSWORD_AUTH]}
"""
    )
    auth = "Auth: {AuthType: CUSTOM, AuthArn: !GetAtt Guard.Arn, IdentitySource: [route.request.querystring.token]}"
    chat = "def handler(event, context):\n    return {'statusCode': 200}\n"
    running = local(template, auth=auth, chat=chat, guard=guard)
    pools = client(running, "cognito-idp")
    pool = pools.list_user_pools(MaxResults=1)["UserPools"][0]["Id"]
    web = pools.list_user_pool_clients(UserPoolId=pool)["UserPoolClients"][0]["ClientId"]
    pools.sign_up(ClientId=web, Username="ada", Password="Passw0rd!")
    pools.admin_confirm_sign_up(UserPoolId=pool, Username="ada")
    parameters = {"USERNAME": "ada", "PASSWORD": "Passw0rd!"}
    signed_in = pools.initiate_auth(ClientId=web, AuthFlow="USER_PASSWORD_AUTH", AuthParameters=parameters)
    token = signed_in["AuthenticationResult"]["IdToken"]
    with connect(f"ws://{running.address}/dev?token={token}", proxy=None):
        pass
    with pytest.raises(InvalidStatus) as refused, connect(f"ws://{running.address}/dev?token=x{token}", proxy=None):
        pass
    assert refused.value.response.status_code == 401


# --- schedules --------------------------------------------------------------------------------------------------------


def test_a_schedule_runs_when_the_clock_is_moved(local: Local, project: Path) -> None:
    template = (
        CHAT
        + """
  Sweeper:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: sweeper
      Events:
        Minutely: {Type: Schedule, Properties: {Schedule: rate(1 minute)}}
        Nightly: {Type: ScheduleV2, Properties: {ScheduleExpression: rate(1 day), Input: '{"job": "nightly"}'}}
"""
    )
    sweeper = "def handler(event, context):\n    print('SWEPT', event.get('source'), event.get('job'))\n"
    chat = "def handler(event, context):\n    return {'statusCode': 200}\n"
    running = local(template, "--clock", "manual", chat=chat, sweeper=sweeper)
    moved = run("clock", "1m", "--url", f"http://{running.address}", cwd=project)
    assert moved.returncode == 0
    running.wait_for("SWEPT aws.events None")
    assert "nightly" not in running.log.read_text()
    for _ in range(2):
        run("clock", "12h", "--url", f"http://{running.address}", cwd=project)
    running.wait_for("SWEPT None nightly")


# --- differences from AWS ---------------------------------------------------------------------------------------------

WITHOUT_ENDPOINT = """
import boto3
def handler(event, context):
    request = event["requestContext"]
    if request["eventType"] != "CONNECT":
        client = boto3.client("apigatewaymanagementapi")
        client.post_to_connection(ConnectionId=request["connectionId"], Data=b"arrived")
    return {"statusCode": 200}
"""


def test_a_management_client_without_endpoint_is_served_and_noted(local: Local) -> None:
    running = local(CHAT, chat=WITHOUT_ENDPOINT)
    with running.connect("dev") as socket:
        socket.send("hello")
        assert socket.recv(SECONDS) == "arrived"
    running.wait_for("function Chat has a management client without endpoint_url")


def test_a_management_client_without_endpoint_fails_when_strict(local: Local) -> None:
    running = local(CHAT, "--strict", chat=WITHOUT_ENDPOINT)
    with running.connect("dev") as socket:
        socket.send("hello")
        assert "Internal server error" in str(socket.recv(SECONDS))


def test_an_action_that_no_policy_allows_is_noted_once_and_named(local: Local) -> None:
    work = """
def work():
    for _ in range(2):
        boto3.client("dynamodb").scan(TableName=os.environ["TABLE"])
    return "done"
"""
    template = """
  Chat:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: chat
      Policies: [DynamoDBWritePolicy: {TableName: !Ref Rows}]
      Environment: {Variables: {TABLE: !Ref Rows}}
  Rows: {Type: AWS::Serverless::SimpleTable}
"""
    running = local(template, chat=ANSWERING + work)
    with running.connect("dev") as socket:
        assert ask(socket) == "done"
    lines = [line for line in running.log.read_text().splitlines() if "has no permission for" in line]
    assert [line.split(" in the template")[0] for line in lines] == [
        "tellwire: function Chat has no permission for dynamodb:Scan on Rows",
        "tellwire: function Chat has no permission for execute-api:ManageConnections",
    ]


def test_strict_ends_the_command_for_a_template_that_fails_on_aws(project: Path) -> None:
    write(project, CHAT, chat=WITHOUT_ENDPOINT)
    (project / "template.yaml").write_text(PLAIN)
    ended = run("local", "--port", "0", "--template", ".", "--strict", cwd=project)
    assert ended.returncode == 2
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("tellwire: --strict: this fails on AWS: route $connect: on AWS, API Gateway may not invoke")
    assert "neither AutoDeploy nor a DeploymentId" in last


PLAIN = """
Resources:
  Chat: {Type: AWS::ApiGatewayV2::Api, Properties: {ProtocolType: WEBSOCKET, RouteSelectionExpression: $request.body.a}}
  Connect:
    Type: AWS::ApiGatewayV2::Route
    Properties: {ApiId: !Ref Chat, RouteKey: $connect, Target: !Sub "integrations/${Lambda}"}
  Lambda:
    Type: AWS::ApiGatewayV2::Integration
    Properties:
      ApiId: !Ref Chat
      IntegrationType: AWS_PROXY
      IntegrationUri: !Sub arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${Fn.Arn}/invocations
  Stage: {Type: AWS::ApiGatewayV2::Stage, Properties: {ApiId: !Ref Chat, StageName: prod}}
  Fn: {Type: AWS::Lambda::Function, Properties: {Handler: app.handler, Runtime: python3.12, Code: chat}}
"""
