"""Assumptions about API Gateway's behaviour where AWS's documentation is silent, all in this one module.

Each is the likelier behaviour. docs/how-to/local.md lists them for users; if AWS is seen to differ, it changes here.

Some follow from the shape of the code and have no name here:

- `application`: messages of one connection run at the same time; the body that `$connect` returns with a refusing
  status is the body of the response, and of its headers only the subprotocol reaches the client; a client that leaves
  while `$connect` runs is found gone after it, so that `$disconnect` can delete what `$connect` wrote.
- `integration`: a route response over 128 KiB is an internal server error.
- `application`: an error of a service behind a route is an answer like others, and lets `$connect` succeed; above 499
  it is an internal server error.
- `mapping`: without a template of the selected key `$default` is used; without a selection expression `$default`, then
  `application/json`, then the first.
- `routing`: no message selects a route whose key begins with `$`.
- `validation`: a message whose model key has no model is checked against `$default`, if there is one.
- `server.socket`: any frame from the client and any message to it is activity; two hours end like idleness, with 1001
  `Going away`; compression is not negotiated.
- `management`: without a host of AWS, the stage may be left out, as at a custom domain; an empty POST is an empty text
  message; a GET is no activity, and its times have milliseconds.
"""

from http import HTTPStatus
from typing import Any, Final

import msgspec

from tellwire.apigateway.integration import error_frame

CONNECT_TIMEOUT_STATUS: Final = HTTPStatus.GATEWAY_TIMEOUT
"""Status of a handshake whose `$connect` takes longer than its integration may: as in REST APIs."""

AUTHORIZER_TIMEOUT_STATUS: Final = HTTPStatus.INTERNAL_SERVER_ERROR
"""Status of a handshake whose authorizer takes longer than that: it failed."""

API_KEY_MISSING_STATUS: Final = HTTPStatus.FORBIDDEN
"""Status of a handshake without the API key that `$connect` requires: as in REST APIs."""

LONG_URL_STATUS: Final = HTTPStatus.REQUEST_URI_TOO_LONG
"""Status of a handshake whose URL is longer than 4,096 characters."""

THROTTLED_CONNECT_STATUS: Final = HTTPStatus.TOO_MANY_REQUESTS
"""Status of a handshake above 500 new connections a second."""

ABNORMAL_CLOSE_REASON: Final = "Connection closed abnormally"
"""`disconnectReason` when the TCP connection vanished (1006)."""

NO_STATUS_REASON: Final = "Client-side close frame status not set"
"""`disconnectReason` for an empty close frame. This one was seen on AWS."""

PAYLOAD_TOO_LARGE_MESSAGE: Final = "Message exceeds 131072 bytes"
"""Message of the 413 of a POST."""

DELETE_STATUS: Final = HTTPStatus.NO_CONTENT
"""Status of a DELETE, as in the service's own model; 200 was seen in 2019."""


def handshake_body(status: int, message: str, connection_id: str, request_id: str) -> bytes:
    """Return the body of a response to a handshake that API Gateway itself refuses.

    401 and 403 as REST APIs write them; for an error of a function, the frame that a message would get.
    """
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return msgspec.json.encode({"message": message})
    return error_frame(message, connection_id, request_id)


def context_text(value: bool | float | str) -> str:
    """Return a value of an authorizer's context as text, as events have it and as in REST APIs."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def selected_text(value: Any) -> str:
    """Return the value that a selection expression found, as text; AWS documents only the array: `[item1, item2]`.

    Objects are written as Java writes them, the language of API Gateway: `{name=value}`.
    """
    match value:
        case str():
            return value
        case None:
            return ""
        case list():
            return f"[{', '.join(map(selected_text, value))}]"
        case dict():
            return f"{{{', '.join(f'{key}={selected_text(each)}' for key, each in value.items())}}}"
        case _:
            return msgspec.json.encode(value).decode()


def posted_text(payload: bytes) -> bytes:
    """Return a posted payload as valid text: bytes that are not UTF-8 become U+FFFD."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        return payload.decode(errors="replace").encode()
    return payload


def disconnect_reason(code: int, reason: str) -> str:
    """Return `disconnectReason`; the reason in a close frame, the client's or ours, is passed on."""
    match code:
        case 1005:
            return NO_STATUS_REASON
        case 1006:
            return ABNORMAL_CLOSE_REASON
        case _:
            return reason
