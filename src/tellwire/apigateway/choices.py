"""What AWS neither documents nor anybody has shown: our answers, all in this one place.

Each is the likelier one. docs/local.md lists them for users; whoever has seen AWS do otherwise changes it here.

Some are a matter of the code's shape and have no name here:

- `application`: messages of one connection run at the same time; what `$connect` returns beside a refusing status is
  the answer's body, and of its headers only the subprotocol reaches the client; who leaves while `$connect` runs is
  found gone after it, so that what `$connect` wrote down `$disconnect` can strike out.
- `integration`: a route response over 128 KiB is an internal server error.
- `routing`: no message selects a route whose key begins with `$`.
- `validation`: a message whose model key no model has is checked against `$default`, if there is one.
- `gateway.socket`: any frame from the client and any message to it is activity; two hours end like idleness, with 1001
  `Going away`; compression is not negotiated.
- `management`: an empty POST is an empty text message; a GET is no activity, and its times have milliseconds.
"""

from http import HTTPStatus
from typing import Any, Final

import msgspec

from tellwire.apigateway.integration import error_frame

CONNECT_TIMEOUT_STATUS: Final = HTTPStatus.GATEWAY_TIMEOUT
"""What a client sees when `$connect` takes longer than its integration may: as in REST APIs."""

AUTHORIZER_TIMEOUT_STATUS: Final = HTTPStatus.INTERNAL_SERVER_ERROR
"""What a client sees when the authorizer takes longer than that: it failed."""

API_KEY_MISSING_STATUS: Final = HTTPStatus.FORBIDDEN
"""What a client sees without the API key that `$connect` requires: as in REST APIs."""

LONG_URL_STATUS: Final = HTTPStatus.REQUEST_URI_TOO_LONG
"""What a client sees when its URL is longer than 4,096 characters."""

THROTTLED_CONNECT_STATUS: Final = HTTPStatus.TOO_MANY_REQUESTS
"""What a client sees above 500 new connections a second."""

ABNORMAL_CLOSE_REASON: Final = "Connection closed abnormally"
"""`disconnectReason` when the TCP connection vanished (1006)."""

NO_STATUS_REASON: Final = "Client-side close frame status not set"
"""`disconnectReason` for an empty close frame. This one was seen; it stands here beside its sibling."""

PAYLOAD_TOO_LARGE_MESSAGE: Final = "Message exceeds 131072 bytes"
"""What the 413 of a POST says."""

DELETE_STATUS: Final = HTTPStatus.NO_CONTENT
"""As the service's own model says; 200 was seen in 2019."""


def handshake_body(status: int, message: str, connection_id: str, request_id: str) -> bytes:
    """Return the body of a handshake that API Gateway itself refuses.

    401 and 403 as the REST product writes them; for what went wrong behind it, the frame that a message would get.
    """
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return msgspec.json.encode({"message": message})
    return error_frame(message, connection_id, request_id)


def context_text(value: bool | float | str) -> str:
    """Return a value of an authorizer's context as events have it: text, as in REST APIs."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def selected_text(value: Any) -> str:
    """Return what a selection expression found as text; AWS shows only the array: `[item1, item2]`.

    Objects likewise, in the way of the language API Gateway is written in: `{name=value}`.
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
    """Return a posted payload as a text message must be: what is no UTF-8 becomes U+FFFD."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        return payload.decode(errors="replace").encode()
    return payload


def disconnect_reason(code: int, reason: str) -> str:
    """Return `disconnectReason`; a client's own words, and ours in the close frame, are passed on."""
    match code:
        case 1005:
            return NO_STATUS_REASON
        case 1006:
            return ABNORMAL_CLOSE_REASON
        case _:
            return reason
