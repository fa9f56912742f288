"""The contract of every `Carrier`: the hub of a node, the HTTP carrier that publishes to it, the carrier over nodes on
Redis, also as one that has no connection, and the carrier on AWS, whose connections are a local API Gateway's and are
stored in moto's DynamoDB and in Amazon's own.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack

import pytest
from websockets.asyncio.client import ClientConnection

from tellwire.broadcast import Broadcaster
from tellwire.broker import BrokerCarrier, count_connections
from tellwire.carriers.http import HttpCarrier
from tellwire.messages import create_message, create_notification_message, encode_message
from tellwire.model import Delivery, Target, new_connection_id
from tellwire.ports import Carrier
from tests.aws_stack import Stack, running_stack
from tests.conftest import API_KEY, Gateway, StartGateway, read
from tests.publications import publication
from tests.tools import until

HELLO = encode_message(create_notification_message("Hello", "World", "info"))


Devices = Gateway | Stack
"""The server that devices connect to: a gateway, or API Gateway."""


@pytest.fixture(scope="module")
def stacks() -> Iterator[Callable[[str], Stack]]:
    """The API on a DynamoDB, begun once: a test leaves nobody in it."""
    running: dict[str, Stack] = {}
    with ExitStack() as resources:

        def begin(dynamodb: str) -> Stack:
            if dynamodb not in running:
                running[dynamodb] = resources.enter_context(running_stack(dynamodb))
            return running[dynamodb]

        yield begin


@pytest.fixture(params=["hub", "http", "redis", "two nodes on redis", "aws on moto", "aws on DynamoDB Local"])
async def gateway(
    request: pytest.FixtureRequest, start_gateway: StartGateway, stacks: Callable[[str], Stack]
) -> AsyncIterator[Devices]:
    if request.param in ("hub", "http"):
        yield await start_gateway()
        return
    if "redis" in request.param:
        yield await start_gateway(**on_redis(request))
        return
    name = "moto_dynamodb" if request.param == "aws on moto" else "dynamodb_local"
    stack = stacks(request.getfixturevalue(name))
    yield stack
    async with asyncio.timeout(100):
        while await stack.user_ids():
            await asyncio.sleep(0.01)


def on_redis(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return the settings of nodes that belong together."""
    url = request.getfixturevalue("redis_server").url
    return {"engine": "redis", "redis_url": url, "redis_prefix": request.getfixturevalue("redis_prefix")}


@pytest.fixture
async def carrier(
    request: pytest.FixtureRequest, gateway: Devices, start_gateway: StartGateway
) -> AsyncIterator[Carrier]:
    kind = request.node.callspec.params["gateway"]
    if isinstance(gateway, Gateway) and kind == "hub":
        yield gateway.node.hub
        return
    if isinstance(gateway, Gateway) and "redis" in kind:
        other = gateway if kind == "redis" else await start_gateway(**on_redis(request))
        yield BrokerCarrier(other.node.engine.broker, other.node.engine.carrier)
        return
    over_http = gateway.carrier() if isinstance(gateway, Stack) else HttpCarrier(gateway.url, API_KEY)
    yield over_http
    await over_http.close()


async def received_payload(device: ClientConnection) -> bytes:
    """Receive the bytes of a message, without its place in the user's stream, which a gateway adds."""
    return re.sub(rb',"cursor":"[^"]*"}$', b"}", await device.recv(decode=False))


async def ids(carrier: Carrier, user_id: str) -> list[str]:
    return [info.connection_id for info in await carrier.connections(user_id)]


async def test_only_the_devices_of_the_user_get_the_bytes(carrier: Carrier, gateway: Devices) -> None:
    async with gateway.devices(3) as mine, gateway.device("user-2") as other:
        assert await carrier.deliver(publication(Target(user="user-1"), HELLO)) == Delivery(delivered=3)
        assert [await received_payload(device) for device in mine] == [HELLO] * 3
        await carrier.deliver(publication(Target(user="user-2"), encode_message(create_message("mine", 1))))
        assert (await read(other))["type"] == "mine"


async def test_a_user_without_connections_is_no_error(carrier: Carrier) -> None:
    assert await carrier.deliver(publication(Target(user="nobody"), HELLO)) == Delivery()


async def test_one_connection_is_one_device(carrier: Carrier, gateway: Devices) -> None:
    async with gateway.devices(2) as devices:
        # Which is which is not known: two that connect in the same millisecond are listed in any order.
        one_id, other_id = await ids(carrier, "user-1")
        assert await carrier.deliver(publication(Target(connection=one_id), HELLO)) == Delivery(delivered=1)
        other = encode_message(create_message("other", 2))
        assert await carrier.deliver(publication(Target(connection=other_id), other)) == Delivery(delivered=1)
        marker = encode_message(create_message("marker", 0))
        await carrier.deliver(publication(Target(user="user-1"), marker))
        got = [[await received_payload(device) for _ in range(2)] for device in devices]
        assert sorted(got) == sorted([[HELLO, marker], [other, marker]])


async def test_a_list_reaches_each_once_and_counts_the_gone(carrier: Carrier, gateway: Devices) -> None:
    async with gateway.devices(2) as devices:
        known = await ids(carrier, "user-1")
        wanted = (*known, known[0], new_connection_id(), "made-up")
        assert await carrier.deliver(publication(Target(connections=wanted), HELLO)) == Delivery(delivered=2, gone=2)
        marker = encode_message(create_message("marker", 0))
        await carrier.deliver(publication(Target(user="user-1"), marker))
        for device in devices:
            assert [await received_payload(device) for _ in range(2)] == [HELLO, marker]


async def test_an_unknown_connection_is_gone(carrier: Carrier) -> None:
    assert await carrier.deliver(publication(Target(connection=new_connection_id()), HELLO)) == Delivery(gone=1)
    assert await carrier.deliver(publication(Target(connections=()), HELLO)) == Delivery()


async def test_a_broadcast_to_all_reaches_every_connection(carrier: Carrier, gateway: Devices) -> None:
    assert await carrier.deliver(publication(Target(all=True), HELLO)) == Delivery()
    async with gateway.device("user-1") as one, gateway.device("user-2") as two:
        assert await carrier.deliver(publication(Target(all=True), HELLO)) == Delivery(delivered=2)
        assert await received_payload(one) == await received_payload(two) == HELLO


async def test_messages_arrive_in_the_order_they_were_sent(carrier: Carrier, gateway: Devices) -> None:
    async with gateway.device() as device:
        for number in range(200):
            await carrier.deliver(publication(Target(user="user-1"), encode_message(create_message("n", number))))
        assert [(await read(device))["data"] for _ in range(200)] == list(range(200))


async def test_one_dead_device_does_not_stop_the_others(carrier: Carrier, gateway: Devices) -> None:
    async with gateway.devices(3) as (first, dead, last):
        dead.transport.abort()
        delivery = await carrier.deliver(publication(Target(user="user-1"), HELLO))
        assert delivery.delivered >= 2
        assert await received_payload(first) == await received_payload(last) == HELLO
        async with asyncio.timeout(100):
            while len(await ids(carrier, "user-1")) != 2:
                await asyncio.sleep(0.01)
        again = await carrier.deliver(publication(Target(user="user-1"), encode_message(create_message("again", 1))))
        # On AWS the dead one is still in the table until `$disconnect` has run, and counts as gone.
        assert (again.delivered, again.failed, again.unsent) == (2, 0, 0)


async def test_a_long_message_arrives_whole(carrier: Carrier, gateway: Devices) -> None:
    payload = encode_message(create_message("blob", "ü" * 60_000))
    async with gateway.device(max_size=None) as device:
        assert await carrier.deliver(publication(Target(user="user-1"), payload)) == Delivery(delivered=1)
        assert await received_payload(device) == payload


async def test_connections_are_listed_oldest_first_with_their_times(carrier: Carrier, gateway: Devices) -> None:
    assert await carrier.connections("user-1") == []
    async with gateway.device(), gateway.device():
        first, second = await carrier.connections("user-1")
        assert first.connection_id != second.connection_id
        assert first.user_id == "user-1"
        assert first.connected_at <= second.connected_at < first.expires_at


async def test_the_connections_of_a_user_are_counted(carrier: Carrier, gateway: Devices) -> None:
    assert await count_connections(carrier, "user-1") == 0
    async with gateway.device(), gateway.device(), gateway.device("a/b ?"):
        assert await count_connections(carrier, "user-1") == 2
        broadcaster = Broadcaster(carrier)
        assert [await broadcaster.is_online(each) for each in ("user-1", "a/b ?", "user-2")] == [True, True, False]


async def test_user_ids_may_hold_anything(carrier: Carrier, gateway: Devices) -> None:
    for user_id in ("a/b", "auth0|5?x=1#y", "ü ñ", "%2F"):
        async with gateway.device(user_id) as device:
            assert [info.user_id for info in await carrier.connections(user_id)] == [user_id]
            assert await carrier.deliver(publication(Target(user=user_id), HELLO)) == Delivery(delivered=1)
            assert await received_payload(device) == HELLO


async def test_disconnect_closes_with_1000_as_api_gateway_does(carrier: Carrier, gateway: Devices) -> None:
    async with gateway.device() as device:
        (connection_id,) = await ids(carrier, "user-1")
        assert await carrier.disconnect(connection_id) is True
        await device.wait_closed()
        assert (device.close_code, device.close_reason) == (1000, "Connection Closed Normally")

    async def is_gone() -> bool:
        return await carrier.disconnect(connection_id) is False

    await until(is_gone)  # another node hears of it a moment later
    assert json.loads(HELLO)["type"] == "notification"
