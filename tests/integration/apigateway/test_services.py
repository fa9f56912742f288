"""The services of AWS on this machine, asked by real clients: boto3, urllib, and Node."""

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import jwt
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tellwire.apigateway.runner.hosts import address_of
from tellwire.apigateway.services.definition import Creation, GeneratedSecret
from tellwire.apigateway.services.hosts import HOSTS_VARIABLE, NODE_PRELOAD, host_table
from tellwire.apigateway.services.resources import create
from tellwire.apigateway.services.server import LocalServices
from tests.tools import require

REGION = "eu-west-1"
POOL = "eu-west-1_Abc123456"
CLIENT = "client0123456789"

Client = Callable[..., Any]


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def services(lines: list[str]) -> Iterator[LocalServices]:
    with LocalServices(REGION, say=lines.append) as services:
        yield services


@pytest.fixture
def client(services: LocalServices) -> Client:
    def make(service: str, **options: Any) -> Any:
        keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "aws_session_token": "Greet"}
        config = Config(retries={"total_max_attempts": 1}, proxies={})
        return boto3.client(
            service, **{"endpoint_url": services.url, "region_name": REGION, "config": config, **keys, **options}
        )

    return make


# --- resources --------------------------------------------------------------------------------------------------------


def test_resources_are_there_under_their_names(services: LocalServices, client: Client) -> None:
    creations = [
        Creation("queue", "sqs", "create_queue", {"QueueName": "jobs", "Attributes": {"VisibilityTimeout": "60"}}),
        Creation("topic", "sns", "create_topic", {"Name": "news"}),
        Creation("parameter", "ssm", "put_parameter", {"Name": "/my/level", "Type": "String", "Value": "7"}),
        Creation("secret", "secretsmanager", "create_secret", {"Name": "key", "SecretString": "hush"}),
        Creation(
            "made up",
            "secretsmanager",
            "create_secret",
            {"Name": "password"},
            generated=GeneratedSecret(20, '{"user": "ada"}', "password"),
        ),
        Creation("bus", "events", "create_event_bus", {"Name": "chat"}),
    ]
    created, notes = create(services.url, REGION, creations)
    assert (created, notes) == ([each.about for each in creations], [])
    # The URL that `Ref` gives has AWS's host.
    queue = f"https://sqs.{REGION}.amazonaws.com/123456789012/jobs"
    client("sqs").send_message(QueueUrl=queue, MessageBody="hello")
    assert client("sqs").receive_message(QueueUrl=queue)["Messages"][0]["Body"] == "hello"
    client("sns").publish(TopicArn=f"arn:aws:sns:{REGION}:123456789012:news", Message="x")
    assert client("ssm").get_parameter(Name="/my/level")["Parameter"]["Value"] == "7"
    arn = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:key"
    assert client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"] == "hush"
    made_up = json.loads(client("secretsmanager").get_secret_value(SecretId="password")["SecretString"])
    assert (made_up["user"], len(made_up["password"])) == ("ada", 20)
    entry = {"Source": "test", "DetailType": "x", "Detail": "{}", "EventBusName": "chat"}
    assert client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0
    assert client("sts").get_caller_identity()["Account"] == "123456789012"


def test_a_resource_that_is_refused_is_a_note_and_the_others_are_there(services: LocalServices) -> None:
    bad = Creation("AWS::SNS::Topic News", "sns", "create_topic", {"Name": "a name with spaces"})
    good = Creation("queue", "sqs", "create_queue", {"QueueName": "jobs"})
    created, notes = create(services.url, REGION, [bad, good])
    assert created == ["queue"]
    assert len(notes) == 1
    assert notes[0].startswith("AWS::SNS::Topic News: is left out: ")


def test_a_user_of_the_pool_signs_in_and_the_keys_of_the_token_are_at_awss_own_address(
    services: LocalServices, client: Client, tmp_path: Path
) -> None:
    flows = {"UserPoolId": POOL, "ClientName": "web", "ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH"]}
    creations = [
        Creation("pool", "cognito-idp", "create_user_pool", {"PoolName": "users"}, wanted_id=POOL),
        Creation("client", "cognito-idp", "create_user_pool_client", flows, wanted_id=CLIENT),
    ]
    assert create(services.url, REGION, creations)[1] == []
    admin, password = client("cognito-idp"), "Passw0rd!"
    admin.admin_create_user(UserPoolId=POOL, Username="ada", MessageAction="SUPPRESS")
    admin.admin_set_user_password(UserPoolId=POOL, Username="ada", Password=password, Permanent=True)
    parameters = {"USERNAME": "ada", "PASSWORD": password}
    signed_in = admin.initiate_auth(ClientId=CLIENT, AuthFlow="USER_PASSWORD_AUTH", AuthParameters=parameters)
    issuer = f"https://cognito-idp.{REGION}.amazonaws.com/{POOL}"
    key = jwt.PyJWK(_get_json(services, f"{issuer}/.well-known/jwks.json", tmp_path)["keys"][0])
    claims = jwt.decode(
        signed_in["AuthenticationResult"]["IdToken"], key, algorithms=["RS256"], audience=CLIENT, issuer=issuer
    )
    assert claims["cognito:username"] == "ada"


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "name"),
    [
        ("s3", "put_object", {"Bucket": "b", "Key": "k", "Body": b"x"}, "S3 (PutObject)"),
        ("stepfunctions", "list_state_machines", {}, "Step Functions (ListStateMachines)"),
        ("ses", "list_identities", {}, "SES (ListIdentities)"),
        ("bedrock-runtime", "invoke_model", {"modelId": "x", "body": b"{}"}, "Bedrock"),
        ("cloudwatch", "list_metrics", {}, "CloudWatch (ListMetrics)"),
        ("lambda", "list_functions", {}, "Lambda"),
    ],
)
def test_another_service_is_refused_at_once_with_one_line(
    client: Client, lines: list[str], service: str, operation: str, parameters: dict[str, Any], name: str
) -> None:
    for _ in range(2):
        with pytest.raises(ClientError) as refused:
            getattr(client(service), operation)(**parameters)
        assert refused.value.response["Error"]["Code"] == "NotAnsweredLocally"
        assert refused.value.response["ResponseMetadata"]["RetryAttempts"] == 0
    assert len(lines) == 1
    assert lines[0].startswith(f"a function calls {name}, which is not answered here")
    assert "AWS_ENDPOINT_URL_" in lines[0]


def test_a_host_of_aws_that_code_names_itself_is_refused_too(
    services: LocalServices, lines: list[str], tmp_path: Path
) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        _get_json(services, f"https://my-bucket.s3.{REGION}.amazonaws.com/key", tmp_path)
    assert refused.value.code == 400
    assert lines[0].startswith("a function calls S3")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("bucket.with.dots.s3.dualstack.ap-south-1.amazonaws.com", "S3"),
        ("streams.dynamodb.eu-west-3.amazonaws.com", "DynamoDB"),
        ("search-chat-abc.eu-central-1.es.amazonaws.com", "OpenSearch"),
        ("abc-ats.iot.us-west-2.amazonaws.com", "IoT"),
        ("states.cn-north-1.amazonaws.com.cn", "Step Functions"),
        ("events.eu-west-3.api.aws", "EventBridge"),
    ],
)
def test_every_host_of_aws_in_every_region_has_a_certificate(
    services: LocalServices, lines: list[str], tmp_path: Path, host: str, name: str
) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        _get_json(services, f"https://{host}/key/more", tmp_path)
    assert 400 <= refused.value.code < 500
    assert f"a function calls {name}" in lines[0]


def test_a_call_to_another_region_is_one_line_that_names_the_region_to_run_in(client: Client, lines: list[str]) -> None:
    for _ in range(2):
        assert client("dynamodb", region_name="ap-south-1").list_tables()["TableNames"] == []
    client("dynamodb").list_tables()
    client("sts", region_name="us-east-1").get_caller_identity()
    assert lines == [
        f"a function calls DynamoDB in ap-south-1, but the template runs in {REGION}; "
        "if the code names the region, run tellwire with AWS_REGION=ap-south-1"
    ]


def test_a_client_that_says_nothing_on_the_address_with_tls_delays_nobody(
    services: LocalServices, tmp_path: Path
) -> None:
    import socket

    host, port = address_of("x.amazonaws.com", {".amazonaws.com": services.tls_address}) or ("", 0)
    with socket.create_connection((host, port)), pytest.raises(urllib.error.HTTPError):
        _get_json(services, f"https://states.{REGION}.amazonaws.com/", tmp_path)


@pytest.mark.parametrize(
    "header", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}]
)
@pytest.mark.parametrize("path", ["/", "/moto-api/reset", "/2015-03-31/functions/x/invocations"])
def test_no_web_page_reaches_the_services(services: LocalServices, path: str, header: dict[str, str]) -> None:
    request = urllib.request.Request(f"{services.url}{path}", b"{}", header, method="POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=100)
    refused.value.close()
    assert refused.value.code == 403
    assert "Access-Control-Allow-Origin" not in refused.value.headers


def test_a_request_that_is_too_large_is_refused(services: LocalServices) -> None:
    from tellwire.limits import MAX_LOCAL_REQUEST_BYTES

    request = urllib.request.Request(services.url, b"x" * (MAX_LOCAL_REQUEST_BYTES + 1), method="POST")
    with (
        pytest.raises((urllib.error.URLError, ConnectionError)) as refused,
        urllib.request.urlopen(request, timeout=100),
    ):
        pass
    if isinstance(refused.value, urllib.error.HTTPError):
        refused.value.close()
        assert refused.value.code == 413


def test_the_next_services_begin_empty() -> None:
    for _ in range(2):
        with LocalServices(REGION) as services:
            created, _ = create(
                services.url, REGION, [Creation("secret", "secretsmanager", "create_secret", {"Name": "key"})]
            )
            assert created == ["secret"]


def test_a_port_that_is_taken_is_replaced() -> None:
    with LocalServices(REGION) as first, LocalServices(REGION, port=first.port) as second:
        assert second.port != first.port


# --- Node -------------------------------------------------------------------------------------------------------------

SCRIPT = """
const https = require("node:https");
const url = process.argv[2];
const get = () => new Promise((resolve, reject) => https.get(url, (r) => resolve(r.statusCode)).on("error", reject));
(async () => {
  const answers = [await get(), (await fetch(url)).status];
  const direct = await fetch(process.argv[3]).then((r) => r.status, (e) => String(e));
  console.log(JSON.stringify([...answers, direct]));
})();
"""


def test_hosts_of_aws_lead_here_in_node_with_https_and_with_fetch(services: LocalServices, tmp_path: Path) -> None:
    node = require("node")
    (tmp_path / "script.js").write_text(SCRIPT)
    (tmp_path / "ca.pem").write_bytes(services.certificate)
    done = subprocess.run(
        [
            node,
            "--require",
            str(NODE_PRELOAD),
            str(tmp_path / "script.js"),
            f"https://states.{REGION}.amazonaws.com/",
            f"{services.url}/nothing",
        ],
        env={
            "PATH": os.environ["PATH"],
            "NODE_EXTRA_CA_CERTS": str(tmp_path / "ca.pem"),
            HOSTS_VARIABLE: host_table(REGION, "127.0.0.1:1", services.tls_address, {}),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [400, 400, 404]


def _get_json(services: LocalServices, url: str, directory: Path) -> Any:
    """Get JSON from a host of AWS as code does that builds the URL itself, with Python's own client."""
    script = (
        "import json, ssl, sys, urllib.request, urllib.error\n"
        "from tellwire.apigateway.runner.hosts import lead_hosts_here\n"
        "lead_hosts_here()\n"
        "try:\n    print(json.dumps([200, json.load(urllib.request.urlopen(sys.argv[1]))]))\n"
        "except urllib.error.HTTPError as error:\n    print(json.dumps([error.code, None]))\n"
    )
    return _run_python(services, script, url, directory)


def _run_python(services: LocalServices, script: str, url: str, directory: Path) -> Any:
    import sys

    (directory / "ca.pem").write_bytes(services.certificate)
    environment = {
        "PATH": os.environ["PATH"],
        "SSL_CERT_FILE": str(directory / "ca.pem"),
        HOSTS_VARIABLE: host_table(REGION, "127.0.0.1:1", services.tls_address, {}),
    }
    done = subprocess.run(
        [sys.executable, "-c", script, url], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    status, answer = json.loads(done.stdout)
    if status != 200:
        raise urllib.error.HTTPError(url, status, "", {}, None)  # type: ignore[arg-type]
    return answer
