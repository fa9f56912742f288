"""Results of functions behind a proxy integration, and the frames a client gets when there is none. Pure.

Source: developer guide, "Set up a WebSocket API integration response"; the frames are byte for byte what AWS sends.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from tellwire.limits import MAX_MESSAGE_BYTES

FORBIDDEN: Final = "Forbidden"
INTERNAL_SERVER_ERROR: Final = "Internal server error"
TIMED_OUT: Final = "Endpoint request timed out"

_Status = Annotated[int, Meta(ge=200, le=599)]


class MalformedResponse(Exception):
    """A function's result is not a proxy response. The text says why, for the log."""


class ProxyResponse(Struct, rename="camel", frozen=True):
    """The result of a function behind a proxy integration."""

    status_code: _Status
    body: str | None = None
    headers: dict[str, Any] | None = None
    multi_value_headers: dict[str, list[Any]] | None = None
    is_base64_encoded: bool = False

    @property
    def is_success(self) -> bool:
        return self.status_code < 300

    @property
    def subprotocol(self) -> str | None:
        """Return the subprotocol, the only header of `$connect` that reaches the client.

        Raises:
            MalformedResponse: it is not a token that an HTTP header could carry.
        """
        multi = {name: values[-1] for name, values in (self.multi_value_headers or {}).items() if values}
        found = _find(self.headers or {}) or _find(multi)
        if found is not None and _TOKEN.fullmatch(found) is None:
            # Without quoting it: a client may have offered its token here, and the handler sent all of it back.
            raise MalformedResponse(
                "returned a Sec-WebSocket-Protocol that is not one name; allowed: one of those offered"
            )
        return found

    @property
    def payload(self) -> bytes | None:
        """Return the body as it goes to the client; None without a body.

        Raises:
            MalformedResponse: it says base64 and is not, or it is bigger than a message may be.
        """
        if not self.body:
            return None
        payload = self._bytes(self.body)
        if len(payload) > MAX_MESSAGE_BYTES:
            raise MalformedResponse(
                f"returned a body of {len(payload):,} bytes; allowed: at most {MAX_MESSAGE_BYTES:,}"
            )
        return payload

    def _bytes(self, body: str) -> bytes:
        if not self.is_base64_encoded:
            return body.encode("utf-8", "replace")
        try:
            return base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError) as error:
            raise MalformedResponse("returned isBase64Encoded, but the body is not base64") from error


_SUBPROTOCOL: Final = "sec-websocket-protocol"
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def _find(headers: Mapping[str, Any]) -> str | None:
    return next((str(value) for name, value in headers.items() if name.lower() == _SUBPROTOCOL and value), None)


def read_response(result: Any) -> ProxyResponse:
    """Decode the result of a function.

    Raises:
        MalformedResponse: it is not a proxy response.
    """
    try:
        # Not strict: AWS takes the status "200" for 200.
        return msgspec.convert(result, ProxyResponse, strict=False)
    except msgspec.ValidationError as error:
        raise MalformedResponse(
            f"returned no proxy response: {error}; allowed: {{'statusCode': 200, 'body': '…'}}"
        ) from error


def bad_request_frame(connection_id: str, message_id: str) -> bytes:
    """Return the frame for a message that does not match the route's model. AWS writes other spaces and another id."""
    return (
        f'{{"message" : "Bad request body", "connectionId": "{connection_id}", "messageId": "{message_id}"}}'
    ).encode()


def error_frame(message: str, connection_id: str, request_id: str) -> bytes:
    """Return the frame for a message that could not be handled. The spaces are AWS's."""
    return f'{{"message": "{message}", "connectionId":"{connection_id}", "requestId":"{request_id}"}}'.encode()
