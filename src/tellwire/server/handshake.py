"""The opening handshake (RFC 6455 §4.2), as pure code: the parts of a request in, the answer's bytes out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs

from websockets.utils import accept_key

from tellwire.protocol import SUBPROTOCOL, offered_subprotocols, token_in
from tellwire.server.refusal import Refusal

# 16 bytes in base64.
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{22}==")

# A query that is a token and nothing else, as most are: it needs no decoding.
_TOKEN_ALONE: Final = re.compile(r"token=([A-Za-z0-9_.-]+)")


@dataclass(slots=True)
class UpgradeRequest:
    """A WebSocket handshake.

    `path` is undecoded; `headers` have lower-case names, repeated ones joined by commas; `sent_headers` are as sent.
    `subprotocols` are those that the client offers, in its order. `scope` is that of another program's server.
    """

    path: str
    query: str
    headers: Mapping[str, str]
    method: str = "GET"
    sent_headers: Sequence[tuple[bytes, bytes]] = ()
    scope: Mapping[str, Any] | None = None
    subprotocols: Sequence[str] = field(init=False, default=())

    def __post_init__(self) -> None:
        offered = self.headers.get("sec-websocket-protocol")
        if offered:
            self.subprotocols = offered_subprotocols(offered)

    def __repr__(self) -> str:
        # The query and the headers may hold a token.
        return f"UpgradeRequest(path={self.path!r})"

    @property
    def chosen_subprotocol(self) -> str | None:
        """The subprotocol of the answer: `tellwire.v1` if it was offered, otherwise None."""
        return SUBPROTOCOL if SUBPROTOCOL in self.subprotocols else None

    @property
    def token(self) -> str | None:
        """The token: of the subprotocol `token.<jwt>`, of `Authorization: Bearer`, or of `?token=`, in this order."""
        authorization = self.headers.get("authorization", "")
        return token_in(self.subprotocols, _tokens_in(self.query), authorization)


def read_request(method: str, target: bytes, sent_headers: Sequence[tuple[bytes, bytes]]) -> UpgradeRequest:
    """Return the handshake in a request that was parsed."""
    path, _, query = target.decode("latin-1").partition("?")
    headers: dict[str, str] = {}
    for sent, bytes_of_value in sent_headers:
        name, value = sent.decode("latin-1").lower(), bytes_of_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return UpgradeRequest(path, query, headers, method, sent_headers)


def _tokens_in(query: str) -> Sequence[str]:
    alone = _TOKEN_ALONE.fullmatch(query)
    return (alone[1],) if alone is not None else parse_qs(query).get("token", ()) if query else ()


def accept(request: UpgradeRequest) -> str:
    """Return the value of `Sec-WebSocket-Accept` for a handshake that keeps to the rules.

    Raises:
        Refusal: 400 without a proper key, 426 for another version than 13.
    """
    has_body = request.headers.get("content-length", "").strip("0") != "" or "transfer-encoding" in request.headers
    if request.method != "GET" or has_body:
        raise Refusal(400, "BAD_HANDSHAKE", "A WebSocket begins with a GET without a body")
    if request.headers.get("sec-websocket-version") != "13":
        raise Refusal(426, "UPGRADE_REQUIRED", "This server speaks WebSocket version 13 (RFC 6455)")
    key = request.headers.get("sec-websocket-key", "")
    if _KEY.fullmatch(key) is None:
        raise Refusal(400, "BAD_HANDSHAKE", "Sec-WebSocket-Key must be 16 bytes in base64")
    return accept_key(key)


def accepted(accept_value: str, subprotocol: str | None, extensions: str | None = None) -> bytes:
    """Return the 101 answer."""
    protocol = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol is not None else ""
    agreed = f"Sec-WebSocket-Extensions: {extensions}\r\n" if extensions is not None else ""
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_value}\r\n{protocol}{agreed}\r\n"
    ).encode("ascii")
