"""Function URLs on this machine: events of payload format 2.0, and answers as Lambda infers them."""

import base64
from pathlib import Path
from typing import Any

import pytest

from tellwire.apigateway.services.calls import AwsCall
from tellwire.apigateway.services.definition import FunctionUrl
from tellwire.apigateway.services.function_urls import (
    FAILED,
    UrlRequest,
    answer_of,
    event_of,
    is_forbidden,
    requested,
)
from tellwire.apigateway.template import read_project
from tellwire.aws.http_events import read_request

URL = FunctionUrl("EchoUrl", "Echo")
SIGNED = {"authorization": "AWS4-HMAC-SHA256 Credential=local/20261130/us-east-1/lambda/aws4_request, Signature=0"}

TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Resources:
  Api: {Type: AWS::Serverless::WebSocketApi, Properties: {StageName: prod, RouteSelectionExpression: $request.body.type,
    Routes: {$default: {FunctionArn: !GetAtt Echo.Arn}}}}
  Echo:
    Type: AWS::Serverless::Function
    Properties: {Runtime: python3.12, Handler: app.echo, CodeUri: ., FunctionUrlConfig: {AuthType: AWS_IAM}}
  Stream:
    Type: AWS::Serverless::Function
    Properties:
      {Runtime: python3.12, Handler: app.echo, CodeUri: .,
       FunctionUrlConfig: {AuthType: NONE, InvokeMode: RESPONSE_STREAM},
       Environment: {Variables: {ECHO: !GetAtt EchoUrl.FunctionUrl}}}
"""


def request(body: bytes = b"", query: str = "", **headers: str) -> UrlRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return UrlRequest("POST", "/v1/publish", query, SIGNED | named, body, "127.0.0.1")


def test_a_path_has_the_name_of_the_url_and_the_function_s_own_path() -> None:
    assert requested("/lambda-url/EchoUrl/v1/publish") == ("EchoUrl", "/v1/publish")
    assert requested("/lambda-url/EchoUrl") == ("EchoUrl", "/")
    assert requested("/2015-03-31/functions/Echo/invocations") is None


def test_the_event_is_one_that_tellwire_s_own_function_reads() -> None:
    read = read_request(event_of(URL, request(b'{"a": 1}', content_type="application/json"), "us-east-1"))
    assert (read.method, read.path, read.body, read.is_signed) == ("POST", "/v1/publish", b'{"a": 1}', True)


@pytest.mark.parametrize("headers", [{"content_type": "application/x-ndjson"}, {"content_encoding": "gzip"}])
def test_a_body_that_is_no_text_comes_in_base64(headers: dict[str, str]) -> None:
    event = event_of(URL, request(b"\x1f\x8b", **headers), "us-east-1")
    assert (base64.b64decode(event["body"]), event["isBase64Encoded"]) == (b"\x1f\x8b", True)


def test_query_and_cookies_are_read() -> None:
    event = event_of(URL, request(query="a=1&a=2&b=", cookie="x=1; y=2"), "us-east-1")
    assert event["queryStringParameters"] == {"a": "1,2", "b": ""}
    assert event["cookies"] == ["x=1", "y=2"]
    assert "body" not in event


def test_a_url_without_iam_knows_no_caller_and_needs_no_signature() -> None:
    url = FunctionUrl("EchoUrl", "Echo", is_signed=False)
    assert "authorizer" not in event_of(url, request(), "us-east-1")["requestContext"]
    assert not is_forbidden(url, AwsCall("", "", "us-east-1"))
    assert is_forbidden(URL, AwsCall("", "", "us-east-1"))
    assert is_forbidden(URL, AwsCall("execute-api", "", "us-east-1"))
    assert not is_forbidden(URL, AwsCall("lambda", "", "us-east-1"))


@pytest.mark.parametrize(
    ("result", "status", "body"),
    [
        ({"statusCode": 201, "body": "hi", "headers": {"Content-Type": "text/plain"}}, 201, b"hi"),
        ({"statusCode": "200", "body": "aGk=", "isBase64Encoded": True}, 200, b"hi"),
        ({"delivered": 1}, 200, b'{"delivered": 1}'),
        ("hi", 200, b'"hi"'),
        (None, 200, b"null"),
    ],
)
def test_an_answer_is_inferred_as_by_lambda(result: Any, status: int, body: bytes) -> None:
    answer = answer_of(result)
    assert (answer.status, answer.body) == (status, body)


@pytest.mark.parametrize("result", [{"statusCode": "x"}, {"statusCode": 7}, {"statusCode": 200, "headers": "x"}])
def test_an_answer_of_another_form_is_a_502(result: Any) -> None:
    assert answer_of(result) == FAILED


def test_a_template_s_urls_are_read_and_one_that_streams_is_noted(tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    (tmp_path / "app.py").write_text("def echo(event, context): ...\n")
    project = read_project(tmp_path, region="eu-west-1")
    assert project.services.function_urls == (URL,)
    assert project.functions["Stream"].environment["ECHO"] == "https://EchoUrl.lambda-url.eu-west-1.on.aws/"
    assert any("InvokeMode: got RESPONSE_STREAM" in note for note in project.notes)
