"""The opening handshake (RFC 6455 §4.2), as pure code: the request's bytes in, the answer's bytes out.

uvicorn has parsed the request and passes it on in a regular form, one `name: value` a line. Two splits a line read that
form, so no second HTTP parser is needed.
"""

import base64
import binascii
import http
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs

import msgspec
from websockets.utils import accept_key

from tellwire.errors import TellwireError
from tellwire.protocol import SUBPROTOCOL, offered_subprotocols, token_in


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """A WebSocket handshake.

    `path` is undecoded; `headers` have lower-case names, repeated ones joined by commas; `raw_headers` are as sent.
    """

    path: str
    query: str
    headers: Mapping[str, str]
    method: str = "GET"
    raw_headers: Sequence[tuple[str, str]] = ()

    def __repr__(self) -> str:
        # The query and the headers may hold a token.
        return f"UpgradeRequest(path={self.path!r})"

    @property
    def subprotocols(self) -> list[str]:
        """The subprotocols that the client offers, in its order."""
        return offered_subprotocols(self.headers.get("sec-websocket-protocol", ""))

    @property
    def chosen_subprotocol(self) -> str | None:
        """The subprotocol of the answer: `tellwire.v1` if it was offered, otherwise None."""
        return SUBPROTOCOL if SUBPROTOCOL in self.subprotocols else None

    @property
    def token(self) -> str | None:
        """The token, from the subprotocol `token.<jwt>` or, the guide's way, from `?token=` (the last one counts)."""
        return token_in(self.subprotocols, parse_qs(self.query).get("token", ()))


class Refusal(Exception):
    """A refused handshake: its HTTP status, and a JSON body with the reason."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer, without `Content-Length` and `Connection`."""
        headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
        if self.status == 426:
            headers["Sec-WebSocket-Version"] = "13"
        if self.status in (429, 503):
            headers["Retry-After"] = "5"
        return headers

    @property
    def body(self) -> bytes:
        return msgspec.json.encode({"code": self.code, "message": self.message})

    @classmethod
    def of(cls, error: TellwireError) -> "Refusal":
        """Return the refusal for an error."""
        return cls(error.http_status, error.code, str(error))


def read_request(data: bytes) -> UpgradeRequest:
    """Read a handshake that uvicorn passed on."""
    request_line, *lines = data.decode("latin-1").split("\r\n")
    method, target, *_ = request_line.split(" ")
    path, _, query = target.partition("?")
    raw_headers = [(name, value) for name, separator, value in (line.partition(": ") for line in lines) if separator]
    headers: dict[str, str] = {}
    for given, value in raw_headers:
        name = given.lower()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return UpgradeRequest(path, query, headers, method, raw_headers)


def accept(request: UpgradeRequest) -> str:
    """Return the value of `Sec-WebSocket-Accept` for a handshake that keeps to the rules.

    Raises:
        Refusal: 400 without a proper key, 426 for another version than 13.
    """
    if request.method != "GET" or not request.headers.keys().isdisjoint({"content-length", "transfer-encoding"}):
        raise Refusal(400, "BAD_HANDSHAKE", "A WebSocket begins with a GET without a body")
    if request.headers.get("sec-websocket-version") != "13":
        raise Refusal(426, "UPGRADE_REQUIRED", "This server speaks WebSocket version 13 (RFC 6455)")
    key = request.headers.get("sec-websocket-key", "")
    try:
        valid = len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        valid = False
    if not valid:
        raise Refusal(400, "BAD_HANDSHAKE", "Sec-WebSocket-Key must be 16 bytes in base64")
    return accept_key(key)


def accepted(accept_value: str, subprotocol: str | None) -> bytes:
    """Return the 101 answer."""
    protocol = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol is not None else ""
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_value}\r\n{protocol}\r\n"
    ).encode("ascii")


def refused(refusal: Refusal) -> bytes:
    """Return the answer that ends a handshake."""
    body = refusal.body
    headers = "".join(f"{name}: {value}\r\n" for name, value in refusal.headers.items())
    head = (
        f"HTTP/1.1 {refusal.status} {_phrase(refusal.status)}\r\n{headers}"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + body


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""
