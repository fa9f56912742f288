"""Publishes of clients: the right to them, and the message that others get."""

import json
from typing import Any, cast

import pytest

from tellwire import protocol
from tellwire.client_publishes import ClientPublishes
from tellwire.errors import InvalidMessage, MessageTooBig, TopicForbidden, TopicRightsUnavailable
from tellwire.model import Delivery, Identity, Target
from tellwire.ports import Broker, Peer, Published, TopicAuthorizer
from tellwire.publication import Publication


class Recorded:
    """A broker, a peer and an authorizer in one."""

    user_id = "u1"

    def __init__(self, may: bool | None = True) -> None:
        self.may = may
        self.published: list[Publication] = []

    async def publish(self, publication: Publication) -> Published:
        self.published.append(publication)
        return Published(None, Delivery())

    async def grants(self) -> Identity:
        return Identity(self.user_id, 5.0)

    async def may_publish(self, identity: Identity, topic: str) -> bool:
        if self.may is None:
            raise TopicRightsUnavailable(topic)
        return self.may and (identity.user_id, topic) == ("u1", "chat")

    async def ask(self, topic: str = "chat", kind: str = "said", data: Any = 1, request_id: str | None = "7") -> None:
        publishes = ClientPublishes(cast("Broker", self), cast("TopicAuthorizer", self))
        request = protocol.Publish(topic, kind, data, request_id=request_id)
        await publishes.perform(request, cast("Peer", self))

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(each.payload) for each in self.published]


async def test_a_message_has_its_topic_and_the_user_it_is_from() -> None:
    server = Recorded()
    await server.ask(data={"text": "Hello", "from": "somebody else"})
    (message,) = server.messages
    assert (message["type"], message["topic"], message["from"]) == ("said", "chat", "u1")
    assert message["data"]["text"] == "Hello"
    assert server.published[0].target == Target(topic="chat")


async def test_a_repeated_request_is_the_same_message_another_one_is_not() -> None:
    server = Recorded()
    for request_id in ("7", "7", "8", None, None):
        await server.ask(request_id=request_id)
    ids = [each.id for each in server.published]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 4
    server.user_id = "u2"
    with pytest.raises(TopicForbidden):
        await server.ask()


@pytest.mark.parametrize(("may", "error"), [(False, TopicForbidden), (None, TopicRightsUnavailable)])
async def test_who_may_not_publishes_nothing(may: bool | None, error: type[Exception]) -> None:
    server = Recorded(may)
    with pytest.raises(error):
        await server.ask()
    assert server.published == []


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"topic": "chat room"}, InvalidMessage),
        ({"topic": "*"}, InvalidMessage),
        ({"topic": "x" * 257}, InvalidMessage),
        ({"kind": "notification"}, InvalidMessage),
        ({"kind": "upload_progress"}, InvalidMessage),
        ({"kind": "subscribed"}, InvalidMessage),
        ({"kind": ""}, InvalidMessage),
        ({"data": "x" * 131_072}, MessageTooBig),
    ],
)
async def test_a_message_that_is_not_valid_is_refused(wrong: dict[str, Any], error: type[Exception]) -> None:
    server = Recorded()
    with pytest.raises(error):
        await server.ask(**wrong)
    assert server.published == []


async def test_data_that_is_too_deep_for_devices_is_refused() -> None:
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    with pytest.raises(InvalidMessage, match=r"message\.data"):
        await Recorded().ask(data=deep)
