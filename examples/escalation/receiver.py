"""A receiver of escalations: an endpoint that a gateway calls when nobody has acknowledged a notification.

    POST ─▶ is it signed? ─▶ known id? ─▶ deliver(user_id, notification), in a thread ─▶ the id is kept ─▶ 204

A request may come twice: ids are kept in a file, for longer than the gateway tries, and a known one is answered without
a second delivery. A failure is answered with 503, so the gateway calls again.
"""

import base64
import hashlib
import hmac
import json
import logging
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

logger = logging.getLogger("escalation")

KEEP_SECONDS = 2 * 24 * 3600.0
MAX_BODY_BYTES = 256 * 1024

Deliver = Callable[[str, Mapping[str, Any]], None]
"""Delivers a notification to a user, by id. It may block; `Unreachable`: the user has no address, now and later."""


class Unreachable(Exception):
    """A user without an address."""


def is_from_tellwire(secret: bytes, headers: Mapping[str, str], body: bytes) -> bool:
    """Return True if a gateway with this secret has signed the request, a short time ago."""
    request_id, sent_at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not (sent_at.isascii() and sent_at.isdigit()) or abs(time.time() - int(sent_at)) > 300:
        return False
    signed = b"%b.%b.%b" % (request_id.encode(), sent_at.encode(), body)
    expected = b"v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest())
    return any(hmac.compare_digest(each, expected) for each in headers.get("webhook-signature", "").encode().split())


class KnownIds:
    """The ids of requests that are done, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._connected() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS done (id TEXT PRIMARY KEY, at REAL NOT NULL)")

    def has(self, request_id: str) -> bool:
        """Return True if a request is done."""
        with self._connected() as connection:
            return connection.execute("SELECT 1 FROM done WHERE id = ?", (request_id,)).fetchone() is not None

    def add(self, request_id: str) -> None:
        """Keep the id of a request that is done, and forget old ones."""
        now = time.time()
        with self._connected() as connection:
            connection.execute("DELETE FROM done WHERE at < ?", (now - KEEP_SECONDS,))
            connection.execute("INSERT OR IGNORE INTO done VALUES (?, ?)", (request_id, now))

    def _connected(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=10, isolation_level=None)


async def _read(request: Request) -> bytes | None:
    """Return the body of a request; None: it is too long."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    return body


def receiver(secret: str, deliver: Deliver, known_ids: KnownIds) -> Starlette:
    """Return the application with the endpoint `/`."""

    async def receive(request: Request) -> Response:
        body = await _read(request)
        if body is None:
            return Response(status_code=413)
        if not is_from_tellwire(secret.encode(), request.headers, body):
            return Response(status_code=401)
        return await run_in_threadpool(act, request.headers["webhook-id"], json.loads(body)["data"])

    def act(request_id: str, data: Mapping[str, Any]) -> Response:
        if known_ids.has(request_id):
            return Response(status_code=204)
        try:
            deliver(data["userId"], data["message"]["data"])
        except Unreachable as error:
            logger.warning("a notification is delivered to nobody: %s", error)
            return Response(status_code=422)
        except Exception:
            logger.exception("a notification cannot be delivered now; the gateway calls again")
            return Response(status_code=503)
        known_ids.add(request_id)
        return Response(status_code=204)

    return Starlette(routes=[Route("/", receive, methods=["POST"])])
