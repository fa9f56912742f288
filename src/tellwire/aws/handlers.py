"""The Lambda functions of a WebSocket API. `tellwire.aws.handlers.connect` in a template needs no code of your own.

    $connect      token ─▶ Authenticator ─▶ a row in the table ─▶ 200 │ 401 │ 503 │ 500
    $disconnect   index ─▶ the row is removed
    $default      row ─▶ session.receive ─▶ pong │ auth_ok │ your function's message │ error, posted back

They are synchronous, as Lambda wants them; everything else of theirs is made once per process, when first needed, from
the environment. For messages of your own types, a module of yours:

    from tellwire.aws.handlers import default

    @default.on_message("rename")
    def rename(data, connection):
        return create_message("renamed", {"by": connection.user_id, "to": data["name"]})

with the handler `that_module.default`.
"""

import asyncio
import inspect
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any, Final, TypeVar

import msgspec

from tellwire import session
from tellwire.aws.client import Payload
from tellwire.aws.connections import ConnectionRow, ConnectionsTable
from tellwire.aws.deadline import deadline
from tellwire.aws.environment import open_management, open_table
from tellwire.aws.management import Management
from tellwire.background import run
from tellwire.errors import (
    ConnectionUnknown,
    InvalidMessage,
    KeysUnavailable,
    TellwireError,
    TokenExpired,
    TokenMissing,
    TokenRefused,
)
from tellwire.limits import CONNECTION_SETTLES_SECONDS
from tellwire.messages import Message, create_message, encode_message
from tellwire.model import timestamp
from tellwire.ports import Authenticator, Clock, SystemClock
from tellwire.stream import Replay

logger = logging.getLogger("tellwire.aws")

Event = Mapping[str, Any]
Response = dict[str, Any]
OnMessage = Callable[[Any, ConnectionRow], Message | Awaitable[Message | None] | None]
F = TypeVar("F", bound=Callable[..., Any])

_OK: Final[Response] = {"statusCode": 200}
_INDEX_WAITS_SECONDS: Final = (0.1, 0.2, 0.4, 0.8)


class Deployment:
    """What the functions of one API have in common. Each part is made when a function first needs it.

    `environ` is the process's environment if it is left out.
    """

    def __init__(self, environ: Mapping[str, str] | None = None, clock: Clock | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self.clock = clock or SystemClock()
        self._managements: dict[str, Management] = {}

    @cached_property
    def table(self) -> ConnectionsTable:
        return open_table(self._environ, self.clock)

    @cached_property
    def authenticator(self) -> Authenticator:
        # Cryptography takes a third of a cold start; $disconnect needs none.
        from tellwire.auth import make_authenticator
        from tellwire.config import load_settings

        return make_authenticator(load_settings(self._environ), self.clock)

    def management(self, event: Event) -> Management:
        """Return the management API of the stage that an event is from."""
        request = event["requestContext"]
        endpoint = f"https://{request['domainName']}/{request['stage']}"
        if endpoint not in self._managements:
            self._managements[endpoint] = open_management(self._environ, endpoint)
        return self._managements[endpoint]

    async def find(self, event: Event) -> ConnectionRow | None:
        """Return the row of the connection that an event is from. The index may be behind if it is a new one."""
        connection_id = event["requestContext"]["connectionId"]
        row = await self.table.find(connection_id)
        for wait_seconds in _INDEX_WAITS_SECONDS if self.is_new(event) else ():
            if row is not None:
                break
            await asyncio.sleep(wait_seconds)
            row = await self.table.find(connection_id)
        return row

    def is_new(self, event: Event) -> bool:
        """Tell whether the connection may not be in the index yet."""
        connected_at: float = event["requestContext"]["connectedAt"] / 1000
        return self.clock.now() - connected_at < CONNECTION_SETTLES_SECONDS


_shared = Deployment()


class Connect:
    """`$connect`: who has no good token is refused with 401, and the body says whether it is missing, invalid or
    expired; 503 if that cannot be told just now. A connection that cannot be stored is refused with 500.
    """

    def __init__(self, deployment: Deployment = _shared) -> None:
        self._deployment = deployment

    def __call__(self, event: Event, context: Any) -> Response:
        with deadline(context):
            return run(self._connect(event))

    async def _connect(self, event: Event) -> Response:
        request = event["requestContext"]
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        subprotocols = session.offered_subprotocols(headers.get("sec-websocket-protocol", ""))
        query = event.get("queryStringParameters") or {}
        token = session.token_in(subprotocols, [query["token"]] if "token" in query else [])
        try:
            if token is None:
                raise TokenMissing
            identity = await self._deployment.authenticator.authenticate(token)
            await self._deployment.table.add(
                identity.user_id, request["connectionId"], request["connectedAt"] / 1000, identity.expires_at
            )
        except (TokenRefused, KeysUnavailable) as error:
            logger.info("%s: refused: %s", request["connectionId"], error)
            return _refused(error.http_status, error.code, str(error))
        except TellwireError:
            logger.exception("%s: refused, it cannot be stored", request["connectionId"])
            return _refused(500, TellwireError.code, "The connection could not be made; try again in a few seconds")
        if session.SUBPROTOCOL in subprotocols:
            return {**_OK, "headers": {"Sec-WebSocket-Protocol": session.SUBPROTOCOL}}
        return _OK


class Disconnect:
    """`$disconnect`: the connection is forgotten. Its event need not say whose it was."""

    def __init__(self, deployment: Deployment = _shared) -> None:
        self._deployment = deployment

    def __call__(self, event: Event, context: Any) -> Response:
        with deadline(context):
            return run(self._disconnect(event))

    async def _disconnect(self, event: Event) -> Response:
        row = await self._deployment.find(event)
        if row is not None:
            await self._deployment.table.forget(row)
        return _OK


class Default:
    """`$default`: the client's conversation, as the gateway has it (`tellwire.session`), and your own types."""

    def __init__(self, deployment: Deployment = _shared) -> None:
        self._deployment = deployment
        self._functions: dict[str, OnMessage] = {}

    def on_message(self, message_type: str) -> Callable[[F], F]:
        """Let the decorated function answer messages `{"type": message_type, "data": …}` of clients.

        It is called with the message's data, which nobody has checked, and the connection (`user_id`,
        `connection_id`); it may be a coroutine function. A message that it returns goes to this connection. It may
        raise `InvalidMessage`, which the client is told. Any other exception is Lambda's to log and to count; the
        client is told that something went wrong.

        Raises:
            InvalidMessage: `message_type` is no name for a message of your own, or has a function already.
        """
        create_message(message_type, None)
        if message_type in self._functions:
            raise InvalidMessage("message_type", message_type, "one that has no function yet")

        def keep(function: F) -> F:
            self._functions[message_type] = function
            return function

        return keep

    def __call__(self, event: Event, context: Any) -> Response:
        with deadline(context):
            client = _Client(self._deployment, event)
            action = session.receive(event.get("body") or "", self._functions)
            row = run(client.admit(action))
            match action:
                case _ if row is None:
                    pass
                case session.Reply(payload):
                    run(client.tell(payload))
                case session.Reauthenticate(token):
                    run(client.renew(row, token))
                case session.Recover(cursor):
                    run(client.welcome(row, cursor))
                case session.Custom(message_type, data):
                    self._call(self._functions[message_type], data, client, row)
        return _OK

    def _call(self, function: OnMessage, data: Any, client: "_Client", row: ConnectionRow) -> None:
        # Here and not on the background loop: a function may call `tellwire.sync`, which waits for that loop.
        try:
            result = function(data, row)
            message = run(_awaited(result)) if inspect.isawaitable(result) else result
        except InvalidMessage as error:
            run(client.tell(session.refusal(error)))
            return
        except BaseException:
            run(client.tell(session.refusal(TellwireError("The message could not be handled"))))
            raise
        if message is not None:
            run(client.tell(encode_message(message)))


class _Client:
    """The client that an event is from, and what is done to it."""

    def __init__(self, deployment: Deployment, event: Event) -> None:
        self._deployment = deployment
        self._event = event
        self._management = deployment.management(event)
        self._connection_id: str = event["requestContext"]["connectionId"]

    async def admit(self, action: session.Action) -> ConnectionRow | None:
        """Return the connection's row if it may speak: it is known, and its token has not expired or comes anew."""
        row = await self._deployment.find(self._event)
        now = self._deployment.clock.now()
        if row is None:
            await self._answer_without_row(action)
            return None
        if row.token_expires_at <= now and not isinstance(action, session.Reauthenticate):
            await self._send_away(TokenExpired(), row)
            return None
        return row

    async def tell(self, payload: bytes) -> None:
        """Send something back. That the client is gone by now is nobody's fault."""
        await self._management.post(self._connection_id, Payload.of(payload))

    async def welcome(self, row: ConnectionRow, cursor: str | None) -> None:
        """Say how things stand. Nothing is kept on AWS yet, so who has been here before may have missed something."""
        head = session.Welcome(
            row.connection_id,
            row.user_id,
            cursor="",
            recovered=cursor is None,
            expires_at=timestamp(min(row.expires_at, row.token_expires_at)),
        )
        for page in session.welcome(head, Replay(head.recovered, head.cursor, [], [])):
            await self.tell(page)

    async def renew(self, row: ConnectionRow, token: str) -> None:
        """Live by another token from now on."""
        try:
            identity = await self._deployment.authenticator.authenticate(token)
            answer = session.renewed(identity, row.user_id)
        except KeysUnavailable as error:
            await self.tell(session.refusal(error))
            return
        except TokenRefused as error:
            await self._send_away(error, row)
            return
        if await self._deployment.table.renew(row, identity.expires_at):
            await self.tell(answer)
        else:
            await self._send_away(ConnectionUnknown())

    async def _answer_without_row(self, action: session.Action) -> None:
        if not self._deployment.is_new(self._event):
            await self._send_away(ConnectionUnknown())
        elif isinstance(action, session.Reply):
            await self.tell(action.payload)
        else:
            # Whose connection it is will be known in a moment.
            await self.tell(session.refusal(ConnectionUnknown()))

    async def _send_away(self, error: TellwireError, row: ConnectionRow | None = None) -> None:
        logger.info("%s: closed: %s", self._connection_id, error)
        await self._management.expel(self._connection_id, session.refusal(error))
        if row is not None:
            await self._deployment.table.forget(row)


async def _awaited(result: Awaitable[Message | None]) -> Message | None:
    return await result


def _refused(status: int, code: str, message: str) -> Response:
    body = msgspec.json.encode({"code": code, "message": message}).decode()
    return {"statusCode": status, "headers": {"Content-Type": "application/json"}, "body": body}


connect: Final = Connect()
disconnect: Final = Disconnect()
default: Final = Default()
