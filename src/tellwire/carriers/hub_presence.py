"""The presence of one process: whoever is in the hub is connected."""

from tellwire.carriers.hub import Hub
from tellwire.model import ConnectionInfo, PresenceCounts
from tellwire.ports import Present


class HubPresence:
    """A `Presence` of the connections of a hub. It waits for nothing, so the hub has a connection that has entered
    before another one enters.
    """

    admits = False

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def enter(self, connection: Present, at_most: int) -> bool:
        return self.enters_at_once(connection, at_most)

    def enters_at_once(self, connection: Present, at_most: int) -> bool:
        return self._hub.count(connection.user_id) < at_most

    def leave(self, connection: Present) -> None:
        pass  # it has left with the hub

    async def renewed(self, connection: Present) -> None:
        pass  # the hub has the connection itself

    async def connections(self, user_id: str) -> list[ConnectionInfo]:
        return await self._hub.connections(user_id)

    async def count(self, user_id: str) -> int:
        return self._hub.count(user_id)

    async def counts(self) -> PresenceCounts:
        return PresenceCounts(1, len(self._hub))
