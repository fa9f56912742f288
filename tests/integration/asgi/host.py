"""The program that the servers of these tests run: a FastAPI application with the gateway mounted at /live."""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, WebSocket

from tellwire import Settings, create_message, tellwire_app
from tests.conftest import API_KEY, SECRET

logging.basicConfig(level=logging.INFO)
logger = logging.getLogger("host")
REDIS_URL = os.environ.get("HOST_REDIS_URL")
live = tellwire_app(
    Settings(
        jwt_secret=SECRET,
        api_key=API_KEY,
        engine="redis" if REDIS_URL else "memory",
        redis_url=REDIS_URL,
        redis_prefix=os.environ.get("HOST_REDIS_PREFIX", "tellwire"),
        drain_seconds=2,
        outbox_max_messages=64,
        outbox_max_bytes=256 * 1024,
    )
)


@live.node.on_message("add")
def add(data: list[int], sender: object) -> object:
    """Handle a message of a type of this program."""
    return create_message("sum", sum(data))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the gateway with the program, and close it before the program ends."""
    async with live.lifespan():
        logger.info("open")
        yield
    logger.info("closed")


app = FastAPI(title="host", lifespan=lifespan if os.environ.get("HOST_LIFESPAN", "1") == "1" else None)
app.mount("/live", live)


@app.post("/say/{user}/{text}")
async def say(user: str, text: str, count: int = 1, size: int = 0) -> int:
    """Publish through the broadcaster, and return the connections that got the last message."""
    delivered = 0
    for number in range(count):
        message = create_message("said", {"text": text, "number": number, "filling": "x" * size})
        delivered = (await live.broadcaster.broadcast_to_user(user, message)).delivered
    return delivered


@app.post("/say-from-a-thread/{user}/{text}")
def say_from_a_thread(user: str, text: str) -> int:
    """Publish from a thread of the host's pool."""
    from tellwire import sync, use_broadcaster

    with use_broadcaster(live.broadcaster):
        return sync.broadcast_to_user(user, create_message("said", {"text": text})).delivered


@app.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    """Answer on a WebSocket of the host's own."""
    await socket.accept()
    await socket.send_text(await socket.receive_text())
    await socket.close()
