"""A history on AWS, through the local API Gateway and Amazon's own DynamoDB: devices that come back miss nothing."""

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from tellwire.broadcast import Broadcaster, use_broadcaster
from tellwire.broker import BrokerCarrier, ComposedBroker
from tellwire.client import Client, ClientOptions
from tellwire.engines.aws.environment import open_history_table
from tellwire.engines.aws.history import DynamoHistory
from tellwire.errors import AwsRefused, UploadCancelled
from tellwire.limits import HELLO_BURST, HELLO_INTERVAL_SECONDS, MAX_SUBSCRIPTIONS
from tellwire.messages import (
    UploadProgress,
    UploadProgressMessage,
    create_message,
    create_notification_message,
    encode_message,
)
from tellwire.model import Delivery, Target, timestamp
from tellwire.producer import carrier_from_environment
from tellwire.progress import track_upload
from tellwire.publication import Publication, user_stream
from tests.aws_stack import QUICK, Stack, read
from tests.dynamodb import create_history_table, local_environment, new_table_name
from tests.faults import NEVER, NONE, Fault, Proxy, Request, faulty_proxy
from tests.publications import decode_message, for_user, publication

USER = Target(user="user-1")


@pytest.fixture
def stack(keeping_stack: Stack) -> Stack:
    return keeping_stack


@pytest.fixture
async def worker(stack: Stack) -> AsyncIterator[BrokerCarrier]:
    """The carrier of a worker."""
    yield stack.keeping_carrier()
    for carrier in stack.carriers:
        await carrier.close()


async def say(worker: BrokerCarrier, *numbers: int) -> None:
    for number in numbers:
        await worker.deliver(publication(USER, encode_message(create_message("n", number))))


async def hello(device: ClientConnection, cursor: str | None = None) -> dict[str, Any]:
    """Say hello; return the welcome, with the messages and states of all its pages. Nothing else must come."""
    await device.send(json.dumps({"type": "hello"} | ({} if cursor is None else {"cursor": cursor})))
    messages: list[Any] = []
    states: list[Any] = []
    while True:
        heard = await read(device)
        if heard["type"] != "welcome":
            messages.append(heard)
            continue
        messages += heard["data"]["messages"]
        states += heard["data"]["state"]
        if heard["data"]["last"]:
            return {**heard["data"], "messages": messages, "state": states}


def numbers(welcome: dict[str, Any]) -> list[int]:
    return [message["data"] for message in welcome["messages"]]


@asynccontextmanager
async def greeted(stack: Stack) -> AsyncIterator[ClientConnection]:
    async with stack.device() as device:
        await hello(device)
        yield device


def upload(progress: int, second: int = 0, **more: Any) -> bytes:
    data = {"uploadId": "u1", "fileName": "parts.csv", "progress": progress, "message": "", "status": "running"}
    data |= {"startedAt": "2026-11-25T09:00:00.000Z", "leaseSeconds": 30} | more
    message = {"type": "upload_progress", "data": data, "timestamp": f"2026-11-25T10:00:{second:02}.000Z"}
    return json.dumps({**message, "id": f"u1-{progress}-{second}"}, separators=(",", ":")).encode()


# --- coming back ------------------------------------------------------------------------------------------------------


async def test_a_device_that_was_away_gets_all_missed_messages_once_and_in_order(
    stack: Stack, worker: BrokerCarrier
) -> None:
    async with stack.device() as device:
        begin = await hello(device)
        assert (begin["recovered"], begin["messages"], begin["userId"]) == (True, [], "user-1")
        assert begin["heartbeatSeconds"] == 240
        await say(worker, 1, 2)
        heard = [await read(device) for _ in range(2)]
        assert [message["data"] for message in heard] == [1, 2]
        cursor = heard[-1]["cursor"]
    await say(worker, 3, 4, 5)
    async with stack.device() as device:
        back = await hello(device, cursor)
        assert (back["recovered"], numbers(back)) == (True, [3, 4, 5])
        await say(worker, 6)
        live = await read(device)
        assert (live["data"], live["cursor"]) == (6, f"{cursor.rpartition(':')[0]}:6")
        assert numbers(await hello(device, live["cursor"])) == []
        assert numbers(await hello(device, "0")) == [1, 2, 3, 4, 5, 6]
        unknown = await hello(device, "another:3")
        assert (unknown["recovered"], numbers(unknown)) == (False, [1, 2, 3, 4, 5, 6])


async def test_many_missed_messages_come_in_pages_that_api_gateway_carries(stack: Stack, worker: BrokerCarrier) -> None:
    for number in range(4):
        await worker.deliver(publication(USER, encode_message(create_message("n", [number, "x" * 60_000]))))
    await worker.deliver(publication(USER, encode_message(create_message("n", [4, "x" * 120_000]))))
    async with stack.device(max_size=128 * 1024) as device:
        welcome = await hello(device, "0")
        assert [message["data"][0] for message in welcome["messages"]] == [0, 1, 2, 3, 4]


async def test_a_device_that_has_just_connected_is_welcome_although_the_index_is_behind(
    stack: Stack, worker: BrokerCarrier, dynamodb_proxy: Proxy
) -> None:
    await say(worker, 1)
    behind = iter([True, True])

    def index_is_behind(request: Request) -> Fault:
        is_index = request.action == "Query" and request.parameters.get("IndexName") == "byConnection"
        return Fault(status=200, body=b'{"Items": []}') if is_index and next(behind, False) else NONE

    dynamodb_proxy.fault = index_is_behind
    async with stack.device() as device:
        assert numbers(await hello(device, "0")) == [1]
    assert next(behind, False) is False


async def test_a_history_that_cannot_be_read_closes_the_connection_without_details(
    stack: Stack, dynamodb_proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    denied = Fault(status=400, body=b'{"__type": "x#AccessDeniedException", "Message": "arn:aws:iam::1:role/secret"}')
    table = stack.environ["HISTORY_TABLE_NAME"]
    dynamodb_proxy.fault = lambda request: denied if request.parameters.get("TableName") == table else NONE
    async with stack.device() as device:
        for asked in ({"type": "ack", "cursor": "e:1"}, {"type": "cancel", "uploadId": "u1"}, {"type": "hello"}):
            await device.send(json.dumps(asked))
            answer = await read(device)
            assert answer["data"]["code"] == "HISTORY_UNAVAILABLE"
            assert "secret" not in str(answer)
        await device.wait_closed()
        assert device.close_code == 1000
    assert "AccessDeniedException" in caplog.text


async def test_a_message_that_cannot_be_kept_is_not_delivered(
    stack: Stack, worker: BrokerCarrier, dynamodb_proxy: Proxy
) -> None:
    async with greeted(stack) as device:
        dynamodb_proxy.fault = lambda request: Fault(status=500) if request.action == "PutItem" else NONE
        with pytest.raises(Exception, match="not available"):
            await say(worker, 1)
        dynamodb_proxy.fault = lambda _: NONE
        await say(worker, 2)
        assert (await read(device))["data"] == 2


async def test_the_environment_chooses_a_history(stack: Stack) -> None:
    carrier = carrier_from_environment(stack.environ)
    assert isinstance(carrier, BrokerCarrier)
    async with greeted(stack) as device:
        assert await carrier.deliver(publication(USER, encode_message(create_message("n", 1)))) == Delivery(delivered=1)
        assert (await read(device))["cursor"].endswith(":1")


async def test_a_message_that_is_published_again_is_delivered_once(stack: Stack, worker: BrokerCarrier) -> None:
    message = encode_message(create_notification_message("Done", "", "success"))
    again = json.dumps(json.loads(message) | {"id": "order-17"}).encode()
    async with greeted(stack) as device:
        assert await worker.deliver(publication(USER, again)) == Delivery(delivered=1)
        assert await worker.deliver(publication(USER, again)) == Delivery()
        assert len((await hello(device, "0"))["messages"]) == 2  # one of them live, before the welcome


# --- calls that do not come back --------------------------------------------------------------------------------------


async def test_a_hello_that_runs_out_of_time_sends_its_client_away(stack: Stack, dynamodb_proxy: Proxy) -> None:
    async with stack.device() as device:
        (row,) = [row async for page in stack.deployment.table.of_user("user-1") for row in page]
        domain, _, stage = stack.api.management_url.removeprefix("http://").partition("/")
        place = {"connectionId": row.connection_id, "connectedAt": row.connected_at * 1000}
        event = {
            "requestContext": {**place, "domainName": domain, "stage": stage},
            "body": '{"type": "hello", "cursor": "e:1"}',
        }
        dynamodb_proxy.fault = lambda request: (
            Fault(until=NEVER) if request.parameters.get("TableName") == stack.environ["HISTORY_TABLE_NAME"] else NONE
        )
        began_at = time.monotonic()
        await asyncio.to_thread(stack.default, event, SimpleNamespace(get_remaining_time_in_millis=lambda: 4000))
        assert time.monotonic() - began_at < 4
        assert (await read(device))["data"]["code"] == "HISTORY_UNAVAILABLE"
        await device.wait_closed()
        assert device.close_code == 1000


@pytest.mark.parametrize("which", ["log", "state"])
async def test_a_post_whose_answer_is_lost_is_repeated_where_a_client_hears_it_once(stack: Stack, which: str) -> None:
    with faulty_proxy(stack.api.management_url) as posts:
        carrier = stack.carrier(AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI=posts.url)
        history = DynamoHistory(open_history_table(stack.environ, QUICK), stack.clock)
        broker = ComposedBroker(history, carrier)
        message = create_message("n", 1) if which == "log" else decode_message(upload(100, status="complete"))
        lost = iter([Fault(is_dropped=True)])
        async with greeted(stack) as device:
            posts.fault = lambda _: next(lost, NONE)
            published = await broker.publish(publication(USER, message))
            assert published.delivery == Delivery(delivered=1)
            assert posts.seen("POST") == 2
            assert published.entry is not None
            assert await device.recv(decode=False) == published.entry.payload
        await history.close()


async def test_a_state_that_did_not_arrive_is_noticed_by_the_pong(stack: Stack) -> None:
    # Its worker ends between the history and the posts.
    history = DynamoHistory(open_history_table(stack.environ, QUICK), stack.clock)
    options = ClientOptions(heartbeat_seconds=0.5, answer_timeout_seconds=30)
    async with Client(stack.api.url, lambda why: stack.token(), options=options) as client, asyncio.timeout(60):
        while client.state.recovered is None:
            await asyncio.sleep(0.01)
        last = await history.append(publication(USER, upload(100, status="complete")))
        assert last is not None
        heard = await anext(aiter(client))
        assert (heard.type, heard.data["status"], heard.version) == ("upload_progress", "complete", last.number)
    await history.close()


async def test_a_connections_table_that_cannot_be_read_is_an_error(stack: Stack) -> None:
    # The message is kept: devices get it when they come back. But a missing table or right must not look like success.
    history = DynamoHistory(open_history_table(stack.environ, QUICK), stack.clock)
    broker = ComposedBroker(history, stack.carrier(CONNECTIONS_TABLE_NAME="nope"))
    with pytest.raises(AwsRefused, match="ResourceNotFoundException"):
        await broker.publish(publication(USER, create_message("n", 1)))
    async with stack.device() as device:
        assert numbers(await hello(device, "0")) == [1]
    await history.close()


async def test_hellos_of_a_connection_have_a_rate(stack: Stack) -> None:
    async with stack.device() as device:
        for _ in range(HELLO_BURST):
            limits = (await hello(device, "0"))["limits"]
            assert limits == {"helloIntervalSeconds": HELLO_INTERVAL_SECONDS, "maxSubscriptions": MAX_SUBSCRIPTIONS}
        stack.api.advance(HELLO_INTERVAL_SECONDS + 0.1)
        await hello(device, "0")
        await device.send('{"type": "hello"}')
        assert (await read(device))["data"]["code"] == "TOO_MANY_REQUESTS"
        await device.wait_closed()
        assert device.close_code == 1000


async def test_dismissals_of_all_that_has_ended_count_as_hellos_since_they_read_as_much(stack: Stack) -> None:
    async with stack.device() as device:
        for number in range(HELLO_BURST + 1):
            await device.send(f'{{"type": "dismiss", "endedUpTo": 5, "id": "{number}"}}')
            answer = await read(device)
            assert (answer["data"]["id"], answer["data"].get("code")) == (
                str(number),
                "TOO_MANY_REQUESTS" if number == HELLO_BURST else None,
            )
        # Nobody concludes anything from it, so the connection stays.
        await device.send('{"type": "ping"}')
        assert (await read(device))["type"] == "pong"


# --- what is seen, and cancelled --------------------------------------------------------------------------------------


async def test_the_seen_state_of_one_device_reaches_the_others(stack: Stack, worker: BrokerCarrier) -> None:
    async with greeted(stack) as phone, greeted(stack) as laptop:
        await say(worker, 1)
        cursor = (await read(phone))["cursor"]
        assert (await read(laptop))["cursor"] == cursor
        for cursor_of_device in ("nonsense", cursor, cursor):
            await phone.send(json.dumps({"type": "ack", "cursor": cursor_of_device}))
        heard = [await read(device) for device in (phone, laptop)]
        assert [(each["type"], each["data"]) for each in heard] == [("seen", {"cursor": cursor})] * 2
        await phone.send('{"type": "ping"}')
        assert (await read(phone))["type"] == "pong"  # and nothing for the second ack
    async with stack.device() as tablet:
        assert [state["data"] for state in (await hello(tablet))["state"]] == [{"cursor": cursor}]


async def test_a_cancelled_upload_stops_its_worker_and_every_device_knows(stack: Stack, worker: BrokerCarrier) -> None:
    async def work(is_counting: asyncio.Event) -> None:
        with use_broadcaster(Broadcaster(worker)):
            async with track_upload("user-1", "u1", "parts.csv", total_rows=1000, every_rows=1) as upload:
                async for row in upload.count(range(1000)):
                    if row == 2:
                        is_counting.set()
                    await asyncio.sleep(0.002)

    async with greeted(stack) as phone, greeted(stack) as laptop:
        is_counting = asyncio.Event()
        working = asyncio.create_task(work(is_counting))
        await is_counting.wait()
        await phone.send('{"type": "cancel", "uploadId": "u1"}')
        with pytest.raises(UploadCancelled):
            await working
        for device in (phone, laptop):
            while (last := await read(device))["data"]["status"] == "running":
                pass
            assert last["data"]["status"] == "cancelled"
            assert last["key"] == "upload:u1"
    async with stack.device() as tablet:
        assert [state["data"]["status"] for state in (await hello(tablet))["state"]] == ["cancelled"]


async def test_a_cancel_of_an_unknown_or_ended_upload_gets_an_error(stack: Stack, worker: BrokerCarrier) -> None:
    async with greeted(stack) as device:
        await device.send('{"type": "cancel", "uploadId": "never"}')
        assert (await read(device))["data"]["code"] == "UPLOAD_UNKNOWN"
        await worker.deliver(publication(USER, upload(100, status="complete")))
        await read(device)
        await device.send('{"type": "cancel", "uploadId": "u1"}')
        assert (await read(device))["data"]["code"] == "UPLOAD_OVER"


# --- workers that fall silent -----------------------------------------------------------------------------------------


async def test_an_upload_of_a_dead_worker_stalls_and_then_fails(stack: Stack, worker: BrokerCarrier) -> None:
    async with greeted(stack) as device:
        await worker.deliver(publication(USER, upload(40)))
        assert (await read(device))["data"]["status"] == "running"
        assert await asyncio.to_thread(stack.sweep) == 0
        stack.api.advance(31)
        assert await asyncio.to_thread(stack.sweep) == 1
        assert (await read(device))["data"]["status"] == "stalled"
        assert await asyncio.to_thread(stack.sweep) == 0
        stack.api.advance(31)
        assert await asyncio.to_thread(stack.sweep) == 1
        failed, lost = await read(device), await read(device)
        assert (failed["data"]["status"], failed["data"]["progress"]) == ("failed", 40)
        assert (lost["data"]["code"], lost["cursor"].rpartition(":")[2]) == ("UPLOAD_LOST", "1")
        stack.api.advance(31)
        assert await asyncio.to_thread(stack.sweep) == 0


async def test_a_stalled_upload_continues_with_its_workers_next_state(stack: Stack, worker: BrokerCarrier) -> None:
    async with greeted(stack) as device:
        await worker.deliver(publication(USER, upload(40)))
        stack.api.advance(31)
        await asyncio.to_thread(stack.sweep)
        await worker.deliver(publication(USER, upload(50, second=1)))
        heard = [await read(device) for _ in range(3)]
        assert [message["data"]["status"] for message in heard] == ["running", "stalled", "running"]
        versions = [message["version"] for message in heard]
        assert versions == sorted(set(versions))


async def test_a_client_that_comes_back_learns_of_a_dead_worker_without_a_sweep(
    stack: Stack, worker: BrokerCarrier
) -> None:
    await worker.deliver(publication(USER, upload(40)))
    stack.api.advance(61)
    async with stack.device() as device:
        await device.send('{"type": "hello", "cursor": "0"}')
        heard = [await read(device) for _ in range(3)]
        assert [message["type"] for message in heard] == ["upload_progress", "error", "welcome"]
        welcome = heard[-1]["data"]
        assert [state["data"]["status"] for state in welcome["state"]] == ["failed"]
        assert [message["data"]["code"] for message in welcome["messages"]] == ["UPLOAD_LOST"]


async def test_a_sweep_publishes_all_it_can_and_raises_the_first_error(
    stack: Stack, worker: BrokerCarrier, dynamodb_proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    for user_id in ("anna", "ben"):
        await worker.deliver(publication(Target(user=user_id), upload(40)))
    stack.api.advance(31)

    def refuses_anna(request: Request) -> Fault:
        is_hers = (
            request.action == "PutItem" and request.parameters["Item"].get("streamKey", {}).get("S") == "user:anna"
        )
        return Fault(status=400, body=b'{"__type": "x#AccessDeniedException"}') if is_hers else NONE

    dynamodb_proxy.fault = refuses_anna
    with caplog.at_level(logging.WARNING, "tellwire.aws"), pytest.raises(Exception, match="AccessDenied"):
        await asyncio.to_thread(stack.sweep)
    dynamodb_proxy.fault = lambda _: NONE
    assert await asyncio.to_thread(stack.sweep) == 1  # Ben's was said


async def test_many_workers_share_an_upload_from_processes_of_their_own(dynamodb_local: str) -> None:
    table_name = new_table_name("history")
    create_history_table(dynamodb_local, table_name)
    environ = local_environment(dynamodb_local) | {"HISTORY_TABLE_NAME": table_name}
    of = 16

    def state(number: int, rows: int) -> Publication:
        data = UploadProgress(
            upload_id="u1",
            file_name="f.csv",
            progress=10 * rows,
            message="",
            status="complete" if rows == 10 else "running",
            current_row=rows,
            run="import-17",
            part=f"{number}/{of}",
        )
        return for_user("anna", UploadProgressMessage(data, timestamp(1_800_000_000 + rows)))

    async def work(number: int) -> list[str]:
        history = DynamoHistory(open_history_table(environ))
        entries = [await history.append(state(number, rows)) for rows in range(11)]
        await history.close()
        return [str(entry and entry.status) for entry in entries]

    statuses = [status for each in await asyncio.gather(*map(work, range(1, of + 1))) for status in each]
    assert Counter(statuses) == {"running": 11 * of - 1, "complete": 1}
    history = DynamoHistory(open_history_table(environ))
    last = await history.state(user_stream("anna"), "upload:u1")
    await history.close()
    assert last is not None
    assert json.loads(last.payload)["data"]["currentRow"] == 10 * of
