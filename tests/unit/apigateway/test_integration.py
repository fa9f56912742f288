"""Results of functions, and the frames that clients receive."""

from typing import Any

import pytest

from tellwire.apigateway.integration import MalformedResponse, bad_request_frame, error_frame, read_response


@pytest.mark.parametrize("status", [200, 204, 299, "200", 301, 404, 599])
def test_a_status_is_a_number_or_text_of_one(status: Any) -> None:
    assert read_response({"statusCode": status}).status_code == int(status)


@pytest.mark.parametrize(
    "result",
    [
        None,
        "ok",
        [],
        5,
        {},
        {"statusCode": None},
        {"statusCode": "ok"},
        {"statusCode": 199},
        {"statusCode": 600},
        {"statusCode": 200.5},
        {"statusCode": 200, "body": {"not": "text"}},
        {"statusCode": 200, "headers": []},
        {"StatusCode": 200},
    ],
)
def test_what_is_no_response_says_what_is_allowed(result: Any) -> None:
    with pytest.raises(MalformedResponse, match="statusCode"):
        read_response(result)


def test_fields_that_other_products_have_do_no_harm() -> None:
    assert read_response({"statusCode": 200, "cookies": ["a=1"]}).is_success


@pytest.mark.parametrize(
    ("response", "payload"),
    [
        ({}, None),
        ({"body": None}, None),
        ({"body": ""}, None),
        ({"body": "é"}, "é".encode()),
        ({"body": "aGVsbG8=", "isBase64Encoded": True}, b"hello"),
        ({"body": "\ud800"}, b"?"),
    ],
)
def test_the_payload(response: dict[str, Any], payload: bytes | None) -> None:
    assert read_response({"statusCode": 200, **response}).payload == payload


def test_base64_that_is_none_is_malformed() -> None:
    with pytest.raises(MalformedResponse, match="base64"):
        _ = read_response({"statusCode": 200, "body": "no!", "isBase64Encoded": True}).payload


@pytest.mark.parametrize(
    ("response", "subprotocol"),
    [
        ({}, None),
        ({"headers": None}, None),
        ({"headers": {"Content-Type": "x"}}, None),
        ({"headers": {"Sec-WebSocket-Protocol": "app.v1"}}, "app.v1"),
        ({"headers": {"sec-websocket-protocol": "app.v1"}}, "app.v1"),
        ({"headers": {"Sec-WebSocket-Protocol": ""}}, None),
        ({"multiValueHeaders": {"Sec-WebSocket-Protocol": ["a", "b"]}}, "b"),
        ({"multiValueHeaders": {"Sec-WebSocket-Protocol": []}}, None),
    ],
)
def test_the_subprotocol(response: dict[str, Any], subprotocol: str | None) -> None:
    assert read_response({"statusCode": 200, **response}).subprotocol == subprotocol


@pytest.mark.parametrize("given", ["a, b", "a\r\nX-Evil: 1", "é", "a b"])
def test_a_subprotocol_that_no_header_can_carry_is_malformed(given: str) -> None:
    with pytest.raises(MalformedResponse, match="Sec-WebSocket-Protocol"):
        _ = read_response({"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": given}}).subprotocol


def test_error_frames_have_the_spaces_of_aws() -> None:
    assert error_frame("Forbidden", "eHrdFcnvvHcCE-w=", "eHrjDEuVPHcFWMg=") == (
        b'{"message": "Forbidden", "connectionId":"eHrdFcnvvHcCE-w=", "requestId":"eHrjDEuVPHcFWMg="}'
    )


def test_the_frame_of_a_bad_request_body_has_other_spaces_and_another_id() -> None:
    assert bad_request_frame("eHrdFcnvvHcCE-w=", "eHrjDEuVPHcFWMg=") == (
        b'{"message" : "Bad request body", "connectionId": "eHrdFcnvvHcCE-w=", "messageId": "eHrjDEuVPHcFWMg="}'
    )
