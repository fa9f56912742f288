"""The handshake in an ASGI scope, and refusals as ASGI events. Pure.

A refusal is an HTTP status where the server can send one (the extension `websocket.http.response`), else 403, which is
all that a close before the accept can be. A client that offers our subprotocol is accepted and closed with our code
instead, as on our own server: a browser hides the status from its page.
"""

from collections.abc import Iterable
from typing import Any

from tellwire.protocol import SUBPROTOCOL
from tellwire.server.framing import cut_reason
from tellwire.server.handshake import UpgradeRequest, read_request
from tellwire.server.refusal import Refusal

Event = dict[str, Any]


def request_of(scope: Any) -> UpgradeRequest:
    """Return the handshake in the scope of a WebSocket."""
    sent = [(bytes(name), bytes(value)) for name, value in scope["headers"]]
    offered = scope.get("subprotocols")
    if offered and not any(name.lower() == b"sec-websocket-protocol" for name, _ in sent):
        sent.append((b"sec-websocket-protocol", ", ".join(offered).encode("latin-1")))
    raw_path = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape")
    target = raw_path.partition(b"?")[0] + b"?" + scope.get("query_string", b"")
    request = read_request("GET", target, sent)
    request.scope = scope
    return request


def refusing_events(scope: Any, request: UpgradeRequest, refusal: Refusal) -> Iterable[Event]:
    """Return the events that refuse a handshake."""
    if request.chosen_subprotocol is not None and refusal.close_code is not None:
        reason = cut_reason(f"{refusal.code}: {refusal.message}")
        yield {"type": "websocket.accept", "subprotocol": SUBPROTOCOL}
        yield {"type": "websocket.close", "code": refusal.close_code, "reason": reason}
    elif "websocket.http.response" in (scope.get("extensions") or {}):
        body = refusal.body
        headers = [*refusal.headers.items(), ("Content-Length", str(len(body)))]
        encoded = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in headers]
        yield {"type": "websocket.http.response.start", "status": refusal.status, "headers": encoded}
        yield {"type": "websocket.http.response.body", "body": body}
    else:
        yield {"type": "websocket.close", "code": refusal.close_code or 1008, "reason": refusal.code}
