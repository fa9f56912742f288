"""The Lambda functions of a WebSocket API. `tellwire.aws.handlers.connect` in a template needs no code of your own.

    $connect      token ─▶ Authenticator ─▶ a row in the table ─▶ 200 │ 401 │ 503 │ 500
    $disconnect   index ─▶ the row is removed
    $default      row ─▶ protocol.receive ─▶ pong │ auth_ok │ welcome │ your function's message │ error, posted back
    sweep         on a schedule: uploads whose worker fell silent ─▶ stalled, failed

They are synchronous, as Lambda wants them; everything else of theirs is made once per process, when first needed, from
the environment. For messages of your own types, a module of yours:

    from tellwire.aws.handlers import default

    @default.on_message("rename")
    def rename(data, connection):
        return create_message("renamed", {"by": connection.user_id, "to": data["name"]})

with the handler `that_module.default`.
"""

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec

from tellwire import protocol
from tellwire.aws.deployment import Deployment, Event
from tellwire.aws.peer import Caller
from tellwire.aws_api.deadline import deadline
from tellwire.background import run
from tellwire.engines.aws.connections import ConnectionRow
from tellwire.errors import InvalidMessage, KeysUnavailable, TellwireError, TokenMissing, TokenRefused
from tellwire.messages import Message, create_message, encode_message

logger = logging.getLogger("tellwire.aws")

Response = dict[str, Any]
OnMessage = Callable[[Any, ConnectionRow], Message | Awaitable[Message | None] | None]
F = TypeVar("F", bound=Callable[..., Any])

_OK: Final[Response] = {"statusCode": 200}

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
        subprotocols = protocol.offered_subprotocols(headers.get("sec-websocket-protocol", ""))
        query = event.get("queryStringParameters") or {}
        token = protocol.token_in(subprotocols, [query["token"]] if "token" in query else [])
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
        if protocol.SUBPROTOCOL in subprotocols:
            return {**_OK, "headers": {"Sec-WebSocket-Protocol": protocol.SUBPROTOCOL}}
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
    """`$default`: the client's conversation, as the gateway has it (`tellwire.protocol`), and your own types."""

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
            client = Caller(self._deployment, event)
            action = protocol.receive(event.get("body") or "", self._functions)
            row = run(client.admit(action))
            match action:
                case _ if row is None:
                    pass
                case protocol.Reply(payload):
                    run(client.tell(payload))
                case protocol.Reauthenticate(token):
                    run(client.renew(row, token))
                case protocol.Recover(cursor):
                    run(client.welcome(row, cursor))
                case protocol.Acknowledge(cursor):
                    run(client.acknowledge(row, cursor))
                case protocol.Cancel(upload_id):
                    run(client.cancel(row, upload_id))
                case protocol.Custom(message_type, data):
                    self._call(self._functions[message_type], data, client, row)
        return _OK

    def _call(self, function: OnMessage, data: Any, client: Caller, row: ConnectionRow) -> None:
        # Here and not on the background loop: a function may call `tellwire.sync`, which waits for that loop.
        try:
            result = function(data, row)
            message = run(_awaited(result)) if inspect.isawaitable(result) else result
        except InvalidMessage as error:
            run(client.tell(protocol.refusal(error)))
            return
        except BaseException:
            run(client.tell(protocol.refusal(TellwireError("The message could not be handled"))))
            raise
        if message is not None:
            run(client.tell(encode_message(message)))


class Sweep:
    """For a schedule: uploads whose worker has been silent for too long are said to have stalled, and then to have
    failed. It is no route of the API, so `WEBSOCKET_API_ENDPOINT` says where the devices are.

    What cannot be said just now is said the next time; the error is Lambda's to log and to count.
    """

    def __init__(self, deployment: Deployment = _shared) -> None:
        self._deployment = deployment

    def __call__(self, event: Event, context: Any) -> Response:
        with deadline(context):
            return run(self._sweep())

    async def _sweep(self) -> Response:
        streams = self._deployment.streams()
        lapsed = 0
        first_error: TellwireError | None = None
        async for user_id, entry in self._deployment.history.leased():
            try:
                lapsed += await streams.lapse(user_id, entry)
            except TellwireError as error:
                logger.warning("a silent upload cannot be declared so: %s", error)
                first_error = first_error or error
        if first_error is not None:
            raise first_error
        return {"lapsed": lapsed}


async def _awaited(result: Awaitable[Message | None]) -> Message | None:
    return await result


def _refused(status: int, code: str, message: str) -> Response:
    body = msgspec.json.encode({"code": code, "message": message}).decode()
    return {"statusCode": status, "headers": {"Content-Type": "application/json"}, "body": body}


connect: Final = Connect()
disconnect: Final = Disconnect()
default: Final = Default()
sweep: Final = Sweep()
