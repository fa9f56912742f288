"""`@connections`: what a WebSocket API offers to speak to its clients. Posts, lookups and closing, one id at a time.

Source: API reference, "API Gateway Management API". A 410 has no body, and a connection that is not open yet is gone,
too.
"""

import re
from datetime import datetime
from typing import Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from tellwire.aws_api.client import NOT_JSON, AwsClient, AwsRequest, Payload, refused
from tellwire.http_client import Answer

_NO_BODY: Final = Payload.of(None)
_GONE: Final = 410

# What is no id nobody has. A path may not hold everything, `..` for one: clients of HTTP take it for a way up.
_CONNECTION_ID: Final = re.compile(r"[A-Za-z0-9_+=-]{1,128}")


class Activity(Struct, frozen=True, rename="camel"):
    """When a connection was made and was last active, in UTC."""

    connected_at: datetime
    last_active_at: datetime


_activity = msgspec.json.Decoder(Activity)


class Management:
    """The management API of one stage."""

    def __init__(self, client: AwsClient) -> None:
        self._client = client

    async def post(self, connection_id: str, payload: Payload) -> bool:
        """Send to a connection. False: nobody has that id.

        Raises:
            AwsRefused: it may not be done.
            AwsUnreachable: what became of it is not known.
        """
        return await self._do("POST", connection_id, payload) is not None

    async def delete(self, connection_id: str) -> bool:
        """Close a connection, with 1000. False: nobody has that id. Raises as `post` does."""
        return await self._do("DELETE", connection_id, _NO_BODY) is not None

    async def expel(self, connection_id: str, reason: bytes) -> None:
        """Close a connection after telling it why: closing says nothing but 1000. Raises as `post` does."""
        await self.post(connection_id, Payload.of(reason))
        await self.delete(connection_id)

    async def get(self, connection_id: str) -> Activity | None:
        """Look a connection up. None: nobody has that id. Raises as `post` does."""
        answer = await self._do("GET", connection_id, _NO_BODY)
        if answer is None:
            return None
        try:
            return _activity.decode(answer.body)
        except NOT_JSON as error:
            raise refused("GET @connections", answer) from error

    async def close(self) -> None:
        """Let the pooled connections go."""
        await self._client.close()

    async def _do(self, method: str, connection_id: str, payload: Payload) -> Answer | None:
        if _CONNECTION_ID.fullmatch(connection_id) is None:
            return None
        action = f"{method} @connections"
        path = f"/@connections/{quote(connection_id, safe='')}"
        # A second post would be a second message, if the first one was taken.
        answer = await self._client.call(AwsRequest(action, method, path, payload, may_repeat=method != "POST"))
        if 200 <= answer.status < 300:
            return answer
        if answer.status == _GONE or _is_no_id(answer):
            return None
        raise refused(action, answer)


def _is_no_id(answer: Answer) -> bool:
    return answer.status == 400 and b"nvalid connectionId" in answer.body
