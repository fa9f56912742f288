"""The Lambda functions of a WebSocket API. `tellwire.aws.handlers.connect` in a template needs no code of your own.

    $connect      token ─▶ authenticator ─▶ a row in the table ─▶ 200 │ 401 │ 503 │ 500
    $disconnect   index ─▶ the row is removed
    $default      row ─▶ the conversation of `tellwire.conversation` ─▶ answers are posted back
    sweep         on a schedule: leases that have expired ─▶ stalled, failed

They are synchronous, as Lambda requires; their parts are made once per process, on first use, from the environment. For
messages of custom types, write a module:

    from tellwire.aws.handlers import default

    @default.on_message("rename")
    def rename(data, sender):
        return create_message("renamed", {"by": sender.user_id, "to": data["name"]})

and name its handler, `<module>.default`, in the template.
"""

import logging
from collections.abc import Callable
from typing import Any, Final

import msgspec

from tellwire import protocol
from tellwire.aws.deployment import Deployment, Event
from tellwire.aws_api.deadline import deadline
from tellwire.background import run
from tellwire.errors import ConfigError, KeysUnavailable, TellwireError, TokenMissing, TokenRefused
from tellwire.limits import AWS_HEARTBEAT_SECONDS
from tellwire.message_handlers import F, MessageHandlers

__all__ = ["Connect", "Default", "Disconnect", "Sweep", "connect", "default", "disconnect", "sweep"]

logger = logging.getLogger("tellwire.aws")

Response = dict[str, Any]

_OK: Final[Response] = {"statusCode": 200}

_shared = Deployment()


class Connect:
    """`$connect`: verify the token and store the connection. 401 if the token is missing, invalid or expired (the body
    has the code); 503 if it cannot be verified just now; 500 if the connection cannot be stored.
    """

    def __init__(self, deployment: Deployment = _shared) -> None:
        self._deployment = deployment

    def __call__(self, event: Event, context: Any) -> Response:
        with deadline(context):
            return run(self._connect(event))

    async def _connect(self, event: Event) -> Response:
        request = event["requestContext"]
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        subprotocols = protocol.offered_subprotocols(headers.get("sec-websocket-protocol", ""))
        query = event.get("queryStringParameters") or {}
        token = protocol.token_in(subprotocols, [query["token"]] if "token" in query else [])
        try:
            if token is None:
                raise TokenMissing
            identity = await self._deployment.authenticate(token)
            await self._deployment.table.add(
                identity.user_id, request["connectionId"], request["connectedAt"] / 1000, identity.expires_at
            )
        except (TokenRefused, KeysUnavailable) as error:
            logger.info("%s: refused: %s", request["connectionId"], error)
            return _refused(error.http_status, error.code, str(error))
        except TellwireError:
            logger.exception("%s: refused, it cannot be stored", request["connectionId"])
            return _refused(500, TellwireError.code, "The connection could not be made; try again in a few seconds")
        if protocol.SUBPROTOCOL in subprotocols:
            return {**_OK, "headers": {"Sec-WebSocket-Protocol": protocol.SUBPROTOCOL}}
        return _OK


class Disconnect:
    """`$disconnect`: remove the connection's row. Its event has no user."""

    def __init__(self, deployment: Deployment = _shared) -> None:
        self._deployment = deployment

    def __call__(self, event: Event, context: Any) -> Response:
        with deadline(context):
            return run(self._disconnect(event))

    async def _disconnect(self, event: Event) -> Response:
        row = await self._deployment.find(event)
        if row is not None:
            await self._deployment.table.remove(row)
        return _OK


class Default:
    """`$default`: the client's conversation, the same as on a gateway, and messages of custom types."""

    def __init__(self, deployment: Deployment = _shared) -> None:
        self._deployment = deployment
        self._handlers = MessageHandlers()

    def on_message(self, message_type: str) -> Callable[[F], F]:
        """Call the decorated function for messages of your own type; see `MessageHandlers.on_message`.

        Lambda logs and counts its exceptions.
        """
        return self._handlers.on_message(message_type)

    def __call__(self, event: Event, context: Any) -> Response:
        with deadline(context):
            return run(self._converse(event))

    async def _converse(self, event: Event) -> Response:
        from tellwire.aws.peer import find_peer
        from tellwire.conversation import Conversation  # $connect and $disconnect need none of it

        conversation = Conversation(
            self._deployment.engine(event),
            self._deployment,
            self._deployment.clock,
            self._handlers,
            heartbeat_seconds=AWS_HEARTBEAT_SECONDS,
        )
        action = conversation.receive(event.get("body") or "")
        peer = await find_peer(self._deployment, event, action)
        if peer is not None:
            await conversation.handle(action, peer)
        return _OK


class Sweep:
    """A function on a schedule: it publishes uploads whose lease has expired as stalled, and then as failed. It is no
    route of the API, so it needs `WEBSOCKET_API_ENDPOINT`.

    An upload that cannot be published is retried the next time; Lambda logs and counts the error.
    """

    def __init__(self, deployment: Deployment = _shared) -> None:
        self._deployment = deployment

    def __call__(self, event: Event, context: Any) -> Response:
        with deadline(context):
            return run(self._sweep())

    async def _sweep(self) -> Response:
        from tellwire.lease_expiry import LeaseExpiry

        engine = self._deployment.engine()
        if engine.history is None:
            raise ConfigError("HISTORY_TABLE_NAME: not set; allowed: the name of the table of the history")
        leases = LeaseExpiry(engine.broker, self._deployment.clock)
        expired = 0
        first_error: TellwireError | None = None
        async for entry in engine.history.leased_uploads():
            try:
                expired += await leases.expire(entry)
            except TellwireError as error:
                logger.warning("a lease has expired and that cannot be published: %s", error)
                first_error = first_error or error
        if first_error is not None:
            raise first_error
        return {"expired": expired}


def _refused(status: int, code: str, message: str) -> Response:
    body = msgspec.json.encode({"code": code, "message": message}).decode()
    return {"statusCode": status, "headers": {"Content-Type": "application/json"}, "body": body}


connect: Final = Connect()
disconnect: Final = Disconnect()
default: Final = Default()
sweep: Final = Sweep()
