"""Service, action and resource of a request to AWS."""

import json

import pytest

from tellwire.apigateway.services.calls import AwsCall, invoked_function, read_call


def signed(service: str, region: str = "eu-west-1") -> dict[str, str]:
    scope = f"Credential=local/20261129/{region}/{service}/aws4_request"
    return {"authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0"}


def test_a_signature_says_service_and_region_and_a_target_the_action() -> None:
    headers = signed("dynamodb") | {"x-amz-target": "DynamoDB_20120810.PutItem"}
    body = json.dumps({"TableName": "rows", "Item": {}}).encode()
    call = read_call("POST", "/", "", headers, body)
    assert call == AwsCall("dynamodb", "PutItem", "eu-west-1", "rows")
    assert call.permission == "dynamodb:PutItem"


def test_the_action_of_a_form_is_in_it() -> None:
    headers = signed("sns") | {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    call = read_call("POST", "/", "", headers, b"Action=Publish&TopicArn=arn%3Aaws%3Asns%3Aeu-west-1%3A1%3At")
    assert call == AwsCall("sns", "Publish", "eu-west-1", "arn:aws:sns:eu-west-1:1:t", is_form=True)


def test_an_invocation_names_its_function_by_name_or_arn() -> None:
    path = "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Agreet/invocations"
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:greet"
    assert read_call("POST", path, "", signed("lambda"), b"").resource == arn
    assert read_call("POST", path, "", signed("lambda"), b"").action == "InvokeFunction"
    assert invoked_function("/2015-03-31/functions/greet/invocations") == "greet"
    assert invoked_function("/2015-03-31/functions") is None


def test_a_presigned_url_says_its_service() -> None:
    query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=local%2F20261129%2Feu-west-1%2Fs3%2Faws4_request"
    assert read_call("GET", "/bucket/key", query, {}, b"").service == "s3"


@pytest.mark.parametrize(
    ("host", "service", "region"),
    [
        ("s3.eu-west-1.amazonaws.com", "s3", "eu-west-1"),
        ("bucket.s3.eu-west-1.amazonaws.com:443", "s3", "eu-west-1"),
        ("sts.amazonaws.com", "sts", "us-east-1"),
        ("127.0.0.1:3002", "", "us-east-1"),
    ],
)
def test_an_unsigned_request_is_told_by_its_host(host: str, service: str, region: str) -> None:
    call = read_call("GET", "/", "", {"host": host}, b"")
    assert (call.service, call.region) == (service, region)


def test_sign_in_and_keys_of_user_pools_are_not_signed() -> None:
    headers = {"x-amz-target": "AWSCognitoIdentityProviderService.InitiateAuth"}
    call = read_call("POST", "/", "", headers, b"{}", "eu-west-1")
    assert (call.service, call.action, call.region) == ("cognito-idp", "InitiateAuth", "eu-west-1")
    keys = read_call("GET", "/eu-west-1_abc/.well-known/jwks.json", "", {}, b"")
    assert keys.service == "cognito-idp"


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[1]", b"\xff", b"[" * 100_000])
def test_a_body_of_another_form_is_no_error(body: bytes) -> None:
    headers = signed("dynamodb") | {"x-amz-target": "DynamoDB_20120810.PutItem"}
    assert read_call("POST", "/", "", headers, body).resource == ""
