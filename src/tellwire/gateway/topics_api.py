"""The HTTP API of topics, for operators.

    GET    /v1/topics/{topic}/presence  the users in a topic, on all nodes
    DELETE /v1/topics/{topic}           delete everything that is kept of a topic

Each also takes the topic from the query: `/v1/topics/presence?topic=…`, `/v1/topics?topic=…`. A key needs the scope
`admin`.
"""

from typing import Any, Final

from msgspec import UNSET, Raw, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from tellwire.api_keys import Scope
from tellwire.engine import Engine
from tellwire.errors import PresenceOff
from tellwire.gateway.api_key import Guard
from tellwire.gateway.http import json_response
from tellwire.gateway.paths import IdRoute, id_of
from tellwire.limits import MAX_TOPIC_BYTES
from tellwire.publication import topic_stream
from tellwire.text import require_topic
from tellwire.wire import Member


class TopicMembers(Struct, frozen=True):
    """The number of users in a topic, and at most 200 of them."""

    count: int
    members: list[Member]


class TopicsApi:
    """The endpoints. A topic without presence is answered with 409."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self, key: Guard) -> list[BaseRoute]:
        """Return the routes, with the ways to name a topic: in the path, and in the query."""
        presence, forget = (key.guarded(each, Scope.ADMIN) for each in (self.presence, self.forget))
        return [
            Route("/v1/topics/presence", presence, methods=["GET"]),
            IdRoute("/v1/topics/{topic:path}/presence", presence, methods=["GET"]),
            Route("/v1/topics", forget, methods=["DELETE"]),
            # One with a slash is named in the query: a wrong path must not delete anything.
            IdRoute("/v1/topics/{topic}", forget, methods=["DELETE"]),
        ]

    async def presence(self, request: Request) -> Response:
        topic = _topic(request)
        stream = topic_stream(topic)
        if self._engine.topic_presence is None or not self._engine.topics.has_presence(stream):
            raise PresenceOff(topic)
        found = await self._engine.topic_presence.members(stream)
        members = [Member(each.user_id, UNSET if each.info is None else Raw(each.info)) for each in found.members]
        return json_response(TopicMembers(found.count, members))

    async def forget(self, request: Request) -> Response:
        await self._engine.forget_topic(_topic(request))
        return Response(status_code=204)


def _topic(request: Request) -> str:
    return require_topic("topic", id_of(request, "topic", MAX_TOPIC_BYTES))


TYPES: Final[tuple[Any, ...]] = (TopicMembers,)
"""The structs of the bodies, for the OpenAPI document."""
