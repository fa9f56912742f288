"""Serving of an ASGI application by uvicorn, as its documentation has it for speed: uvloop and httptools."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import uvicorn

PORT = int(sys.argv[1])


def serve(application: Any) -> None:
    """Serve until SIGTERM, on the port of the command line."""
    uvicorn.run(
        application,
        port=PORT,
        loop="uvloop",
        http="httptools",
        ws_per_message_deflate=False,
        access_log=False,
        log_level="warning",
        timeout_keep_alive=3600,
        backlog=4096,
    )


def batch(body: bytes) -> Iterator[tuple[str, Any]]:
    """Yield user and message of each line of a batch."""
    for line in body.splitlines():
        each = json.loads(line)
        yield each["user"], each["message"]


def encoded(message: Any) -> str:
    """Return a message as JSON without spaces."""
    return json.dumps(message, separators=(",", ":"))
