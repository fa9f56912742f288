"""The subscriptions of one process: who has joined a topic in the hub gets its publications."""

from tellwire.carriers.hub import Hub
from tellwire.ports import Present
from tellwire.publication import StreamKey


class HubSubscribers:
    """The `Subscribers` of a hub. It waits for nothing."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def subscribe(self, connection: Present, stream: StreamKey) -> None:
        self._hub.join(stream, connection.connection_id)

    def unsubscribe(self, connection: Present, stream: StreamKey) -> None:
        self._hub.part(stream, connection.connection_id)
