"""Signatures: the same that botocore makes, and the ones that the local API Gateway takes."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.pretty import pretty_repr

from tellwire.apigateway.sigv4 import BadSignature, SignedRequest, verify
from tellwire.aws_api import sigv4
from tellwire.aws_api.sigv4 import Credentials, Signer, sha256_hex

HOST = "abc.execute-api.eu-central-1.amazonaws.com"
CREDENTIALS = Credentials("AKID", "s3cret", "t0ken")
MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC).timestamp()

_WORDS = "ABCxyz0189-._~"


def encoded(text: str, as_they_are: str) -> str:
    return quote(text, safe=as_they_are)


# What URLs give a meaning to, and what is encoded by some and not by others.
CHARACTERS = "aZ09-._~@=:+$,;!*'() %/?#&[]|\\\"<>\0\té€😀"

# `.` and `..` and empty segments are left out: botocore takes them away, and no path of ours has any.
segments = st.builds(
    encoded,
    st.text(CHARACTERS, min_size=1, max_size=6).filter(lambda text: set(text) != {"."}),
    st.sampled_from(["", "@", "@=", "@:=+$,;!*'()~"]),
)
known_segments = st.sampled_from(
    ["@connections", "%40connections", "nBUGZLR2Hhyb5qM%3D", "nBUGZLR2Hhyb5qM=", "a%2Fb", "a:b%3D", "@é", "~$default"]
)
paths = st.lists(st.one_of(segments, known_segments), max_size=4).map(lambda parts: "/" + "/".join(parts))
pairs = st.builds(
    lambda name, value, sign: f"{encoded(name, '')}{sign}{encoded(value, '~')}" if sign else encoded(name, ""),
    st.text(CHARACTERS, min_size=1, max_size=5),
    st.text(CHARACTERS, max_size=5),
    st.sampled_from(["=", ""]),
)
queries = st.lists(pairs, max_size=4).map("&".join)
headers = st.dictionaries(
    st.sampled_from(["content-type", "x-amz-target", "x-a", "x-amz", "x-amz-z", "accept", "zebra", "a-b", "ab"]),
    st.text(f"{_WORDS}  \t=,;/\"'", max_size=12),
    max_size=3,
)
keys = st.text(f"{_WORDS}/+=", min_size=1, max_size=8)
signed_by = st.builds(
    Credentials, st.text(_WORDS, min_size=1, max_size=8), keys, st.one_of(st.none(), st.just(""), keys)
)
request = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["GET", "POST", "DELETE", "PUT"]),
        "path": paths,
        "query": queries,
        "headers": headers,
        "body": st.binary(max_size=8),
    }
)
moments = st.integers(0, 4_102_444_799)  # to the end of 2099


def sign(signer: Signer, credentials: Credentials, request: Mapping[str, Any], now: float) -> dict[str, str]:
    return signer.sign(
        credentials,
        method=request["method"],
        path=request["path"],
        query=request["query"],
        headers={"host": HOST, **request["headers"]},
        payload_hash=sha256_hex(request["body"]),
        now=now,
    )


def signed_by_botocore(
    credentials: Credentials, request: Mapping[str, Any], service: str, region: str, now: float
) -> dict[str, str]:
    url = f"https://{HOST}{request['path']}{'?' if request['query'] else ''}{request['query']}"
    theirs = AWSRequest(request["method"], url, headers=request["headers"], data=request["body"])
    keys = BotocoreCredentials(credentials.access_key_id, credentials.secret_access_key, credentials.session_token)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", lambda: datetime.fromtimestamp(now, UTC))
        SigV4Auth(keys, service, region).add_auth(theirs)
    return {name.lower(): value for name, value in theirs.headers.items()}


@settings(max_examples=300)
@given(
    signed_by,
    request,
    st.sampled_from(["execute-api", "dynamodb"]),
    st.sampled_from(["eu-central-1", "us-gov-west-1"]),
    moments,
)
def test_a_signature_is_the_one_that_botocore_makes(
    credentials: Credentials, request: dict[str, Any], service: str, region: str, now: int
) -> None:
    ours = sign(Signer(service, region), credentials, request, now)
    theirs = signed_by_botocore(credentials, request, service, region, now)
    names = ("authorization", "x-amz-date", "x-amz-security-token")
    assert [name for name in names if ours.get(name) != theirs.get(name)] == []


@given(signed_by, request, moments)
def test_the_local_api_gateway_takes_what_is_signed_here(
    credentials: Credentials, request: dict[str, Any], now: int
) -> None:
    headers = sign(Signer("execute-api", "eu-central-1"), credentials, request, now)
    signed = SignedRequest(request["method"], request["path"], request["query"], headers, request["body"])
    verify(signed, credentials, now)
    with pytest.raises(BadSignature):
        verify(replace(signed, body=signed.body + b"!"), credentials, now)


REQUEST = {"method": "POST", "path": "/prod/@connections/a%3D", "query": "", "headers": {}, "body": b"hello"}


def test_the_token_of_a_session_is_sent_and_signed() -> None:
    headers = sign(Signer("execute-api", "eu-central-1"), CREDENTIALS, REQUEST, MIDNIGHT)
    assert headers["x-amz-security-token"] == "t0ken"
    changed = {**headers, "x-amz-security-token": "another"}
    with pytest.raises(BadSignature):
        verify(SignedRequest("POST", REQUEST["path"], "", changed, b"hello"), CREDENTIALS, MIDNIGHT)  # type: ignore[arg-type]


def test_given_headers_are_returned_unchanged() -> None:
    request = {**REQUEST, "headers": {"content-type": " text/plain;  charset=utf-8 "}}
    headers = sign(Signer("execute-api", "eu-central-1"), CREDENTIALS, request, MIDNIGHT)
    assert headers["content-type"] == " text/plain;  charset=utf-8 "
    assert headers["host"] == HOST


@pytest.fixture
def keys_made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The scopes that a key was made for."""
    made: list[str] = []
    make = sigv4.signing_key

    def counted(secret_access_key: str, scope: str) -> bytes:
        made.append(scope)
        return make(secret_access_key, scope)

    monkeypatch.setattr(sigv4, "signing_key", counted)
    return made


def test_a_days_key_is_made_once(keys_made: list[str]) -> None:
    signer = Signer("execute-api", "eu-central-1")
    for second in (0, 1, 86_399):
        sign(signer, CREDENTIALS, REQUEST, MIDNIGHT + second)
    assert keys_made == ["20260101/eu-central-1/execute-api/aws4_request"]


def test_a_new_key_is_made_at_midnight(keys_made: list[str]) -> None:
    signer = Signer("execute-api", "eu-central-1")
    for now in (MIDNIGHT - 1, MIDNIGHT):
        ours = sign(signer, CREDENTIALS, REQUEST, now)
        assert ours == sign(Signer("execute-api", "eu-central-1"), CREDENTIALS, REQUEST, now)
    assert [scope[:8] for scope in keys_made] == ["20251231", "20251231", "20260101", "20260101"]


@pytest.mark.parametrize(
    "renewed", [Credentials("AKID", "another"), Credentials("OTHER", "s3cret", "t0ken"), Credentials("AKID", "s3cret")]
)
def test_renewed_credentials_are_signed_with_at_once(renewed: Credentials) -> None:
    signer = Signer("execute-api", "eu-central-1")
    for credentials in (CREDENTIALS, renewed, CREDENTIALS):
        expected = sign(Signer("execute-api", "eu-central-1"), credentials, REQUEST, MIDNIGHT)
        assert sign(signer, credentials, REQUEST, MIDNIGHT) == expected


def test_neither_the_secret_nor_the_token_shows() -> None:
    for shown in (
        repr(CREDENTIALS),
        str(CREDENTIALS),
        f"{[CREDENTIALS]}",
        f"{CREDENTIALS!r:>99}",
        pretty_repr(CREDENTIALS),
    ):
        assert "AKID" in shown
        assert "s3cret" not in shown
        assert "t0ken" not in shown
