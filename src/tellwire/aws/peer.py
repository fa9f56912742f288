"""The client that an event of `$default` is from, and what is done for it. Answers are posted back.

Errors say to a client what it did wrong; what is wrong with us is in the function's log.
"""

import logging
from collections.abc import Coroutine
from typing import Any

from tellwire import protocol
from tellwire.aws.deployment import Deployment, Event
from tellwire.aws_api.client import Payload
from tellwire.engines.aws.connections import ConnectionRow
from tellwire.errors import (
    ConnectionUnknown,
    GatewayError,
    HistoryUnavailable,
    KeysUnavailable,
    TellwireError,
    TokenExpired,
    TokenRefused,
    UploadOver,
    UploadUnknown,
)
from tellwire.limits import AWS_HEARTBEAT_SECONDS
from tellwire.messages import create_error_message, encode_message
from tellwire.model import timestamp
from tellwire.stream import Replay
from tellwire.wire import Welcome

logger = logging.getLogger("tellwire.aws")


class Caller:
    """The client on one connection, for the time of one event."""

    def __init__(self, deployment: Deployment, event: Event) -> None:
        self._deployment = deployment
        self._event = event
        self._management = deployment.management(event)
        self._connection_id: str = event["requestContext"]["connectionId"]

    async def admit(self, action: protocol.Action) -> ConnectionRow | None:
        """Return the connection's row if it may speak: it is known, and its token has not expired or comes anew."""
        row = await self._deployment.find(self._event)
        now = self._deployment.clock.now()
        if row is None:
            await self._answer_without_row(action)
            return None
        if row.token_expires_at <= now and not isinstance(action, protocol.Reauthenticate):
            await self._send_away(TokenExpired(), row)
            return None
        return row

    async def tell(self, payload: bytes) -> bool:
        """Send something back. False: the client is gone by now, which is nobody's fault."""
        return await self._management.post(self._connection_id, Payload.of(payload))

    async def welcome(self, row: ConnectionRow, cursor: str | None) -> None:
        """Say what was missed, and how things stand. Without a history: whether anything may have been missed."""
        expires_at = timestamp(min(row.expires_at, row.token_expires_at))
        if not self._deployment.has_history:
            is_first = cursor is None
            head = Welcome(row.connection_id, row.user_id, "", is_first, expires_at, AWS_HEARTBEAT_SECONDS)
            for page in protocol.welcome(head, Replay(head.recovered, head.cursor, [], [])):
                await self.tell(page)
            return
        try:
            streams = self._deployment.streams(self._event)
            heartbeat = AWS_HEARTBEAT_SECONDS
            for page in await streams.welcome(row.user_id, cursor, row.connection_id, expires_at, heartbeat):
                if not await self.tell(page):
                    return
        except (GatewayError, HistoryUnavailable):
            logger.exception("%s: cannot be told what it missed", self._connection_id)
            # A client that gets no welcome takes it that nothing is kept. This one is to come back and ask again.
            await self._send_away(_out_of_order())

    async def acknowledge(self, row: ConnectionRow, cursor: str) -> None:
        """Let all devices of the user know what was seen. Without a history nobody does."""
        if self._deployment.has_history:
            await self._do(self._deployment.streams(self._event).acknowledge(row.user_id, cursor))

    async def cancel(self, row: ConnectionRow, upload_id: str) -> None:
        """Cancel an upload of the user."""
        if self._deployment.has_history:
            await self._do(self._deployment.streams(self._event).cancel(row.user_id, upload_id))
        else:
            words = "Uploads cannot be cancelled here: no history is kept"
            await self.tell(encode_message(create_error_message("HISTORY_MISSING", words)))

    async def renew(self, row: ConnectionRow, token: str) -> None:
        """Live by another token from now on."""
        try:
            identity = await self._deployment.authenticator.authenticate(token)
            answer = protocol.renewed(identity, row.user_id)
        except KeysUnavailable as error:
            await self.tell(protocol.refusal(error))
            return
        except TokenRefused as error:
            await self._send_away(error, row)
            return
        if await self._deployment.table.renew(row, identity.expires_at):
            await self.tell(answer)
        else:
            await self._send_away(ConnectionUnknown())

    async def _do(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except (UploadUnknown, UploadOver) as error:
            await self.tell(protocol.refusal(error))
        except HistoryUnavailable:
            logger.exception("%s: what it asked for was not done", self._connection_id)
            await self.tell(protocol.refusal(_out_of_order()))
        except GatewayError:
            # It is kept: devices learn of it when they come back.
            logger.exception("%s: what it asked for was done, and not all devices were told", self._connection_id)

    async def _answer_without_row(self, action: protocol.Action) -> None:
        if not self._deployment.is_new(self._event) or isinstance(action, protocol.Recover):
            # Who gets no welcome takes it that nothing is kept.
            await self._send_away(ConnectionUnknown())
        elif isinstance(action, protocol.Reply):
            await self.tell(action.payload)
        else:
            # Whose connection it is will be known in a moment.
            await self.tell(protocol.refusal(ConnectionUnknown()))

    async def _send_away(self, error: TellwireError, row: ConnectionRow | None = None) -> None:
        logger.info("%s: closed: %s", self._connection_id, error)
        await self._management.expel(self._connection_id, protocol.refusal(error))
        if row is not None:
            await self._deployment.table.forget(row)


def _out_of_order() -> HistoryUnavailable:
    return HistoryUnavailable("try again in a few seconds")
