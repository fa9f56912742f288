"""The peer of a conversation behind API Gateway: answers are posted to its connection."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from tellwire import protocol
from tellwire.aws.deployment import Deployment, Event
from tellwire.aws_api.client import Payload
from tellwire.aws_api.deadline import last_moments
from tellwire.aws_api.management import Management
from tellwire.engines.aws.connections import ConnectionRow
from tellwire.engines.aws.topic_members import TopicMember
from tellwire.errors import (
    ConnectionUnknown,
    HistoryUnavailable,
    PublishError,
    RequestsLimited,
    TellwireError,
    TooManySubscriptions,
)
from tellwire.limits import AWS_PRESENCE_ANSWER_SECONDS, HELLO_BURST, HELLO_INTERVAL_SECONDS
from tellwire.model import Identity
from tellwire.publication import StreamKey, topic_of, topic_stream

if TYPE_CHECKING:
    from tellwire.engines.aws.topic_presence import AwsTopicPresence

logger = logging.getLogger("tellwire.aws")

_OF_TOPICS: Final = (protocol.Ping, protocol.Reauthenticate, protocol.Recover, protocol.Subscribe, protocol.Unsubscribe)
"""The actions for which the topics of a connection are read."""


class ApiGatewayPeer:
    """A `Peer` during one event. `row` is that of its connection, `members` are its items in topics that are known."""

    def __init__(
        self,
        deployment: Deployment,
        management: Management,
        presence: "Callable[[], AwsTopicPresence]",
        row: ConnectionRow,
        members: Iterable[TopicMember] = (),
    ) -> None:
        self._deployment = deployment
        self._management = management
        self._presence = presence
        # The topics in which somebody may be told after the answer; and this user, if they are not None.
        self._unsettled: dict[str, str | None] = {}
        self._row = row
        self._topics: dict[StreamKey, list[TopicMember]] = {}
        for member in members:
            self._topics.setdefault(topic_stream(member.topic), []).append(member)
        self._identity: Identity | None = row.identity
        self.connection_id = row.connection_id
        self.user_id = row.user_id
        self.expires_at = min(row.expires_at, row.token_expires_at)

    async def send(self, payload: bytes) -> bool:
        return await self._management.post(self.connection_id, Payload.of(payload))

    async def ready(self, size_bytes: int) -> None:
        """Return at once: API Gateway queues nothing here."""

    async def renew(self, identity: Identity) -> bool:
        self._identity = identity
        table, claims = self._deployment.table, self._deployment.kept_claims(identity)
        if not await table.renew(self._row, identity.expires_at, identity.stamp, claims):
            return False
        members = [member for several in self._topics.values() for member in several]
        await table.members.renew(members, identity.expires_at)
        for topic in {member.topic for member in members if self._has_presence(member.topic)}:
            await self._has_come(topic, is_told=False)  # with another info, or after its token had expired
        return True

    async def may_say_hello(self) -> bool:
        """Return False if the client says `hello` too often: the answer may be the whole history."""
        return await self._deployment.table.admit_hello(self._row)

    async def refuse(self, action: protocol.Recover | protocol.DismissEnded) -> None:
        """Tell the client that it says `hello`, or the like, too often."""
        error = RequestsLimited(f"{HELLO_BURST} hellos, then one in {HELLO_INTERVAL_SECONDS} s")
        if isinstance(action, protocol.Recover):
            await self.close(error)  # without a welcome it would conclude that nothing is kept
        else:
            await self.send(protocol.refusal(error, action.request_id))

    @property
    def subscriptions(self) -> Collection[StreamKey]:
        return self._topics.keys()

    async def grants(self) -> Identity:
        if self._identity is None:
            row = await self._deployment.table.at(self.user_id, self.connection_id)
            if row is None:
                raise ConnectionUnknown
            self._identity = row.identity
        return self._identity

    async def subscribe(self, stream: StreamKey) -> None:
        topic, table = topic_of(stream) or "", self._deployment.table
        has_presence, is_told = self._has_presence(topic), False
        # The index may still have an item that was removed a moment ago.
        is_new = stream not in self._topics or await table.members.find(topic, self.connection_id) is None
        if is_new:
            at_most = self._deployment.subscriptions_per_connection
            if len(self._topics.keys() - {stream}) >= at_most:
                raise TooManySubscriptions(at_most)
            if has_presence:
                is_told = await self._presence().comes(topic, self._row, self._deployment.info(await self.grants()))
            await table.members.add(topic, self._row, has_presence=has_presence)
            self._topics[stream] = []
        # An `auth` in another function may have changed them meanwhile.
        self._identity = None
        if has_presence:
            await self._has_come(topic, is_told=is_told)

    async def unsubscribe(self, stream: StreamKey) -> None:
        topic, members = topic_of(stream) or "", self._deployment.table.members
        known = self._topics.pop(stream, [])
        if self._has_presence(topic) and (known or await members.find(topic, self.connection_id) is not None):
            await self._presence().leaves(topic, self.user_id, self.connection_id)
            self._unsettled.setdefault(topic)
        if known:
            await members.remove(known)
        else:
            await members.remove_from(topic, self.connection_id)

    async def watch(self, stream: StreamKey) -> None:
        for member in self._topics.get(stream, ()):
            await self._presence().watch(member, self.send)

    async def settle(self) -> None:
        """Tell watchers of topics who has come, and who has left. Never raises: the sweeper does the rest."""
        for topic, user_id in self._unsettled.items():
            try:
                await self._presence().settle(topic, user_id)
            except PublishError as error:
                self._warn(error)

    async def _has_come(self, topic: str, *, is_told: bool) -> None:
        info, is_done = self._deployment.info(await self.grants()), False
        try:
            # The client is in the topic when it is answered, unless many come at once.
            is_done = await self._presence().has_come(
                topic, self._row, info, is_told=is_told, at_most_seconds=AWS_PRESENCE_ANSWER_SECONDS
            )
        except PublishError as error:
            self._warn(error)
        if not is_done:
            self._unsettled[topic] = self.user_id

    def _warn(self, error: PublishError) -> None:
        logger.warning("%s: who is in a topic is told later: %s", self.connection_id, error)

    def _has_presence(self, topic: str) -> bool:
        return self._deployment.topics.of(topic).presence

    async def close(self, error: TellwireError) -> None:
        logger.info("%s: closed: %s", self.connection_id, error)
        with last_moments():
            await self._management.expel(self.connection_id, protocol.refusal(error))
            if not isinstance(error, ConnectionUnknown):
                await self._deployment.table.remove(self._row)


async def find_peer(deployment: Deployment, event: Event, action: protocol.Action) -> ApiGatewayPeer | None:
    """Return the peer of an event. None: its connection is not stored, and got an error."""
    management = deployment.management(event)
    row, members = await asyncio.gather(deployment.find(event), _members(deployment, event, action))
    if row is not None:
        return ApiGatewayPeer(deployment, management, lambda: deployment.presence(event), row, members)
    connection_id = event["requestContext"]["connectionId"]
    refusal = protocol.refusal(ConnectionUnknown(), _request_id(action))
    if not deployment.is_new(event) or isinstance(action, protocol.Recover):
        # A client that gets no welcome would conclude that nothing is kept.
        logger.info("%s: closed: its connection is not stored", connection_id)
        await management.expel(connection_id, refusal)
    else:
        # Its row will be in the index in a moment.
        await management.post(connection_id, Payload.of(_answer_to_anybody(action) or refusal))
    return None


async def _members(deployment: Deployment, event: Event, action: protocol.Action) -> Sequence[TopicMember]:
    """Return the items of a connection in topics, as far as the action needs them."""
    connection_id = event["requestContext"]["connectionId"]
    if isinstance(action, protocol.ReadHistory | protocol.WatchPresence) and action.topic is not None:
        # It may have been subscribed a moment ago.
        found = await deployment.table.members.find(action.topic, connection_id)
        return [] if found is None else [found]
    return await deployment.table.members.of_connection(connection_id) if isinstance(action, _OF_TOPICS) else []


def _answer_to_anybody(action: protocol.Action) -> bytes | None:
    """Return the answer that does not depend on the user; None if there is no such answer."""
    match action:
        case protocol.Reply(payload):
            return payload
        case protocol.Ping(request_id=None):
            return protocol.pong(None)
        case _:
            return None


def _request_id(action: protocol.Action) -> str | None:
    return None if isinstance(action, protocol.Reply) else action.request_id


async def give_up(deployment: Deployment, event: Event, action: protocol.Action) -> None:
    """Tell a client that its request cannot be handled just now. One that has said `hello` is sent away: without a
    welcome it would conclude that nothing is kept.
    """
    management = deployment.management(event)
    connection_id = event["requestContext"]["connectionId"]
    topic = action.topic if isinstance(action, protocol.TopicRequest) else None
    refusal = protocol.refusal(HistoryUnavailable("try again in a few seconds"), _request_id(action), topic)
    with last_moments():
        if isinstance(action, protocol.Recover):
            await management.expel(connection_id, refusal)
        else:
            await management.post(connection_id, Payload.of(refusal))
