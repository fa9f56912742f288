"""Faults of AWS during a broadcast: other connections are reached, nothing is lost, all outcomes are counted."""

import asyncio
import itertools
import logging

import pytest

from tellwire.aws_api.deadline import deadline
from tellwire.engines.aws.carrier import AwsCarrier
from tellwire.engines.aws.connections import ConnectionRow
from tellwire.errors import AwsRefused, AwsUnreachable
from tellwire.messages import create_message, create_notification_message, encode_message
from tellwire.model import Delivery, Target, new_connection_id
from tests.aws_stack import Stack, read
from tests.faults import NEVER, NONE, Fault, Proxy, Request, gone, throttled
from tests.publications import publication

HELLO = encode_message(create_notification_message("Hello", "World", "info"))
USER = Target(user="user-1")


async def add_rows(stack: Stack, count: int, age_seconds: float = 60, user_id: str = "user-1") -> list[str]:
    """Store connections that are not there, made so long ago."""
    connected_at = stack.clock.now() - age_seconds
    ids = [new_connection_id() for _ in range(count)]
    puts = [
        {
            "PutRequest": {
                "Item": {
                    "userId": {"S": user_id},
                    "connectionId": {"S": connection_id},
                    "connectedAt": {"N": str(round(connected_at * 1000))},
                    "expiresAt": {"N": str(int(connected_at + 7200))},
                }
            }
        }
        for connection_id in ids
    ]
    for first in range(0, count, 25):
        batch = {stack.environ["CONNECTIONS_TABLE_NAME"]: puts[first : first + 25]}
        await stack.deployment.table._dynamodb.call("BatchWriteItem", RequestItems=batch)
    return ids


# --- DynamoDB ---------------------------------------------------------------------------------------------------------


async def test_a_table_that_is_throttled_for_a_moment_delays_and_loses_nothing(
    stack: Stack, carrier: AwsCarrier, dynamodb_proxy: Proxy
) -> None:
    async with stack.devices(2) as devices:
        hot = itertools.chain([throttled(), throttled(), Fault(status=500)], itertools.repeat(NONE))
        dynamodb_proxy.fault = lambda _: next(hot)
        assert await carrier.deliver(publication(USER, HELLO)) == Delivery(delivered=2)
        assert [await device.recv(decode=False) for device in devices] == [HELLO] * 2


async def test_the_connections_of_a_user_are_read_consistently(
    stack: Stack, carrier: AwsCarrier, dynamodb_proxy: Proxy
) -> None:
    async with stack.device():
        dynamodb_proxy.requests.clear()
        assert await carrier.deliver(publication(USER, HELLO)) == Delivery(delivered=1)
        assert [request.parameters["ConsistentRead"] for request in dynamodb_proxy.requests] == [True]


async def test_a_table_that_stays_throttled_is_an_error_that_says_so(
    stack: Stack, carrier: AwsCarrier, dynamodb_proxy: Proxy
) -> None:
    dynamodb_proxy.fault = lambda _: throttled()
    with pytest.raises(AwsUnreachable, match=r"DynamoDB Query.*ProvisionedThroughputExceededException"):
        await carrier.deliver(publication(USER, HELLO))
    assert dynamodb_proxy.seen("Query") == 6


async def test_rights_that_are_missing_are_named(stack: Stack, carrier: AwsCarrier, dynamodb_proxy: Proxy) -> None:
    dynamodb_proxy.fault = lambda _: Fault(
        status=400, body=b'{"__type": "com.amazon#AccessDeniedException", "Message": "not authorized: dynamodb:Query"}'
    )
    with pytest.raises(AwsRefused, match=r"DynamoDB Query: refused \(400 AccessDeniedException\): not authorized"):
        await carrier.deliver(publication(USER, HELLO))


async def test_rows_after_their_two_hours_are_ignored(stack: Stack, carrier: AwsCarrier, posts_proxy: Proxy) -> None:
    (stale,) = await add_rows(stack, 1, age_seconds=7300)
    assert await carrier.deliver(publication(USER, HELLO)) == Delivery()
    assert await carrier.deliver(publication(Target(all=True), HELLO)) == Delivery()
    assert await carrier.connections("user-1") == []
    assert posts_proxy.requests == []
    # By its id it is tried: only API Gateway knows.
    assert await carrier.deliver(publication(Target(connection=stale), HELLO)) == Delivery(gone=1)


async def test_a_user_with_more_connections_than_a_page_holds_is_reached_whole(
    stack: Stack, carrier: AwsCarrier, dynamodb_proxy: Proxy, posts_proxy: Proxy
) -> None:
    user_id = "u" * 2000
    ids = await add_rows(stack, 600, user_id=user_id)
    posts_proxy.fault = lambda _: Fault(status=200)
    dynamodb_proxy.requests.clear()
    assert await carrier.deliver(publication(Target(user=user_id), HELLO)) == Delivery(delivered=600)
    assert dynamodb_proxy.seen("Query") > 1
    assert {request.path.rpartition("/")[2].replace("%3D", "=") for request in posts_proxy.requests} == set(ids)
    assert await carrier.deliver(publication(Target(all=True), HELLO)) == Delivery(delivered=600)


async def test_a_page_without_items_is_not_the_last(carrier: AwsCarrier, stack: Stack, dynamodb_proxy: Proxy) -> None:
    key = b'{"userId": {"S": "user-1"}, "connectionId": {"S": "-"}}'
    empty = iter([Fault(status=200, body=b'{"Items": [], "LastEvaluatedKey": ' + key + b"}")])
    async with stack.device():
        dynamodb_proxy.fault = lambda _: next(empty, NONE)
        assert await carrier.deliver(publication(USER, HELLO)) == Delivery(delivered=1)


async def test_a_connection_that_is_not_in_the_index_yet_is_reached_by_its_id(
    stack: Stack, carrier: AwsCarrier, dynamodb_proxy: Proxy
) -> None:
    async with stack.device() as device:
        (info,) = await carrier.connections("user-1")
        dynamodb_proxy.fault = lambda request: (
            Fault(status=200, body=b'{"Items": []}') if "IndexName" in request.parameters else NONE
        )
        assert await carrier.deliver(publication(Target(connection=info.connection_id), HELLO)) == Delivery(delivered=1)
        assert await device.recv(decode=False) == HELLO


async def test_rows_of_another_program_do_no_harm(stack: Stack, carrier: AwsCarrier, dynamodb_proxy: Proxy) -> None:
    dynamodb = stack.deployment.table._dynamodb
    for connection_id, more in {
        new_connection_id(): {"connectedAt": {"S": "2026-11-25T10:00:00Z"}, "expiresAt": {"S": "soon"}},
        new_connection_id(): {},
    }.items():
        key = {"userId": {"S": "user-1"}, "connectionId": {"S": connection_id}}
        await dynamodb.call("PutItem", TableName=stack.environ["CONNECTIONS_TABLE_NAME"], Item=key | more)
    async with stack.device():
        assert await carrier.deliver(publication(USER, HELLO)) == Delivery(delivered=1, gone=2)
        assert len(await stack.user_ids()) == 1


# --- posts ------------------------------------------------------------------------------------------------------------


async def test_posts_that_api_gateway_is_too_busy_for_are_tried_again_and_arrive_once(
    stack: Stack, carrier: AwsCarrier, posts_proxy: Proxy
) -> None:
    async with stack.devices(3) as devices:
        busy = itertools.chain([Fault(status=429), Fault(status=500), Fault(status=503)] * 2, itertools.repeat(NONE))
        posts_proxy.fault = lambda _: next(busy)
        assert await carrier.deliver(publication(USER, HELLO)) == Delivery(delivered=3)
        marker = encode_message(create_message("marker", 0))
        await carrier.deliver(publication(USER, marker))
        for device in devices:
            assert [await device.recv(decode=False) for _ in range(2)] == [HELLO, marker]


async def test_a_failed_post_stops_no_other_and_is_reported(
    stack: Stack, carrier: AwsCarrier, posts_proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    async with stack.devices(3):
        unlucky = (await carrier.connections("user-1"))[1].connection_id.rstrip("=")
        posts_proxy.fault = lambda request: Fault(status=500) if unlucky in request.path else NONE
        with caplog.at_level(logging.WARNING, "tellwire.aws"):
            assert await carrier.deliver(publication(USER, HELLO)) == Delivery(delivered=2, failed=1)
        assert "1 of 3 connections did not take a message: POST @connections" in caplog.text


async def test_rights_to_post_that_are_missing_are_reported_once(
    stack: Stack, carrier: AwsCarrier, posts_proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    await add_rows(stack, 20)
    posts_proxy.fault = lambda _: Fault(
        status=403, body=b'{"Message": "not authorized"}', headers={"x-amzn-ErrorType": "AccessDeniedException"}
    )
    assert await carrier.deliver(publication(USER, HELLO)) == Delivery(failed=20)
    (record,) = caplog.records
    assert "403 AccessDeniedException" in record.getMessage()
    assert len(posts_proxy.requests) == 20


async def test_an_answer_that_is_lost_is_a_failure_and_no_second_message(
    stack: Stack, carrier: AwsCarrier, posts_proxy: Proxy
) -> None:
    async with stack.device() as device:
        await carrier.deliver(publication(USER, HELLO))
        posts_proxy.fault = lambda _: Fault(is_dropped=True)
        assert await carrier.deliver(publication(USER, HELLO)) == Delivery(failed=1)
        assert posts_proxy.seen("POST") == 2
        assert await device.recv(decode=False) == HELLO


async def test_a_storm_of_gone_connections_reaches_the_live_one_and_cleans_up(
    stack: Stack, carrier: AwsCarrier
) -> None:
    await add_rows(stack, 300)
    async with stack.device() as device:
        assert await carrier.deliver(publication(USER, HELLO)) == Delivery(delivered=1, gone=300)
        assert await device.recv(decode=False) == HELLO
        assert await carrier.deliver(publication(USER, HELLO)) == Delivery(delivered=1)


async def test_cleaning_up_without_the_right_to_is_quiet(
    stack: Stack, carrier: AwsCarrier, dynamodb_proxy: Proxy
) -> None:
    await add_rows(stack, 1)
    dynamodb_proxy.fault = lambda request: (
        Fault(status=400, body=b'{"__type": "x#AccessDeniedException"}') if request.action == "DeleteItem" else NONE
    )
    assert await carrier.deliver(publication(USER, HELLO)) == Delivery(gone=1)


async def test_a_connection_that_is_opening_is_not_removed(
    stack: Stack, carrier: AwsCarrier, posts_proxy: Proxy
) -> None:
    async with stack.device() as device:
        posts_proxy.fault = lambda _: gone()  # as before $connect has answered
        assert await carrier.deliver(publication(USER, HELLO)) == Delivery(gone=1)
        posts_proxy.fault = lambda _: NONE
        assert await carrier.deliver(publication(USER, HELLO)) == Delivery(delivered=1)
        assert await device.recv(decode=False) == HELLO


async def test_a_row_that_was_replaced_by_another_connections_is_not_removed(
    stack: Stack, carrier: AwsCarrier, posts_proxy: Proxy
) -> None:
    (connection_id,) = await add_rows(stack, 1)
    table = stack.deployment.table
    (row,) = [row async for page in table.of_user("user-1") for row in page]
    await table.add("user-1", connection_id, stack.clock.now(), stack.clock.now() + 60)
    await table.remove(row)
    assert await stack.user_ids() == ["user-1"]


# --- tokens that expire -----------------------------------------------------------------------------------------------


async def test_a_token_that_expires_mid_run_ends_the_connection_with_the_reason_first(
    stack: Stack, carrier: AwsCarrier
) -> None:
    async with stack.device(ttl_seconds=10) as short, stack.device(ttl_seconds=3600) as long:
        assert await carrier.deliver(publication(USER, HELLO)) == Delivery(delivered=2)
        stack.api.advance(15)
        assert await carrier.deliver(publication(USER, HELLO)) == Delivery(delivered=1, gone=1)
        assert await short.recv(decode=False) == HELLO
        assert (await read(short))["data"]["code"] == "TOKEN_EXPIRED"
        await short.wait_closed()
        assert short.close_code == 1000
        assert [await long.recv(decode=False) for _ in range(2)] == [HELLO] * 2
        assert await carrier.deliver(publication(USER, HELLO)) == Delivery(delivered=1)


@pytest.mark.parametrize("by_id", [True, False])
async def test_nothing_reaches_a_connection_whose_token_has_expired(
    stack: Stack, carrier: AwsCarrier, *, by_id: bool
) -> None:
    async with stack.device(ttl_seconds=10) as device:
        (info,) = await carrier.connections("user-1")
        stack.api.advance(15)
        target = Target(connection=info.connection_id) if by_id else Target(all=True)
        assert await carrier.deliver(publication(target, HELLO)) == Delivery(gone=1)
        assert [message async for message in device if b"Hello" in message.encode()] == []  # type: ignore[union-attr]


# --- time that runs out -----------------------------------------------------------------------------------------------


class StandingClock:
    """The time by which a function's time ends."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


async def test_a_function_whose_time_ends_mid_broadcast_stops_before_and_says_what_was_not_sent(
    stack: Stack, carrier: AwsCarrier, posts_proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_rows(stack, 800)
    clock = StandingClock()
    monkeypatch.setattr("tellwire.aws_api.deadline.time", clock)

    posts = itertools.count(1)

    def hundredth_is_the_last(_: Request) -> Fault:
        if next(posts) == 100:
            clock.now += 60
        return Fault(status=200)

    posts_proxy.fault = hundredth_is_the_last
    with deadline(60):
        delivery = await carrier.deliver(publication(USER, HELLO))
    # What was begun is brought to its end, and nothing is begun afterwards.
    assert posts_proxy.seen("POST") == delivery.delivered < 800
    assert delivery == Delivery(delivered=delivery.delivered, unsent=800 - delivery.delivered)


async def test_a_device_that_never_answers_delays_neither_the_others_nor_the_function(
    stack: Stack, carrier: AwsCarrier, posts_proxy: Proxy
) -> None:
    async with stack.devices(3) as devices:
        slow = (await carrier.connections("user-1"))[0].connection_id.rstrip("=")
        posts_proxy.fault = lambda request: Fault(until=NEVER) if slow in request.path else NONE
        # Far more than the others need.
        with deadline(5):
            delivering = asyncio.create_task(carrier.deliver(publication(USER, HELLO)))
            others = [asyncio.create_task(device.recv()) for device in devices]
            await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
            assert await delivering == Delivery(delivered=2, failed=1)
        for task in others:
            task.cancel()


async def test_without_time_for_the_lookup_nothing_is_sent(stack: Stack, carrier: AwsCarrier) -> None:
    async with stack.device():
        with deadline(0.4), pytest.raises(AwsUnreachable, match="no time left"):
            await carrier.deliver(publication(USER, HELLO))


async def test_a_deadline_between_two_pages_counts_as_unsent(
    stack: Stack, carrier: AwsCarrier, dynamodb_proxy: Proxy, posts_proxy: Proxy
) -> None:
    await add_rows(stack, 600, user_id="u" * 2000)
    pages = itertools.count()

    def second_page_is_slow(request: Request) -> Fault:
        return Fault(until=NEVER) if request.action == "Query" and next(pages) > 0 else NONE

    dynamodb_proxy.fault = second_page_is_slow
    posts_proxy.fault = lambda _: Fault(status=200)
    with deadline(5):
        delivery = await carrier.deliver(publication(Target(user="u" * 2000), HELLO))
    assert delivery.delivered > 0
    assert delivery.unsent == 1


def test_a_row_settles_in_thirty_seconds() -> None:
    row = ConnectionRow("u", "c", 1000.0, 8200.0, 8200.0, None)
    assert not row.is_settled(1029.0)
    assert row.is_settled(1030.0)
