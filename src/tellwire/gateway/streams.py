"""What producers publish to: a message for a user is kept first, gets its place, and then goes to the user's devices.

A client that is away reads it from the history; one that is here gets it now, and knows by its place that nothing is
missing. Messages for connections, or for everybody, are for who is here: they are not kept.
"""

from tellwire.carriers.hub import NOBODY, Hub
from tellwire.model import ConnectionInfo, Delivery, Target
from tellwire.ports import History
from tellwire.stream import Said


class Streams:
    """A `Carrier` that keeps what it carries."""

    def __init__(self, history: History, hub: Hub) -> None:
        self._history = history
        self._hub = hub

    async def deliver(self, target: Target, payload: bytes) -> Delivery:
        """Deliver, as every carrier does; a message that was published before goes to nobody.

        Raises:
            HistoryUnavailable: it cannot be kept, and was not delivered.
        """
        if target.user is None:
            return await self._hub.deliver(target, payload)
        entry = await self._history.append(target.user, Said.read(payload))
        if entry is None:
            return NOBODY
        return await self._hub.deliver(target, entry.payload, entry.key)

    async def connections(self, user_id: str) -> list[ConnectionInfo]:
        return await self._hub.connections(user_id)

    async def disconnect(self, connection_id: str) -> bool:
        return await self._hub.disconnect(connection_id)
