"""The peer of a conversation behind API Gateway: answers are posted to its connection."""

import logging

from tellwire import protocol
from tellwire.aws.deployment import Deployment, Event
from tellwire.aws_api.client import Payload
from tellwire.aws_api.management import Management
from tellwire.engines.aws.connections import ConnectionRow
from tellwire.errors import ConnectionUnknown, TellwireError
from tellwire.model import Identity

logger = logging.getLogger("tellwire.aws")


class ApiGatewayPeer:
    """A `Peer` during one event. `row` is that of its connection."""

    def __init__(self, deployment: Deployment, management: Management, row: ConnectionRow) -> None:
        self._deployment = deployment
        self._management = management
        self._row = row
        self.connection_id = row.connection_id
        self.user_id = row.user_id
        self.expires_at = min(row.expires_at, row.token_expires_at)

    async def send(self, payload: bytes) -> bool:
        return await self._management.post(self.connection_id, Payload.of(payload))

    async def ready(self) -> None:
        """Return at once: API Gateway queues nothing here."""

    async def renew(self, identity: Identity) -> bool:
        return await self._deployment.table.renew(self._row, identity.expires_at)

    async def close(self, error: TellwireError) -> None:
        logger.info("%s: closed: %s", self.connection_id, error)
        await self._management.expel(self.connection_id, protocol.refusal(error))
        if not isinstance(error, ConnectionUnknown):
            await self._deployment.table.remove(self._row)


async def find_peer(deployment: Deployment, event: Event, action: protocol.Action) -> ApiGatewayPeer | None:
    """Return the peer of an event. None: its connection is not stored, and got an error."""
    management = deployment.management(event)
    row = await deployment.find(event)
    if row is not None:
        return ApiGatewayPeer(deployment, management, row)
    connection_id = event["requestContext"]["connectionId"]
    refusal = protocol.refusal(ConnectionUnknown())
    if not deployment.is_new(event) or isinstance(action, protocol.Recover):
        # A client that gets no welcome would conclude that nothing is kept.
        logger.info("%s: closed: its connection is not stored", connection_id)
        await management.expel(connection_id, refusal)
    else:
        # Its row will be in the index in a moment.
        answer = action.payload if isinstance(action, protocol.Reply) else refusal
        await management.post(connection_id, Payload.of(answer))
    return None
