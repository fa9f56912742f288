"""Events of function URLs and HTTP APIs: requests are read, and answers have Lambda's form."""

import base64
from typing import Any

import pytest

from tellwire.aws.http_events import answer, is_request, read_request
from tellwire.errors import ConfigError


def request_event(path: str = "/v1/publish", body: str = "", method: str = "POST", **more: Any) -> dict[str, Any]:
    """Return an event as AWS sends it for a signed request."""
    iam = {"accessKey": "AKIDEXAMPLE", "accountId": "123456789012", "userArn": "arn:aws:iam::123456789012:role/a"}
    context = {"http": {"method": method, "path": path, "protocol": "HTTP/1.1"}, "authorizer": {"iam": iam}}
    event = {"version": "2.0", "rawPath": path, "rawQueryString": "", "headers": {"content-type": "application/json"}}
    return event | {"requestContext": context, "body": body, "isBase64Encoded": False} | more


def test_a_request_is_read() -> None:
    read = read_request(request_event(body='{"a": "ü"}'))
    assert (read.method, read.path, read.body) == ("POST", "/v1/publish", '{"a": "ü"}'.encode())
    assert read.is_signed


def test_a_body_in_base64_is_decoded() -> None:
    encoded = base64.b64encode(b"\x1f\x8b").decode()
    assert read_request(request_event(body=encoded, isBase64Encoded=True)).body == b"\x1f\x8b"


def test_a_request_without_a_body_has_an_empty_one() -> None:
    event = request_event()
    del event["body"]
    assert read_request(event).body == b""


@pytest.mark.parametrize("authorizer", [None, {}, {"iam": None}, {"jwt": {"claims": {"sub": "user-1"}}}])
def test_a_request_counts_as_signed_only_if_iam_says_so(authorizer: Any) -> None:
    event = request_event()
    event["requestContext"]["authorizer"] = authorizer
    assert not read_request(event).is_signed


def test_another_payload_format_is_an_error_of_the_configuration() -> None:
    with pytest.raises(ConfigError, match=r"payload format: got '1\.0'; allowed: 2\.0"):
        read_request({"httpMethod": "POST", "requestContext": {}})


def test_a_direct_invocation_is_no_request() -> None:
    assert not is_request({"target": {"user": "u"}})
    assert not is_request([{}])
    assert is_request(request_event())


def test_an_answer_has_the_form_of_lambda() -> None:
    assert answer(503, b"{}", "application/json", {"retry-after": "1"}) == {
        "statusCode": 503,
        "headers": {"content-type": "application/json", "retry-after": "1"},
        "body": "{}",
        "isBase64Encoded": False,
    }
