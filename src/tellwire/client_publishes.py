"""Publishes of clients to topics.

    publish {topic, message} ─▶ the right of its user ─▶ a message of a custom type, `from` the user ─▶ broker ─▶ `ok`

The id of the message is made of the user's and of the request's, so a request that is repeated is kept once. A client
cannot choose the message's id, its time or its sender.
"""

from hashlib import sha256

import msgspec

from tellwire import protocol
from tellwire.errors import TopicForbidden
from tellwire.messages import create_message
from tellwire.model import Target, new_message_id
from tellwire.own_data import require_shallow
from tellwire.ports import Broker, Peer, TopicAuthorizer
from tellwire.publication import Publication
from tellwire.text import require_topic

_FORBIDDEN = (
    "this user's client may not publish to it: no rule of TELLWIRE_TOPICS lets it, or the claim `topics` of the token "
    "has no pattern for it under `publish`"
)


class ClientPublishes:
    """The handling of `publish` requests."""

    def __init__(self, broker: Broker, authorizer: TopicAuthorizer) -> None:
        self._broker = broker
        self._authorizer = authorizer

    async def perform(self, request: protocol.Publish, peer: Peer) -> None:
        """Publish a client's message.

        Raises:
            InvalidMessage: the topic's name, the type or the data is not valid.
            MessageTooBig: it is over 128 KiB with the fields that are added.
            TopicForbidden: its user may not.
            TopicRightsUnavailable: nobody knows, just now.
            HistoryUnavailable: it cannot be kept, and was not delivered.
        """
        topic = require_topic("topic", request.topic)
        require_shallow("message.data", msgspec.json.encode(request.data))
        message = create_message(request.type, request.data)
        if not await self._authorizer.may_publish(await peer.grants(), topic):
            raise TopicForbidden(topic, _FORBIDDEN)
        message = msgspec.structs.replace(message, id=_message_id(peer.user_id, topic, request.request_id))
        await self._broker.publish(Publication.of(Target(topic=topic), message, from_user=peer.user_id))


def _message_id(user_id: str, topic: str, request_id: str | None) -> str:
    if request_id is None:
        return new_message_id()
    return "c" + sha256(msgspec.json.encode([user_id, topic, request_id])).hexdigest()[:31]
