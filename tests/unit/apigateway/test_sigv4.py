"""Signatures made by botocore, and broken by hand."""

from dataclasses import replace

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

from tellwire.apigateway.sigv4 import BadSignature, SignedRequest, is_signed, verify
from tellwire.aws_api.sigv4 import Credentials

CREDENTIALS = Credentials("AKID", "secret")
PATH = "/prod/@connections/nBUGZLR2Hhyb5qM%3D"


def signed(path: str = PATH, query: str = "", body: bytes = b"hello", service: str = "execute-api") -> SignedRequest:
    request = AWSRequest("POST", f"http://127.0.0.1:3001{path}{'?' + query if query else ''}", data=body)
    SigV4Auth(BotocoreCredentials("AKID", "secret"), service, "us-east-1").add_auth(request)
    headers = {name.lower(): value for name, value in request.headers.items()} | {"host": "127.0.0.1:3001"}
    return SignedRequest("POST", path, query, headers, body)


@pytest.mark.parametrize(
    "path", [PATH, "/prod/%40connections/nBUGZLR2Hhyb5qM=", "/prod/@connections/a%2Fb", "/prod/@connections/%C3%A9~"]
)
@pytest.mark.parametrize("query", ["", "b=2&a=1", "a=%20x&a=", "a=1&a=0", "a=x+y", "%C3%A9=1&b=2", "X=%7E~"])
def test_a_signature_of_botocore_is_right_however_the_path_is_written(path: str, query: str) -> None:
    verify(signed(path, query), CREDENTIALS)


def test_whatever_is_changed_on_the_way_is_noticed() -> None:
    request = signed()
    changes = [
        replace(request, body=b"hellp"),
        replace(request, method="PUT"),
        replace(request, path=PATH.replace("%3D", "=")),
        replace(request, query="a=1"),
        replace(request, headers={**request.headers, "host": "evil"}),
    ]
    for changed in changes:
        with pytest.raises(BadSignature) as caught:
            verify(changed, CREDENTIALS)
        assert caught.value.error_type == "InvalidSignatureException"


@pytest.mark.parametrize(
    ("credentials", "error_type"),
    [
        (Credentials("AKID", "another"), "InvalidSignatureException"),
        (Credentials("OTHER", "secret"), "UnrecognizedClientException"),
    ],
)
def test_anothers_key_is_refused(credentials: Credentials, error_type: str) -> None:
    with pytest.raises(BadSignature) as caught:
        verify(signed(), credentials)
    assert caught.value.error_type == error_type
    assert "secret" not in str(caught.value)


def test_a_signature_is_good_for_five_minutes_either_way() -> None:
    import time

    request, now = signed(), time.time()
    for skew in (-290, 290):
        verify(request, CREDENTIALS, now + skew)
    for skew in (-310, 310):
        with pytest.raises(BadSignature, match="not current"):
            verify(request, CREDENTIALS, now + skew)


def test_a_signature_for_another_service_is_refused() -> None:
    with pytest.raises(BadSignature, match="execute-api"):
        verify(signed(service="s3"), CREDENTIALS)


@pytest.mark.parametrize(
    "authorization", ["", "Bearer x", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=AKID/1/2/3/aws4_request"]
)
def test_half_a_signature_is_incomplete(authorization: str) -> None:
    request = signed()
    with pytest.raises(BadSignature) as caught:
        verify(replace(request, headers={**request.headers, "authorization": authorization}), CREDENTIALS)
    assert caught.value.error_type == "IncompleteSignatureException"


@pytest.mark.parametrize("date", ["", "yesterday", "20200101"])
def test_a_request_without_its_date_is_incomplete(date: str) -> None:
    request = signed()
    with pytest.raises(BadSignature):
        verify(replace(request, headers={**request.headers, "x-amz-date": date}), CREDENTIALS)


def test_a_signature_that_leaves_out_the_host_is_refused() -> None:
    request = signed()
    header = request.headers["authorization"].replace("SignedHeaders=host;", "SignedHeaders=")
    with pytest.raises(BadSignature, match="Host"):
        verify(replace(request, headers={**request.headers, "authorization": header}), CREDENTIALS)


def test_an_unsigned_payload_may_be_said_to_be_one() -> None:
    request = AWSRequest("POST", f"http://h{PATH}", data=b"x", headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"})
    auth = SigV4Auth(BotocoreCredentials("AKID", "secret"), "execute-api", "us-east-1")
    request.context["payload_signing_enabled"] = False
    auth.add_auth(request)
    headers = {name.lower(): value for name, value in request.headers.items()} | {"host": "h"}
    if headers.get("x-amz-content-sha256") == "UNSIGNED-PAYLOAD":
        verify(SignedRequest("POST", PATH, "", headers, b"y"), CREDENTIALS)


def test_who_signs_is_told_from_who_does_not() -> None:
    assert is_signed(signed().headers)
    assert not is_signed({})
    assert not is_signed({"authorization": "Bearer x"})


def test_a_secret_never_shows() -> None:
    assert "secret" not in repr(CREDENTIALS)
