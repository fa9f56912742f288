"""The Lambda functions of a WebSocket API. `tellwire.aws.handlers.connect` in a template needs no code of your own.

    $connect      token ─▶ authenticator ─▶ a row in the table ─▶ 200 │ 401 │ 503 │ 500
    $disconnect   index ─▶ the row is removed, and its topics
    $default      row ─▶ the conversation of `tellwire.conversation` ─▶ answers are posted back
    sweep         on a schedule: leases that have expired ─▶ stalled, failed; notifications ─▶ escalated
    broadcast     no route: a signed request, or an invocation, with a publish ─▶ the broker ─▶ the gateway's answers

They are synchronous, as Lambda requires; their parts are made once per process, on first use, from the environment. For
messages of custom types, write a module:

    from tellwire.aws.handlers import default

    @default.on_message("rename")
    def rename(data, sender):
        return create_message("renamed", {"by": sender.user_id, "to": data["name"]})

and name its handler, `<module>.default`, in the template. `@default.authorize_topic` decorates a function that says who
may subscribe to a topic.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from tellwire import protocol, wire
from tellwire.aws.deployment import Deployment, Event
from tellwire.aws_api.deadline import deadline, remaining_seconds, reserve
from tellwire.background import run
from tellwire.engines.aws.concurrently import each
from tellwire.engines.aws.connections import ConnectionRow
from tellwire.errors import (
    ConfigError,
    KeysUnavailable,
    PublishError,
    TellwireError,
    TokenMissing,
    TokenRefused,
    UserShutOut,
)
from tellwire.limits import (
    AWS_ANSWER_SECONDS,
    AWS_EVENT_SECONDS,
    AWS_HEARTBEAT_SECONDS,
    HELLO_INTERVAL_SECONDS,
)
from tellwire.message_handlers import F, MessageHandlers
from tellwire.model import Identity

if TYPE_CHECKING:
    from tellwire.aws.topic_rights import Decision

__all__ = [
    "Broadcast",
    "Connect",
    "Default",
    "Disconnect",
    "Sweep",
    "broadcast",
    "connect",
    "default",
    "disconnect",
    "sweep",
]

logger = logging.getLogger("tellwire.aws")

Response = dict[str, Any]
D = TypeVar("D", bound="Decision")

_OK: Final[Response] = {"statusCode": 200}

_shared = Deployment()


class Connect:
    """`$connect`: verify the token and store the connection.

    401 if the token is missing, invalid or expired, 403 if it is shut out (the body has the code); 503 if it cannot be
    verified just now; 500 if the connection cannot be stored.
    """

    def __init__(self, deployment: Deployment = _shared) -> None:
        self._deployment = deployment

    def __call__(self, event: Event, context: Any) -> Response:
        with self._deployment.invocation(context), deadline(AWS_EVENT_SECONDS):
            return run(self._connect(event))

    async def _connect(self, event: Event) -> Response:
        request = event["requestContext"]
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        subprotocols = protocol.offered_subprotocols(headers.get("sec-websocket-protocol", ""))
        query = event.get("queryStringParameters") or {}
        in_query = [query["token"]] if "token" in query else []
        token = protocol.token_in(subprotocols, in_query, headers.get("authorization", ""))
        try:
            if token is None:
                raise TokenMissing
            await self._store(await self._deployment.verify(token), request)
        except (TokenRefused, UserShutOut, KeysUnavailable) as error:
            self._deployment.observer.connection_refused(error.code)
            logger.info("%s: refused: %s", request["connectionId"], error)
            return _refused(error.http_status, error.code, str(error))
        except TellwireError as error:
            self._deployment.observer.connection_refused(error.code)
            logger.exception("%s: refused, it cannot be stored", request["connectionId"])
            return _refused(500, TellwireError.code, "The connection could not be made; try again in a few seconds")
        self._deployment.observer.connection_opened()
        if protocol.SUBPROTOCOL in subprotocols:
            return {**_OK, "headers": {"Sec-WebSocket-Protocol": protocol.SUBPROTOCOL}}
        return _OK

    async def _store(self, identity: Identity, request: Mapping[str, Any]) -> None:
        """Store a connection, and then look whether it is shut out: see `engines.aws.shut_outs`."""
        table = self._deployment.table
        connection_id, connected_at = request["connectionId"], request["connectedAt"] / 1000
        claims = self._deployment.kept_claims(identity)
        await table.add(identity.user_id, connection_id, connected_at, identity.expires_at, identity.stamp, claims)
        try:
            await self._deployment.shut_outs().admit(identity)
        except TellwireError:
            await table.remove(ConnectionRow.of(identity, connection_id, connected_at))
            raise


class Disconnect:
    """`$disconnect`: remove the connection's row, and its topics. Its event has no user."""

    def __init__(self, deployment: Deployment = _shared) -> None:
        self._deployment = deployment

    def __call__(self, event: Event, context: Any) -> Response:
        with self._deployment.invocation(context), deadline(AWS_EVENT_SECONDS):
            return run(self._disconnect(event))

    async def _disconnect(self, event: Event) -> Response:
        table, connection_id = self._deployment.table, event["requestContext"]["connectionId"]
        row, members = await asyncio.gather(self._deployment.find(event), table.members.of_connection(connection_id))
        await each(members, table.lose)
        if row is not None:
            await table.remove(row)
        # A client that was cut has none.
        self._deployment.observer.connection_closed(event["requestContext"].get("disconnectStatusCode") or 1006)
        return _OK


class Default:
    """`$default`: the client's conversation, the same as on a gateway, and messages of custom types."""

    def __init__(self, deployment: Deployment = _shared) -> None:
        self._deployment = deployment
        self._handlers = MessageHandlers()
        self._decide: Decision | None = None

    def authorize_topic(self, decide: D) -> D:
        """Call the decorated function with a user's `Identity` and a topic, and let the user subscribe if it is true.

        It is called if neither the rules nor the token let them: for each `subscribe`, and again for each topic of a
        connection with a new token. The identity has the claim of topics alone, as it is stored with the connection. A
        plain function may block. After an exception the client is told to try again.
        """
        self._decide = decide
        return decide

    def on_message(self, message_type: str) -> Callable[[F], F]:
        """Call the decorated function for messages of your own type; see `MessageHandlers.on_message`.

        Lambda logs and counts its exceptions.
        """
        return self._handlers.on_message(message_type)

    def __call__(self, event: Event, context: Any) -> Response:
        with self._deployment.invocation(context), deadline(AWS_EVENT_SECONDS):
            return run(self._converse(event))

    async def _converse(self, event: Event) -> Response:
        from tellwire.aws.peer import find_peer, give_up
        from tellwire.aws.topic_rights import AwsTopicRights
        from tellwire.conversation import Conversation  # $connect and $disconnect need none of it

        deployment = self._deployment
        engine = deployment.engine(event)
        conversation = Conversation(
            engine,
            deployment,
            deployment.clock,
            self._handlers,
            authorizer=AwsTopicRights(deployment.topics, deployment.topics_claim, self._decide),
            heartbeat_seconds=AWS_HEARTBEAT_SECONDS,
            limits=wire.Limits(
                hello_interval_seconds=HELLO_INTERVAL_SECONDS,
                max_subscriptions=deployment.subscriptions_per_connection,
            ),
            observer=deployment.observer,
        )
        action = conversation.receive(event.get("body") or "")
        peer = None
        try:
            with reserve(AWS_ANSWER_SECONDS):
                peer = await find_peer(self._deployment, event, action)
                if peer is not None and isinstance(action, protocol.WHOLE_HISTORY) and not await peer.may_say_hello():
                    await peer.refuse(action)
                elif peer is not None:
                    with deployment.publishing(engine) if isinstance(action, protocol.Custom) else nullcontext():
                        await conversation.handle(action, peer)
                    await peer.settle()
        except PublishError as error:
            if isinstance(action, protocol.Custom) and peer is not None:
                raise  # it is the project's, and the client was told
            # A table or API Gateway does not respond, or refuses.
            logger.error("%s: its request failed: %s", event["requestContext"]["connectionId"], error)  # noqa: TRY400
            await give_up(self._deployment, event, action)
            if not error.retryable:
                raise  # such as a missing right: Lambda counts it
        return _OK


class Sweep:
    """A function on a schedule: it publishes uploads whose lease has expired as stalled, and then as failed, calls the
    targets of notifications that nobody has acknowledged, and tells who has left topics with presence. It is no route
    of the API, so it needs `WEBSOCKET_API_ENDPOINT`; and `TELLWIRE_WEBHOOKS` and `TELLWIRE_WEBHOOK_SECRET`, if
    notifications are escalated.

    It returns `{"expired": n, "is_finished": …}`: the uploads for which it published a state, and the escalations whose
    time had come; and whether it has looked at all that run, and at all topics. If its time was too short for that, the
    next run goes on from there. What cannot be published is tried again the next time; Lambda logs and counts the
    error.
    """

    def __init__(self, deployment: Deployment = _shared) -> None:
        self._deployment = deployment

    def __call__(self, event: Event, context: Any) -> Response:
        with self._deployment.invocation(context):
            return run(self._sweep())

    async def _sweep(self) -> Response:
        has_presence = self._deployment.topics.have_presence
        if self._deployment.history is None and not has_presence:
            raise ConfigError("HISTORY_TABLE_NAME: not set; allowed: the name of the table of the history")
        # Side by side, so that neither takes the other's time.
        uploads, topics = await asyncio.gather(
            self._sweep_uploads(), self._sweep_topics() if has_presence else _nothing_to_do(), return_exceptions=True
        )
        if isinstance(uploads, BaseException):
            raise uploads
        if isinstance(topics, BaseException):
            raise topics
        return {**uploads, "is_finished": uploads["is_finished"] and topics}

    async def _sweep_uploads(self) -> Response:
        from tellwire.escalations import EscalationCounts, Escalations
        from tellwire.lease_expiry import LeaseExpiry

        engine, history, clock = self._deployment.engine(), self._deployment.history, self._deployment.clock
        if history is None:
            return {"expired": 0, "is_finished": True}
        observer = self._deployment.observer
        escalations = Escalations(history, clock, observer=observer)
        escalations.call = self._deployment.escalation_webhooks.call
        swept = await history.sweep(LeaseExpiry(engine.broker, clock, observer, escalations).expire)
        # What has not ended by then is called again.
        await escalations.idle(remaining_seconds())
        if escalations.counts != EscalationCounts():
            logger.info("escalations that have ended: %s", escalations.counts)
        if swept.error is not None:
            raise swept.error
        return {"expired": swept.expired, "is_finished": swept.is_finished}

    async def _sweep_topics(self) -> bool:
        from tellwire.engines.aws.presence_sweep import PresenceSweep

        deployment = self._deployment
        sweep = PresenceSweep(deployment.table, deployment.presence(), deployment.management(), deployment.clock)
        return await sweep.run()


class Broadcast:
    """A function for producers in other languages: it publishes, with the bodies, answers and errors of a gateway.

    Behind a function URL or an HTTP API, with IAM: `POST /v1/publish` and `/v1/publish/batch`, payload format 2.0. A
    direct invocation gets a publish as JSON, and returns a `Delivery`, or `{"status", "code", "message"}`; a list of
    publishes gives a list of both. It needs the variables and the rights of a worker, see `docs/how-to/aws.md`.
    """

    def __init__(self, deployment: Deployment = _shared) -> None:
        self._deployment = deployment

    def __call__(self, event: Any, context: Any) -> Any:
        with self._deployment.invocation(context):
            return run(self._answer(event))

    async def _answer(self, event: Any) -> Any:
        from tellwire.aws.http_events import is_request, read_request
        from tellwire.aws.publishes import Publishes  # the routes need none of it

        publishes = Publishes(self._deployment.engine().broker)
        with reserve(AWS_ANSWER_SECONDS):
            if is_request(event):
                return await publishes.answer_request(read_request(event))
            return await publishes.answer_invocation(event)


async def _nothing_to_do() -> bool:
    return True


def _refused(status: int, code: str, message: str) -> Response:
    body = msgspec.json.encode({"code": code, "message": message}).decode()
    return {"statusCode": status, "headers": {"Content-Type": "application/json"}, "body": body}


connect: Final = Connect()
disconnect: Final = Disconnect()
default: Final = Default()
sweep: Final = Sweep()
broadcast: Final = Broadcast()
