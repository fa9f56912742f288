"""Traffic of the load: messages of a known size, HTTP requests that publish them, handshakes and their tokens."""

import json
import socket
import time
from collections.abc import Iterable, Sequence
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa

from bench.native import Fleet, Sockets, open_sockets
from bench.server import API_KEY, Server
from tellwire.auth import mint_token
from tellwire.messages import Message, NotificationMessage, create_notification_message, encode_message

MESSAGE_BYTES = 200
SECRET = "a secret for the benchmarks, 32 bytes or more"
EVERYBODY = {"all": True}
SCOUT = {"user": "scout"}

_HANDSHAKE = (
    "GET /?token={token} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_TOKEN_TTL_SECONDS = 3600
TIMED = "sent-at:" + 19 * "0"
"""The mark of a message that is timed. The load writes the time at which it is sent into it."""
_EMPTY_BYTES = len(encode_message(create_notification_message("Upload complete", "", "success")))


def notification(words: str = "") -> NotificationMessage:
    """Return a notification of exactly `MESSAGE_BYTES` as JSON, including an id. It begins with these words.

    Raises:
        RuntimeError: a notification cannot be that small.
    """
    words = words.ljust(MESSAGE_BYTES - _EMPTY_BYTES, ".")
    message = create_notification_message("Upload complete", words, "success")
    if len(encode_message(message)) != MESSAGE_BYTES:
        raise RuntimeError(f"a message has {len(encode_message(message))} bytes, not {MESSAGE_BYTES}")
    return message


def publish_line(target: dict[str, Any], message: Message | None = None) -> bytes:
    """Return the body of `POST /v1/publish`, one JSON object. Without an id: it is a new message each time."""
    return msgspec.json.encode({"target": target, "message": message or notification()})


def publish_request(target: dict[str, Any], message: Message | None = None) -> bytes:
    """Return an HTTP request that publishes one message, by default the notification."""
    return _post("/v1/publish", "application/json", publish_line(target, message))


def batch_requests(users: Sequence[str], size: int, message: Message | None = None) -> list[bytes]:
    """Return HTTP requests that publish one message to each user, `size` messages per request."""
    return [
        _post(
            "/v1/publish/batch",
            "application/x-ndjson",
            b"\n".join(publish_line({"user": user}, message) for user in users[start : start + size]),
        )
        for start in range(0, len(users), size)
    ]


def _post(path: str, content_type: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {API_KEY}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def handshake(token: str) -> bytes:
    """Return a WebSocket handshake with this token."""
    return _HANDSHAKE.format(token=token).encode()


def connect_users(server: Server, users: Iterable[str]) -> Fleet:
    """Connect one device for each user, each with its own token."""
    return Fleet(open_sockets(server.port, [handshake(mint_token(SECRET, user)) for user in users]))


def connect_clients(server: Server, count: int) -> Sockets:
    """Open keep-alive connections for HTTP requests."""
    return open_sockets(server.port, [b""] * count)


def message_on_the_wire(server: Server, target: dict[str, Any]) -> bytes:
    """Publish one message to one device of the user `scout`, and return the bytes that arrive, with the frame."""
    with (
        open_sockets(server.port, [handshake(mint_token(SECRET, "scout"))]) as devices,
        connect_clients(server, 1) as clients,
        socket.socket(fileno=clients.fds[0]) as client,
        socket.socket(fileno=devices.fds[0]) as device,
    ):
        clients.fds[0] = devices.fds[0] = -1
        for each in (client, device):
            each.settimeout(10)
        client.sendall(publish_request(target))
        frame = device.recv(65536)
        time.sleep(0.05)
        device.setblocking(False)
        try:
            frame += device.recv(65536)
        except BlockingIOError:
            return frame
        return frame


class RsaIssuer:
    """An identity provider: one RSA key, its public half as a JWKS, and RS256 tokens."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        self.jwks = json.dumps({"keys": [{**public, "kid": "bench", "use": "sig", "alg": "RS256"}]})

    def token(self, user_id: str) -> str:
        now = int(time.time())
        claims = {"sub": user_id, "iat": now, "exp": now + _TOKEN_TTL_SECONDS}
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": "bench"})
