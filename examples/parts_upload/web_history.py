"""What a page that was opened late, or was away, has missed: a carrier that remembers what went to each user.

Of an upload's progress only the newest state is kept; of everything else, each message. It is all in memory, and
bounded: the messages longest unchanged go first.
"""

from collections import OrderedDict
from typing import Any, Final, Protocol

import msgspec

from tellwire.model import ConnectionInfo, Delivery, Target
from tellwire.ports import Carrier, TakesRowErrors
from tellwire.row_errors import RowErrorChunk

MESSAGES_PER_USER: Final = 100
USERS: Final = 100


class _Message(msgspec.Struct):
    type: str
    data: msgspec.Raw
    id: str


class _Progress(msgspec.Struct, rename="camel"):
    upload_id: str


class GatewayCarrier(Carrier, TakesRowErrors, Protocol):
    """What a node has for one."""


class Remembering:
    """A `Carrier` that remembers what it delivers to users. `messages_of` gives it back, oldest change first."""

    def __init__(self, carrier: GatewayCarrier) -> None:
        self._carrier = carrier
        self._by_user: OrderedDict[str, OrderedDict[str, msgspec.Raw]] = OrderedDict()

    def messages_of(self, user_id: str) -> list[msgspec.Raw]:
        """Return the messages of a user as they were sent."""
        return list(self._by_user.get(user_id, {}).values())

    async def deliver(self, target: Target, payload: bytes) -> Delivery:
        if target.user is not None:
            self._remember(target.user, payload)
        return await self._carrier.deliver(target, payload)

    async def connections(self, user_id: str) -> list[ConnectionInfo]:
        return await self._carrier.connections(user_id)

    async def disconnect(self, connection_id: str) -> bool:
        return await self._carrier.disconnect(connection_id)

    async def add_row_errors(self, chunk: RowErrorChunk) -> None:
        await self._carrier.add_row_errors(chunk)

    def _remember(self, user_id: str, payload: bytes) -> None:
        messages = self._by_user.setdefault(user_id, OrderedDict())
        self._by_user.move_to_end(user_id)
        key = _key_of(payload)
        messages[key] = msgspec.Raw(payload)
        messages.move_to_end(key)
        _shorten(messages, MESSAGES_PER_USER)
        _shorten(self._by_user, USERS)


def _key_of(payload: bytes) -> str:
    message = msgspec.json.decode(payload, type=_Message)
    if message.type != "upload_progress":
        return message.id
    return f"upload {msgspec.json.decode(message.data, type=_Progress).upload_id}"


def _shorten(entries: OrderedDict[str, Any], most: int) -> None:
    while len(entries) > most:
        entries.popitem(last=False)
