"""Broadcasts to many connections, page by page: they stop when the time of a function is short, and go on later."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from urllib.parse import unquote

import pytest

from tellwire.aws.resuming import _carrier
from tellwire.aws.resuming import resume_broadcast as resume_async
from tellwire.aws.sync import resume_broadcast
from tellwire.aws_api.deadline import deadline
from tellwire.engines.aws.carrier import AwsCarrier
from tellwire.engines.aws.concurrently import each
from tellwire.engines.aws.connections import ConnectionRow
from tellwire.errors import AwsRefused, AwsUnreachable, InvalidMessage
from tellwire.messages import create_message, encode_message
from tellwire.model import Delivery, Target, new_connection_id
from tests.aws_stack import Stack, read
from tests.faults import NEVER, NONE, Fault, Proxy, Request, gone
from tests.publications import publication

EVERYONE = Target(all=True)
NEWS = encode_message(create_message("news", {"text": "ü"}))
COUNT = 700


class StandingClock:
    """Real time that stands still, and moves when a test moves it."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


async def add_rows(stack: Stack, count: int = COUNT) -> list[str]:
    """Store connections that are not there."""
    ids = [new_connection_id() for _ in range(count)]
    connected_at = stack.clock.now() - 60
    end = str(int(connected_at + 7200))
    puts = [
        {
            "PutRequest": {
                "Item": {
                    "userId": {"S": f"user-{number % 50}"},
                    "connectionId": {"S": connection_id},
                    "connectedAt": {"N": str(round(connected_at * 1000))},
                    "expiresAt": {"N": end},
                }
            }
        }
        for number, connection_id in enumerate(ids)
    ]
    for first in range(0, count, 25):
        batch = {stack.environ["CONNECTIONS_TABLE_NAME"]: puts[first : first + 25]}
        await stack.deployment.table._dynamodb.call("BatchWriteItem", RequestItems=batch)
    return ids


def connection_of(request: Request) -> str:
    return unquote(request.path.rpartition("/")[2])


def taken(posted: Counter[str], ends_after: int, clock: StandingClock) -> Callable[[Request], Fault]:
    """Take every post, and let the time of the function end with one of them."""
    numbers = itertools.count(1)

    def take(request: Request) -> Fault:
        posted[connection_of(request)] += 1
        if next(numbers) % ends_after == 0:
            clock.now += 60
        return Fault(status=200)

    return take


async def add_members(stack: Stack) -> list[str]:
    """Store members of a topic that are not there, some of them before and some after it got more shards."""
    ids: list[str] = []
    members = stack.deployment.table.members
    for shards in (1, 2, 4):
        several = [new_connection_id() for _ in range(COUNT // 3)]
        await each(several, lambda connection_id: members.add("news", row_of(stack, connection_id)))
        ids += several
        await members._set_shards("news", 2 * shards)
    return ids


def row_of(stack: Stack, connection_id: str) -> ConnectionRow:
    now = stack.clock.now()
    return ConnectionRow("user-1", connection_id, now, now + 7200, now + 3600, None)


@pytest.mark.parametrize("target", [EVERYONE, Target(topic="news")], ids=["all", "topic"])
async def test_a_broadcast_goes_on_where_the_time_of_a_function_ended(
    stack: Stack, carrier: AwsCarrier, posts_proxy: Proxy, monkeypatch: pytest.MonkeyPatch, target: Target
) -> None:
    ids = await (add_rows(stack) if target.all else add_members(stack))
    clock = StandingClock()
    monkeypatch.setattr("tellwire.aws_api.deadline.time", clock)
    posted: Counter[str] = Counter()
    posts_proxy.fault = taken(posted, 200, clock)
    with deadline(60):
        delivery = await carrier.deliver(publication(target, NEWS))
    total, runs = delivery, 1
    while delivery.resume is not None:
        assert delivery.unsent > 0
        with deadline(60):
            delivery = await carrier.resume(delivery.resume)
        total, runs = total + delivery, runs + 1
    assert runs == 4
    assert (total.delivered, total.failed, total.gone) == (len(ids), 0, 0)
    assert posted == Counter(ids)  # each once


async def test_posts_that_the_end_of_the_time_has_cut_are_made_again(
    stack: Stack, carrier: AwsCarrier, posts_proxy: Proxy
) -> None:
    ids = await add_rows(stack, 100)
    slow = set(ids[::10])
    posts_proxy.fault = lambda request: Fault(until=NEVER) if connection_of(request) in slow else Fault(status=200)
    with deadline(3):
        delivery = await carrier.deliver(publication(EVERYONE, NEWS))
    assert (delivery.failed, delivery.resume is None) == (0, False)
    posted: Counter[str] = Counter()
    posts_proxy.fault = taken(posted, 10_000, StandingClock())
    rest = await carrier.resume(delivery.resume or "")
    assert slow <= posted.keys()
    assert rest.resume is None
    assert rest.delivered + delivery.delivered >= 100


async def test_without_time_for_any_nothing_is_sent_and_all_can_be(stack: Stack, carrier: AwsCarrier) -> None:
    async with stack.device() as device:
        with deadline(0.4):
            delivery = await carrier.deliver(publication(EVERYONE, NEWS))
        assert (delivery.delivered, delivery.unsent) == (0, 1)
        assert await carrier.resume(delivery.resume or "") == Delivery(delivered=1)
        assert (await read(device))["type"] == "news"


async def test_a_table_that_cannot_be_read_is_an_error_unless_some_have_got_it(
    stack: Stack, carrier: AwsCarrier, dynamodb_proxy: Proxy, posts_proxy: Proxy
) -> None:
    async with stack.devices(1):
        dynamodb_proxy.fault = lambda request: Fault(status=500) if request.action == "Scan" else NONE
        with pytest.raises(AwsUnreachable):
            await carrier.deliver(publication(EVERYONE, NEWS))
        refusal = b'{"__type": "com.amazon#AccessDeniedException", "Message": "not authorized: dynamodb:Scan"}'
        dynamodb_proxy.fault = lambda _: Fault(status=400, body=refusal)
        with pytest.raises(AwsRefused, match="not authorized"):
            await carrier.deliver(publication(EVERYONE, NEWS))


async def test_connections_that_are_gone_are_removed_and_not_asked_again(
    stack: Stack, carrier: AwsCarrier, posts_proxy: Proxy
) -> None:
    await add_rows(stack, 30)
    posts_proxy.fault = lambda _: gone()
    assert await carrier.deliver(publication(EVERYONE, NEWS)) == Delivery(gone=30)
    assert await carrier.deliver(publication(EVERYONE, NEWS)) == Delivery()


async def test_a_function_goes_on_with_a_token_of_another(
    stack: Stack, carrier: AwsCarrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in stack.environ.items():
        monkeypatch.setenv(name, value)
    async with stack.device() as device:
        with deadline(0.4):
            token = (await carrier.deliver(publication(EVERYONE, NEWS))).resume or ""
        assert await asyncio.to_thread(resume_broadcast, token) == Delivery(delivered=1)
        assert (await read(device))["type"] == "news"
        with pytest.raises(InvalidMessage, match="resume: got 'abc'"):
            await resume_async("abc")
        _carrier.cache_clear()
