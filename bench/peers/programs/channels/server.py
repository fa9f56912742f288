"""Django Channels: a group for each user and one for all. The second argument is the address of the Redis."""

import sys
from typing import Any
from urllib.parse import parse_qs

import django
from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="bench",
    ROOT_URLCONF=__name__,
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [sys.argv[2]]},
        }
    },
)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.layers import get_channel_layer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402
from serving import batch, encoded, serve  # noqa: E402


class Device(AsyncWebsocketConsumer):
    """One WebSocket. Its groups are left when it is closed."""

    groups = ("all",)

    async def connect(self) -> None:
        own = _group(parse_qs(self.scope["query_string"].decode())["user"][0])
        await self.channel_layer.group_add(own, self.channel_name)
        self.groups = (*self.groups, own)
        await self.accept()

    async def message(self, event: dict[str, Any]) -> None:
        await self.send(event["text"])


def _group(user: str) -> str:
    return f"user.{user}"


async def _send(group: str, text: str) -> None:
    await get_channel_layer().group_send(group, {"type": "message", "text": text})


def _done() -> HttpResponse:
    return HttpResponse(headers={"Content-Length": "0"})


async def publish(request: HttpRequest) -> HttpResponse:
    await _send(_group(request.GET["user"]), request.body.decode())
    return _done()


async def publish_all(request: HttpRequest) -> HttpResponse:
    await _send("all", request.body.decode())
    return _done()


async def publish_batch(request: HttpRequest) -> HttpResponse:
    for user, message in batch(request.body):
        await _send(_group(user), encoded(message))
    return _done()


urlpatterns = [path("publish", publish), path("publish-all", publish_all), path("publish-batch", publish_batch)]
application = ProtocolTypeRouter(
    {"http": get_asgi_application(), "websocket": URLRouter([path("ws", Device.as_asgi())])}
)

if __name__ == "__main__":
    serve(application)
