"""Faults of a history in DynamoDB: no message is lost or replayed twice, and no state is older than the one before.

Each test runs with Amazon's own DynamoDB and, unless it is a race, with moto's: there two writes at once may both find
that their condition holds. A proxy before it misbehaves.
"""

import asyncio
import itertools
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest

from tellwire.aws_api.client import Retries
from tellwire.aws_api.dynamodb import DynamoDb
from tellwire.broker import ComposedBroker
from tellwire.engines.aws.environment import open_history_table
from tellwire.engines.aws.history import DynamoHistory
from tellwire.entry import Entry
from tellwire.errors import HistoryUnavailable, MessageTooBig, RequestRunning
from tellwire.lease_expiry import LeaseExpiry
from tellwire.limits import HISTORY_MAX_AGE_SECONDS, MAX_MESSAGE_BYTES, MAX_USER_ID_BYTES, REQUEST_KEEP_SECONDS
from tellwire.marks import marked, marks_state
from tellwire.messages import create_message
from tellwire.position import START
from tellwire.publication import Publication, user_stream
from tellwire.stream import HistoryPage, Replay
from tellwire.testing import FakeClock, MemoryCarrier
from tellwire.wire import Marks
from tests.dynamodb import create_history_table, dynamodb_client, local_environment, new_table_name
from tests.faults import NONE, Fault, Proxy, Request, faulty_proxy, throttled
from tests.publications import acknowledge, for_user

ANNA = "anna"
QUICK = Retries(attempts=4, first_wait_seconds=0.001, longest_wait_seconds=0.01)
MakeHistory = Callable[..., DynamoHistory]

amazons_own = pytest.mark.parametrize("dynamodb", ["dynamodb-local"], indirect=True)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def proxy(dynamodb: str) -> Iterator[Proxy]:
    with faulty_proxy(dynamodb) as proxy:
        yield proxy


@pytest.fixture
def table_name(dynamodb: str) -> str:
    name = new_table_name("history")
    create_history_table(dynamodb, name)
    return name


@pytest.fixture
async def make_history(proxy: Proxy, table_name: str, clock: FakeClock) -> AsyncIterator[MakeHistory]:
    """Make the history of a process of its own."""
    async with AsyncExitStack() as stack:

        def make(hole_seconds: float = 0.01, on: FakeClock = clock) -> DynamoHistory:
            environ = local_environment(proxy.url) | {"HISTORY_TABLE_NAME": table_name}
            history = DynamoHistory(open_history_table(environ, QUICK), on, hole_seconds)
            stack.push_async_callback(history.close)
            return history

        yield make


@pytest.fixture
def history(make_history: MakeHistory) -> DynamoHistory:
    return make_history()


def note(data: Any, message_id: str | None = None) -> Publication:
    message = create_message("note", data)
    return for_user("anna", msgspec.structs.replace(message, id=message_id) if message_id else message)


def progress(value: float, second: int = 0, status: str = "running", lease: float | None = None) -> Publication:
    data: dict[str, Any] = {"uploadId": "u1", "fileName": "f.csv", "progress": value, "message": "", "status": status}
    data |= {} if lease is None else {"leaseSeconds": lease, "startedAt": "2026-11-25T09:00:00.000Z"}
    at = f"2026-11-25T10:{second // 60:02}:{second % 60:02}.000Z"
    message = {"type": "upload_progress", "data": data, "timestamp": at, "id": f"{value}-{second}-{status}"}
    return for_user("anna", json.dumps(message).encode())


def replayed(replay: Replay) -> list[Any]:
    return [json.loads(message)["data"] for message in replay.messages]


def offset(replay: Replay) -> int:
    return int(replay.cursor.rpartition(":")[2])


def sort_key_of(request: Request) -> str:
    """Return the sort key that a request writes, or nothing."""
    parameters = request.parameters
    if request.action == "PutItem":
        return str(parameters["Item"]["sk"]["S"])
    return str(parameters["Key"]["sk"]["S"]) if request.action == "UpdateItem" else ""


def is_message(request: Request) -> bool:
    return sort_key_of(request).startswith("log#") and "payload" in request.parameters.get("Item", {})


def once(which: Callable[[Request], bool], fault: Fault) -> Callable[[Request], Fault]:
    """Set the fault of the first request of a kind."""
    left = [fault]
    return lambda request: left.pop() if left and which(request) else NONE


def lost_answer(dynamodb: str, which: Callable[[Request], bool]) -> Callable[[Request], Fault]:
    """Lose the answer to the first request of a kind, after DynamoDB has acted on it."""
    client, left = dynamodb_client(dynamodb), [True]
    operations = {"PutItem": client.put_item, "UpdateItem": client.update_item}

    def fault(request: Request) -> Fault:
        if not left or not which(request):
            return NONE
        left.pop()
        operations[request.action](**request.parameters)
        return Fault(is_dropped=True)

    return fault


BROKEN = Fault(status=400, body=b'{"__type": "x#AccessDeniedException", "message": "no"}')


# --- an offset without a message --------------------------------------------------------------------------------------


async def test_a_writer_that_dies_before_its_message_leaves_a_hole_that_is_waited_for_once(
    history: DynamoHistory, proxy: Proxy
) -> None:
    await history.append(for_user(ANNA, note(1)))
    cursor = (await history.read(user_stream(ANNA), None)).cursor
    proxy.fault = once(is_message, BROKEN)
    with pytest.raises(HistoryUnavailable):
        await history.append(for_user(ANNA, note("never")))
    await history.append(for_user(ANNA, note(3)))
    for _ in range(2):
        for asked, expected in ((cursor, [3]), (START, [1, 3])):
            replay = await history.read(user_stream(ANNA), asked)
            assert (replay.recovered, replayed(replay), offset(replay)) == (True, expected, 3)
    assert len([request for request in proxy.requests if sort_key_of(request) == "log#000000000000002"]) == 2


@pytest.mark.parametrize("cursor", [None, START])
async def test_a_late_writer_is_issued_another_offset(
    make_history: MakeHistory, proxy: Proxy, cursor: str | None
) -> None:
    writer, reader = make_history(), make_history()
    is_read = threading.Event()
    proxy.fault = once(is_message, Fault(until=is_read))
    writing = asyncio.create_task(writer.append(for_user(ANNA, note("late"))))
    while not any(map(is_message, proxy.requests)):
        await asyncio.sleep(0.005)
    before = await reader.read(user_stream(ANNA), cursor)
    is_read.set()
    assert (before.recovered, replayed(before), offset(before)) == (True, [], 1)
    entry = await writing
    assert entry is not None
    assert entry.number == 2
    after = await reader.read(user_stream(ANNA), before.cursor)
    assert (after.recovered, replayed(after)) == (True, ["late"])


async def test_a_reader_waits_for_a_message_in_flight(make_history: MakeHistory, proxy: Proxy) -> None:
    writer, reader = make_history(), make_history(hole_seconds=30.0)
    is_waited_for = threading.Event()

    def held(request: Request) -> Fault:
        if request.action == "GetItem" and request.parameters["Key"]["sk"]["S"].startswith("log#"):
            is_waited_for.set()  # the reader looks for it again
        return Fault(until=is_waited_for) if is_message(request) else NONE

    proxy.fault = held
    writing = asyncio.create_task(writer.append(for_user(ANNA, note("slow"))))
    while not any(map(is_message, proxy.requests)):
        await asyncio.sleep(0.005)
    replay = await reader.read(user_stream(ANNA), START)
    assert is_waited_for.is_set()
    assert (replay.recovered, replayed(replay), offset(replay)) == (True, ["slow"], 1)
    entry = await writing
    assert entry is not None
    assert entry.number == 1


async def test_messages_that_are_put_during_a_read_are_left_to_live_delivery(
    make_history: MakeHistory, proxy: Proxy
) -> None:
    reader, writer = make_history(), make_history()
    await writer.append(for_user(ANNA, note(1)))
    is_written = threading.Event()
    proxy.fault = once(lambda request: request.action == "Query", Fault(until=is_written))
    reading = asyncio.create_task(reader.read(user_stream(ANNA), START))
    while not proxy.seen("Query"):
        await asyncio.sleep(0.005)
    await writer.append(for_user(ANNA, note(2)))
    is_written.set()
    replay = await reading
    assert (replay.recovered, replayed(replay), offset(replay)) == (True, [1], 1)
    assert replayed(await reader.read(user_stream(ANNA), replay.cursor)) == [2]


async def test_a_message_that_is_put_just_before_the_hole_is_replayed(
    history: DynamoHistory, proxy: Proxy, make_history: MakeHistory
) -> None:
    writer = make_history()
    is_marked, is_written = threading.Event(), threading.Event()

    def let_the_mark_be_late(request: Request) -> Fault:
        if is_message(request):
            return Fault(until=is_marked)
        if sort_key_of(request).startswith("log#"):  # the mark
            is_marked.set()
            return Fault(until=is_written)
        return NONE

    proxy.fault = let_the_mark_be_late
    writing = asyncio.create_task(writer.append(for_user(ANNA, note("just in time"))))
    writing.add_done_callback(lambda _: is_written.set())
    while not any(map(is_message, proxy.requests)):
        await asyncio.sleep(0.005)
    replay = await history.read(user_stream(ANNA), START)
    assert is_marked.is_set()
    assert (replay.recovered, replayed(replay), offset(replay)) == (True, ["just in time"], 1)
    entry = await writing
    assert entry is not None
    assert entry.number == 1


@amazons_own
async def test_two_readers_of_the_same_hole_agree(make_history: MakeHistory, proxy: Proxy) -> None:
    readers = [make_history() for _ in range(4)]
    await readers[0].append(for_user(ANNA, note(1)))
    proxy.fault = lambda request: BROKEN if is_message(request) else NONE
    for _ in range(3):
        with pytest.raises(HistoryUnavailable):
            await readers[0].append(for_user(ANNA, note("never")))
    proxy.fault = lambda _: NONE
    await readers[0].append(for_user(ANNA, note(5)))
    replays = await asyncio.gather(*[reader.read(user_stream(ANNA), START) for reader in readers])
    assert {(replay.recovered, tuple(replayed(replay)), offset(replay)) for replay in replays} == {(True, (1, 5), 5)}


@amazons_own
async def test_no_message_is_added_below_a_readers_cursor(make_history: MakeHistory, proxy: Proxy) -> None:
    writers, reader = [make_history() for _ in range(4)], make_history(hole_seconds=0.0)
    slow = itertools.count()
    is_looked_at = threading.Event()
    # Every third message comes after a look at where it will be.
    proxy.fault = lambda request: Fault(until=is_looked_at) if is_message(request) and next(slow) % 3 == 0 else NONE
    told: list[Any] = []
    cursor = (await reader.read(user_stream(ANNA), None)).cursor

    async def write(writer: DynamoHistory, first: int) -> None:
        for number in range(first, first + 10):
            assert await writer.append(for_user(ANNA, note(number))) is not None

    async def catch_up() -> None:
        nonlocal cursor
        replay = await reader.read(user_stream(ANNA), cursor)
        assert replay.recovered
        told.extend(replayed(replay))
        cursor = replay.cursor
        is_looked_at.set()
        is_looked_at.clear()

    writing = asyncio.gather(*[write(writer, 100 * index) for index, writer in enumerate(writers)])
    while not writing.done():
        await catch_up()
    await writing
    await catch_up()
    assert sorted(told) == [100 * index + number for index in range(4) for number in range(10)]
    for index in range(4):
        assert [number for number in told if number // 100 == index] == [100 * index + n for n in range(10)]


# --- answers that are lost, and a table that is busy ------------------------------------------------------------------


async def test_a_message_whose_response_was_lost_is_kept_once(
    history: DynamoHistory, proxy: Proxy, dynamodb: str
) -> None:
    proxy.fault = lost_answer(dynamodb, is_message)
    entry = await history.append(for_user(ANNA, note(1)))
    assert entry is not None
    assert entry.number == 1
    assert replayed(await history.read(user_stream(ANNA), START)) == [1]


async def test_an_offset_whose_response_was_lost_is_a_hole(history: DynamoHistory, proxy: Proxy, dynamodb: str) -> None:
    begin = (await history.read(user_stream(ANNA), None)).cursor
    proxy.fault = lost_answer(dynamodb, lambda request: request.action == "UpdateItem")
    entry = await history.append(for_user(ANNA, note(1)))
    assert entry is not None
    assert entry.number == 2
    replay = await history.read(user_stream(ANNA), begin)
    assert (replay.recovered, replayed(replay), offset(replay)) == (True, [1], 2)


@pytest.mark.parametrize("sort_key", ["id#", "log#"])
async def test_an_id_whose_response_was_lost_is_kept_once(
    history: DynamoHistory, proxy: Proxy, dynamodb: str, sort_key: str
) -> None:
    proxy.fault = lost_answer(dynamodb, lambda request: sort_key_of(request).startswith(sort_key))
    assert await history.append(for_user(ANNA, note(1, "order-17"))) is not None
    assert await history.append(for_user(ANNA, note(1, "order-17"))) is None
    assert replayed(await history.read(user_stream(ANNA), START)) == [1]


async def test_a_state_whose_response_was_lost_is_delivered(
    history: DynamoHistory, proxy: Proxy, dynamodb: str
) -> None:
    await history.append(for_user(ANNA, progress(1)))
    proxy.fault = lost_answer(dynamodb, lambda request: request.action == "PutItem")
    entry = await history.append(for_user(ANNA, progress(2, second=1)))
    assert entry is not None
    assert await history.state(user_stream(ANNA), "upload:u1") == entry
    assert await history.append(for_user(ANNA, progress(2, second=1))) is None


async def test_a_table_that_is_throttled_for_a_moment_loses_and_doubles_nothing(
    history: DynamoHistory, proxy: Proxy
) -> None:
    busy = [throttled(), NONE, Fault(status=500), throttled(), NONE] * 6
    proxy.fault = lambda _: busy.pop() if busy else NONE
    for number in range(5):
        assert await history.append(for_user(ANNA, note(number, f"order-{number}"))) is not None
        assert await history.append(for_user(ANNA, progress(number, second=number))) is not None
    replay = await history.read(user_stream(ANNA), START)
    assert (replayed(replay), len(replay.snapshot)) == ([0, 1, 2, 3, 4], 1)


async def test_a_table_that_stays_throttled_is_an_error_that_says_so(history: DynamoHistory, proxy: Proxy) -> None:
    proxy.fault = lambda _: throttled()
    for asked in (
        history.append(for_user(ANNA, note(1))),
        history.append(for_user(ANNA, progress(1))),
        history.read(user_stream(ANNA), START),
        history.state(user_stream(ANNA), "upload:u1"),
        acknowledge(history, ANNA, "e:1"),
        anext(history.leased_uploads()),
    ):
        with pytest.raises(HistoryUnavailable, match="ProvisionedThroughputExceeded"):
            await asked


# --- ids that producers chose -----------------------------------------------------------------------------------------


@amazons_own
async def test_the_same_id_in_parallel_is_kept_once(make_history: MakeHistory) -> None:
    histories = [make_history() for _ in range(6)]
    for round_number in range(3):
        entries = await asyncio.gather(
            *[each.append(for_user(ANNA, note(round_number, f"order-{round_number}"))) for each in histories]
        )
        assert len(list(filter(None, entries))) == 1
    replay = await histories[0].read(user_stream(ANNA), START)
    assert (replay.recovered, replayed(replay)) == (True, [0, 1, 2])


@pytest.mark.parametrize("sort_key", ["id#", "log#"])
async def test_a_publish_that_is_repeated_after_a_crash_loses_nothing(
    history: DynamoHistory, proxy: Proxy, sort_key: str
) -> None:
    proxy.fault = once(lambda request: sort_key_of(request).startswith(sort_key), BROKEN)
    with pytest.raises(HistoryUnavailable):
        await history.append(for_user(ANNA, note(1, "order-17")))
    # Somebody who is here by now must hear it, too.
    cursor = (await history.read(user_stream(ANNA), None)).cursor
    assert await history.append(for_user(ANNA, note(1, "order-17"))) is not None
    assert await history.append(for_user(ANNA, note(1, "order-17"))) is None
    for asked in (cursor, START):
        replay = await history.read(user_stream(ANNA), asked)
        assert (replay.recovered, replayed(replay)) == (True, [1])


async def test_a_slow_writer_and_its_retry_keep_one_message(make_history: MakeHistory, proxy: Proxy) -> None:
    slow, again = make_history(), make_history()
    is_repeated = threading.Event()
    proxy.fault = once(is_message, Fault(until=is_repeated))
    writing = asyncio.create_task(slow.append(for_user(ANNA, note(1, "order-17"))))
    while not any(map(is_message, proxy.requests)):
        await asyncio.sleep(0.005)
    entry = await again.append(for_user(ANNA, note(1, "order-17")))
    is_repeated.set()
    entries = [entry, await writing]
    assert len(list(filter(None, entries))) == 1
    replay = await again.read(user_stream(ANNA), START)
    assert (replay.recovered, replayed(replay)) == (True, [1])


async def test_a_repeated_publish_does_not_affect_other_messages(make_history: MakeHistory, proxy: Proxy) -> None:
    slow, again, reader = make_history(), make_history(), make_history()
    is_read = threading.Event()
    proxy.fault = once(is_message, Fault(until=is_read))
    writing = asyncio.create_task(slow.append(for_user(ANNA, note("slow"))))
    while not any(map(is_message, proxy.requests)):
        await asyncio.sleep(0.005)
    proxy.fault = once(is_message, BROKEN)
    with pytest.raises(HistoryUnavailable):
        await again.append(for_user(ANNA, note(1, "order-17")))
    proxy.fault = once(lambda request: request.action == "UpdateItem", BROKEN)
    with pytest.raises(HistoryUnavailable):
        await again.append(for_user(ANNA, note(1, "order-17")))
    before = await reader.read(user_stream(ANNA), START)
    is_read.set()
    await writing
    after = await reader.read(user_stream(ANNA), before.cursor)
    assert (after.recovered, replayed(before) + replayed(after)) == (True, ["slow"])


async def test_an_id_may_be_used_again_after_a_day(history: DynamoHistory, clock: FakeClock) -> None:
    await history.append(for_user(ANNA, note(1, "order-17")))
    await clock.advance(HISTORY_MAX_AGE_SECONDS - 1)
    assert await history.append(for_user(ANNA, note(2, "order-17"))) is None
    await clock.advance(2)
    assert await history.append(for_user(ANNA, note(3, "order-17"))) is not None
    assert replayed(await history.read(user_stream(ANNA), START)) == [3]


async def test_ids_and_uploads_may_have_long_names(history: DynamoHistory) -> None:
    long = "ü" * 490
    assert await history.append(for_user(ANNA, note(1, long))) is not None
    assert await history.append(for_user(ANNA, note(1, long))) is None
    assert await history.append(for_user(ANNA, note(2, long + "x"))) is not None
    upload = msgspec.structs.replace(progress(1), key=f"upload:{long}")
    entry = await history.append(for_user(ANNA, upload))
    assert await history.state(user_stream(ANNA), f"upload:{long}") == entry
    assert (await history.read(user_stream(ANNA), START)).snapshot == [entry]


@amazons_own
@pytest.mark.parametrize("size", [900, 1100, MAX_USER_ID_BYTES])
async def test_user_ids_may_be_longer_than_the_keys_of_an_index(history: DynamoHistory, size: int) -> None:
    user = "u" * size
    message = await history.append(for_user(user, note(1)))
    upload = await history.append(for_user(user, progress(1)))
    assert message is not None
    assert [entry async for entry in history.leased_uploads()] == [upload]
    replay = await history.read(user_stream(user), START)
    assert (replay.messages, replay.snapshot) == ([message.payload], [upload])


# --- states -----------------------------------------------------------------------------------------------------------


@amazons_own
async def test_concurrent_writers_of_a_state_leave_the_newest_with_rising_versions(make_history: MakeHistory) -> None:
    histories = [make_history() for _ in range(5)]
    taken: list[tuple[float, Entry]] = []

    async def write(history: DynamoHistory, seconds: range) -> None:
        for second in seconds:
            entry = await history.append(for_user(ANNA, progress(second % 100, second=second)))
            if entry is not None:
                taken.append((second, entry))

    await asyncio.gather(*[write(history, range(index, 100, 5)) for index, history in enumerate(histories)])
    assert await histories[0].append(for_user(ANNA, progress(50, second=120))) is not None
    versions = [entry.number for _, entry in taken]
    assert len(set(versions)) == len(versions)
    in_order = sorted(taken, key=lambda each: each[1].number)
    assert [second for second, _ in in_order] == sorted(second for second, _ in taken)
    state = await histories[1].state(user_stream(ANNA), "upload:u1")
    assert state is not None
    assert json.loads(state.payload)["data"]["progress"] == 50


@amazons_own
async def test_a_final_state_is_never_replaced_by_a_running_one(make_history: MakeHistory) -> None:
    histories = [make_history() for _ in range(4)]
    await histories[0].append(for_user(ANNA, progress(1, lease=30)))
    await asyncio.gather(
        *[each.append(for_user(ANNA, progress(n, second=10 + n, lease=30))) for n, each in enumerate(histories[1:], 2)],
        histories[0].append(for_user(ANNA, progress(9, second=5, status="cancelled"))),
    )
    state = await histories[0].state(user_stream(ANNA), "upload:u1")
    assert state is not None
    assert state.status == "cancelled"


async def test_versions_rise_although_a_clock_is_behind_and_dynamodb_has_deleted_items(
    make_history: MakeHistory, clock: FakeClock, dynamodb: str, table_name: str
) -> None:
    behind = make_history(on=FakeClock(clock.now() - 60))
    ahead = make_history()
    entries = [
        await ahead.append(for_user(ANNA, progress(1))),
        await behind.append(for_user(ANNA, progress(2, second=1))),
    ]
    key = {"streamKey": {"S": f"user:{ANNA}"}, "sk": {"S": "state#upload:u1"}}
    dynamodb_client(dynamodb).delete_item(TableName=table_name, Key=key)
    await clock.advance(1)
    entries.append(await ahead.append(for_user(ANNA, progress(3, second=2))))
    versions = [entry.number for entry in entries if entry is not None]
    assert len(versions) == 3
    assert versions == sorted(set(versions))


@amazons_own
async def test_two_lease_expiries_of_the_same_state_publish_once(make_history: MakeHistory) -> None:
    histories = [make_history() for _ in range(4)]
    entry = await histories[0].append(for_user(ANNA, progress(1, lease=30)))
    assert entry is not None
    verdict = msgspec.structs.replace(progress(1, status="stalled", second=1), replaces=entry.number)
    verdicts = [msgspec.structs.replace(verdict, id=f"verdict-{n}") for n in range(4)]
    taken = await asyncio.gather(
        *[each.append(for_user(ANNA, verdict)) for each, verdict in zip(histories, verdicts, strict=True)]
    )
    assert len(list(filter(None, taken))) == 1


# --- what DynamoDB deletes --------------------------------------------------------------------------------------------


async def test_a_deleted_message_is_no_hole_and_is_not_recovered(
    history: DynamoHistory, clock: FakeClock, dynamodb: str, table_name: str, proxy: Proxy
) -> None:
    begin = (await history.read(user_stream(ANNA), None)).cursor
    for number in range(1, 31):
        await history.append(for_user(ANNA, note(number)))
    middle = (await history.read(user_stream(ANNA), None)).cursor
    await clock.advance(HISTORY_MAX_AGE_SECONDS + 1)
    client = dynamodb_client(dynamodb)
    for number in (*range(1, 21), 25, 30):  # in no order, as DynamoDB does it
        key = {"streamKey": {"S": f"user:{ANNA}"}, "sk": {"S": f"log#{number:015}"}}
        client.delete_item(TableName=table_name, Key=key)
    proxy.requests.clear()
    assert (await history.read(user_stream(ANNA), middle)).recovered
    await history.append(for_user(ANNA, note(31)))
    for cursor, is_recovered in ((begin, False), (f"{begin[:-2]}:29", False), (middle, True), (START, True)):
        replay = await history.read(user_stream(ANNA), cursor)
        assert (replay.recovered, replayed(replay), offset(replay)) == (is_recovered, [31], 31)
    assert proxy.seen("PutItem") == 1  # and no mark


async def test_a_hole_above_deleted_messages_is_filled(
    history: DynamoHistory, clock: FakeClock, dynamodb: str, table_name: str, proxy: Proxy
) -> None:
    await history.append(for_user(ANNA, note(1)))
    await clock.advance(HISTORY_MAX_AGE_SECONDS + 1)
    key = {"streamKey": {"S": f"user:{ANNA}"}, "sk": {"S": f"log#{1:015}"}}
    dynamodb_client(dynamodb).delete_item(TableName=table_name, Key=key)
    proxy.fault = once(is_message, BROKEN)
    with pytest.raises(HistoryUnavailable):
        await history.append(for_user(ANNA, note("never")))
    replay = await history.read(user_stream(ANNA), START)
    assert (replay.recovered, replayed(replay), offset(replay)) == (True, [], 2)
    marks = [
        sort_key_of(request) for request in proxy.requests if request.action == "PutItem" and not is_message(request)
    ]
    assert "log#000000000000002" in marks


# --- sizes and costs --------------------------------------------------------------------------------------------------


async def test_a_message_that_is_too_big_with_its_cursor_is_refused_before_any_write(
    history: DynamoHistory, proxy: Proxy
) -> None:
    def of_size(size: int) -> Publication:
        return note("x" * (size - len(note("").payload)))

    with pytest.raises(MessageTooBig) as caught:
        await history.append(for_user(ANNA, of_size(MAX_MESSAGE_BYTES - 10)))
    assert caught.value.size_bytes == MAX_MESSAGE_BYTES - 10
    with pytest.raises(MessageTooBig):
        await history.append(for_user(ANNA, of_size(caught.value.max_bytes + 1)))
    assert proxy.requests == []
    entry = await history.append(for_user(ANNA, of_size(caught.value.max_bytes)))
    assert entry is not None
    assert len(entry.payload) <= MAX_MESSAGE_BYTES
    assert (await history.read(user_stream(ANNA), START)).messages == [entry.payload]


@amazons_own
async def test_a_replay_is_bounded_in_bytes(make_history: MakeHistory) -> None:
    writer, reader, small_reader = make_history(), make_history(), make_history()
    for number in range(45):  # 1.35 MB: more than a page
        await writer.append(for_user(ANNA, note([number, "x" * 30_000])))
    await writer.append(for_user(ANNA, progress(7)))
    small_reader._reader._most_bytes = 1_200_000
    whole = await reader.read(user_stream(ANNA), START)
    assert (whole.recovered, [data[0] for data in replayed(whole)]) == (True, list(range(45)))
    part = await small_reader.read(user_stream(ANNA), START)
    numbers = [data[0] for data in replayed(part)]
    assert not part.recovered
    assert 0 < len(numbers) < 45
    assert numbers == list(range(45 - len(numbers), 45))
    assert offset(part) == offset(whole)
    assert part.snapshot == whole.snapshot != []
    rest = await small_reader.read(user_stream(ANNA), f"{part.cursor.partition(':')[0]}:40")
    assert (rest.recovered, [data[0] for data in replayed(rest)]) == (True, [40, 41, 42, 43, 44])


async def test_states_prolong_the_epoch_of_their_user(history: DynamoHistory, clock: FakeClock) -> None:
    async def expires_at() -> int:
        item = await history._table._get(user_stream(ANNA), "head")
        return 0 if item is None else int(item["expiresAt"]["N"])

    await history.read(user_stream(ANNA), None)
    began = await expires_at()
    await clock.advance(20 * 24 * 3600)
    await history.append(for_user(ANNA, progress(100, status="complete")))
    assert await expires_at() == began + 20 * 24 * 3600


class Metered(DynamoDb):
    """A DynamoDB client that counts the consumed write units."""

    units = 0.0

    async def _request(self, operation: str, parameters: Any) -> Any:
        answer = await super()._request(operation, {**parameters, "ReturnConsumedCapacity": "TOTAL"})
        consumed = json.loads(answer.body).get("ConsumedCapacity", {})
        if operation in ("PutItem", "UpdateItem"):
            self.units += consumed.get("CapacityUnits", 0.0)
        elif operation == "TransactWriteItems":
            self.units += sum(each.get("CapacityUnits", 0.0) for each in consumed)
        return answer


@amazons_own  # moto counts otherwise
async def test_write_units_per_publication(history: DynamoHistory) -> None:
    meter = history._table._dynamodb = Metered(history._table._dynamodb._client)

    async def units(message: Publication) -> float:
        meter.units = 0.0
        assert await history.append(for_user(ANNA, message)) is not None
        return meter.units

    assert await units(note(1)) == 2
    assert await units(note(1, "order-17")) == 3
    assert [await units(progress(n, second=n)) for n in (1, 2, 3)] == [2, 1, 1]
    # The last one also notes its version, where a pong finds it.
    assert await units(progress(100, second=100, status="complete")) == 3
    running = [progress(n, second=200 + n, lease=30) for n in (0, 1, 2)]
    assert [await units(each) for each in running] == [2, 1, 1]
    # The last one also notes its version, where a pong finds it.
    assert await units(progress(100, second=300, status="complete", lease=30)) == 3


@amazons_own
async def test_write_units_of_an_upload_whose_worker_is_silent(history: DynamoHistory, clock: FakeClock) -> None:
    await history.read(user_stream(ANNA), None)
    await history.append(for_user(ANNA, progress(7, lease=30)))
    meter = history._table._dynamodb = Metered(history._table._dynamodb._client)
    expire = LeaseExpiry(ComposedBroker(history, MemoryCarrier()), clock).expire
    spent = []
    for _ in ("stalled", "failed"):
        await clock.advance(31)
        meter.units = 0.0
        assert (await history.sweep(expire)).expired == 1
        spent.append(meter.units)
    # A transaction costs twice as much: the head, the state with its index, the error.
    assert spent == [2, 12]


# --- pages ------------------------------------------------------------------------------------------------------------


def paged(page: HistoryPage) -> list[Any]:
    return [json.loads(message)["data"] for message in page.messages]


async def test_a_page_leaves_out_holes_and_offsets_that_are_still_empty(
    history: DynamoHistory, proxy: Proxy, clock: FakeClock
) -> None:
    stream = user_stream("anna")
    for number in range(4):
        if number in (0, 2, 3):
            proxy.fault = once(is_message, BROKEN)
            with pytest.raises(HistoryUnavailable):
                await history.append(note(f"lost {number}"))
            proxy.fault = lambda request: NONE
        await history.append(note(number))
    assert paged(await history.page(stream, None, 10, 10_000)) == [3, 2, 1, 0]
    # A reader puts holes there. One at the end of the log is no reason for another page.
    await clock.advance(3)
    assert (await history.read(stream, START)).recovered
    assert await history.page(stream, None, 4, 10_000) == await history.page(stream, 8, 10, 10_000)
    last = await history.page(stream, 3, 1, 10_000)
    assert (paged(last), last.more) == ([0], False)


async def test_a_page_goes_on_over_more_than_dynamodb_reads_at_once(history: DynamoHistory) -> None:
    for number in range(12):
        await history.append(note([number, "x" * 110_000]))
    page = await history.page(user_stream("anna"), None, 100, 10_000_000)
    assert [number for number, _ in paged(page)] == list(reversed(range(12)))
    assert not page.more


async def test_a_page_reads_no_more_items_than_it_needs(history: DynamoHistory, proxy: Proxy) -> None:
    limits: list[int] = []

    def note_limit(request: Request) -> Fault:
        if request.action == "Query":
            limits.append(request.parameters["Limit"])
        return NONE

    await history.append_all([note(number) for number in range(30)])
    proxy.fault = note_limit
    page = await history.page(user_stream("anna"), None, 10, 10_000)
    assert (len(page.messages), page.more, limits) == (10, True, [11])


# --- requests of clients ----------------------------------------------------------------------------------------------


async def test_a_claim_whose_answer_was_lost_is_still_ours(
    make_history: MakeHistory, proxy: Proxy, dynamodb: str
) -> None:
    ledger, other = make_history().requests, make_history().requests
    proxy.fault = lost_answer(dynamodb, lambda request: request.action == "PutItem")
    assert await ledger.begin("anna", "r1") is None
    with pytest.raises(RequestRunning):
        await other.begin("anna", "r1")
    proxy.fault = lost_answer(dynamodb, lambda request: request.action == "UpdateItem")
    await ledger.finish("anna", "r1", b"answer")
    assert await other.begin("anna", "r1") == b"answer"


async def test_requests_are_in_no_replay_and_end_with_their_user(history: DynamoHistory) -> None:
    stream = user_stream("anna")
    await history.append(note(1))
    await history.append(progress(10))
    for number in range(30):
        await history.requests.begin("anna", f"r{number}")
    replay = await history.read(stream, START)
    assert (replayed(replay), len(replay.snapshot)) == ([1], 1)
    assert paged(await history.page(stream, None, 10, 10_000)) == [1]
    await history.forget(stream)
    assert await history.requests.begin("anna", "r0") is None


@amazons_own
async def test_write_units_of_a_request_and_of_marks(history: DynamoHistory) -> None:
    meter = history._table._dynamodb = Metered(history._table._dynamodb._client)

    async def units(call: Awaitable[Any]) -> float:
        meter.units = 0.0
        await call
        return meter.units

    assert await units(history.requests.begin(ANNA, "r1")) == 1
    assert await units(history.requests.finish(ANNA, "r1", b"x" * 500)) == 1
    assert await units(history.requests.begin(ANNA, "r2")) == 1
    assert await units(history.requests.finish(ANNA, "r2", b"x" * 2500)) == 3
    marks = marked(Marks("epoch", [], []), "dismissed", [(1, 3)])
    assert await units(history.append(marks_state(user_stream(ANNA), marks, None, 0.0))) == 2


async def test_a_request_expires_with_its_time(history: DynamoHistory, dynamodb: str, table_name: str) -> None:
    await history.requests.begin("anna", "r1")
    await history.requests.finish("anna", "r1", b"answer")
    key = {"streamKey": {"S": "user:anna"}, "sk": {"S": "asked#r1"}}
    item = dynamodb_client(dynamodb).get_item(TableName=table_name, Key=key)["Item"]
    assert float(item["expiresAt"]["N"]) - float(item["storedAt"]["N"]) == pytest.approx(REQUEST_KEEP_SECONDS, abs=1)
