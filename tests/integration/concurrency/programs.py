"""Programs of tellwire's users, for servers and workers that start them: a WSGI and an ASGI application, Celery tasks.

`FIRST_USE=import` publishes while the module is imported, before a server forks its workers.
"""

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import tellwire
from tellwire import sync

hello = sync.create_message("note", "hello")
elsewhere = tellwire.Broadcaster(
    tellwire.HttpCarrier(os.environ["TELLWIRE_URL"], os.environ["TELLWIRE_API_KEY"])
    if "TELLWIRE_URL" in os.environ
    else tellwire.RedisProducer(os.environ["TELLWIRE_REDIS_URL"], prefix=os.environ["TELLWIRE_REDIS_PREFIX"])
)

if os.environ.get("FIRST_USE") == "import":
    sync.broadcast_to_user("user-1", hello)


def new_upload_id() -> str:
    """Return an id: the same upload begun by another worker would supersede this one."""
    return f"moc-{uuid.uuid4()}"


def publish_in_each_way() -> None:
    """Publish with the environment's broadcaster, with one of our own, and show an upload."""
    sync.broadcast_to_user("user-1", hello)
    with sync.use_broadcaster(elsewhere):
        sync.broadcast_to_user("user-1", hello)
    with sync.track_upload("user-1", new_upload_id(), "parts.csv", 10) as upload:
        for _ in upload.count(range(10)):
            pass
    assert upload.failures == 0


def publish_with(broadcaster: tellwire.Broadcaster) -> None:
    """Publish with a broadcaster that was made in another process."""
    with sync.use_broadcaster(broadcaster):
        sync.broadcast_to_user("user-1", hello)


async def publish_in_each_way_asynchronously() -> None:
    """Do the same on an event loop, and once from a thread."""
    await tellwire.broadcast_to_user("user-1", hello)
    with tellwire.use_broadcaster(elsewhere):
        await asyncio.to_thread(sync.broadcast_to_user, "user-1", hello)
    async with tellwire.track_upload("user-1", new_upload_id(), "parts.csv", 10) as upload:
        async for _ in upload.count(range(10)):
            pass
    assert upload.failures == 0


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer every request after it has published."""
    publish_in_each_way()
    start_response("200 OK", [("content-type", "text/plain")])
    return [str(os.getpid()).encode()]


async def asgi(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer every request after it has published."""
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            await send({"type": f"{event['type']}.complete"})
            if event["type"] == "lifespan.shutdown":
                return
    await publish_in_each_way_asynchronously()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
