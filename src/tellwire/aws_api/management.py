"""`@connections`, the management API of a WebSocket API: post, look up and close one connection at a time.

Source: API reference, "API Gateway Management API". A 410 has no body, and also means that a
connection is not open yet.
"""

import re
from datetime import datetime
from typing import Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from tellwire.aws_api.client import AwsClient, AwsRequest, Payload, refused
from tellwire.aws_api.deadline import at_most
from tellwire.decode_errors import DECODE_ERRORS
from tellwire.http_messages import HttpResponse
from tellwire.limits import AWS_POST_SECONDS

_NO_BODY: Final = Payload.of(None)
_GONE: Final = 410

# No connection has another id. Others are not sent: HTTP clients would resolve `..` in a path.
_CONNECTION_ID: Final = re.compile(r"[A-Za-z0-9_+=-]{1,128}")


class Activity(Struct, frozen=True, rename="camel"):
    """The times of a connection's begin and of its last activity, in UTC."""

    connected_at: datetime
    last_active_at: datetime


_activity = msgspec.json.Decoder(Activity)


class Management:
    """The management API of one stage."""

    def __init__(self, client: AwsClient) -> None:
        self._client = client

    async def post(self, connection_id: str, payload: Payload, *, may_repeat: bool = False) -> bool:
        """Send to a connection. False: there is no connection with this id.

        `may_repeat`: if its answer is lost it is sent again, as the client would take no notice of a second one.

        Raises:
            AwsRefused: API Gateway refuses it.
            AwsUnreachable: the outcome is not known.
        """
        with at_most(AWS_POST_SECONDS):
            return await self._request("POST", connection_id, payload, may_repeat=may_repeat) is not None

    async def delete(self, connection_id: str) -> bool:
        """Close a connection, with 1000. False: there is none with this id. Raises as `post` does."""
        return await self._request("DELETE", connection_id, _NO_BODY) is not None

    async def expel(self, connection_id: str, reason: bytes) -> None:
        """Post a reason to a connection, then close it: the close code is always 1000. Raises as `post` does."""
        try:
            await self.post(connection_id, Payload.of(reason))
        finally:
            await self.delete(connection_id)

    async def get(self, connection_id: str) -> Activity | None:
        """Look a connection up. None: there is none with this id. Raises as `post` does."""
        response = await self._request("GET", connection_id, _NO_BODY)
        if response is None:
            return None
        try:
            return _activity.decode(response.body)
        except DECODE_ERRORS as error:
            raise refused("GET @connections", response) from error

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._client.close()

    async def _request(
        self, method: str, connection_id: str, payload: Payload, *, may_repeat: bool = True
    ) -> HttpResponse | None:
        if _CONNECTION_ID.fullmatch(connection_id) is None:
            return None
        action = f"{method} @connections"
        path = f"/@connections/{quote(connection_id, safe='')}"
        response = await self._client.call(AwsRequest(action, method, path, payload, may_repeat=may_repeat))
        if 200 <= response.status < 300:
            return response
        if response.status == _GONE or _is_no_id(response):
            return None
        raise refused(action, response)


def _is_no_id(response: HttpResponse) -> bool:
    return response.status == 400 and b"nvalid connectionId" in response.body
