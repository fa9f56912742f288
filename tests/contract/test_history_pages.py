"""The contract of `History.page`: back through all that is kept, on every engine."""

import asyncio
import json

import msgspec
import pytest

from tellwire.limits import HISTORY_MAX_AGE_SECONDS, MAX_HISTORY_PAGE, WELCOME_PAGE_BYTES
from tellwire.messages import create_message
from tellwire.ports import History
from tellwire.position import Position
from tellwire.publication import Publication, user_stream
from tellwire.retention import Retention
from tellwire.stream import HistoryPage
from tellwire.testing import FakeClock
from tests.publications import for_user

ANNA, BEN = "anna", "ben"
STREAM = user_stream(ANNA)


def note(data: object, user_id: str = ANNA) -> Publication:
    return for_user(user_id, create_message("note", data))


async def keep(history: History, numbers: range, ttl_seconds: float | None = None) -> None:
    await history.append_all([msgspec.structs.replace(note(each), ttl_seconds=ttl_seconds) for each in numbers])


def offset_of(payload: bytes) -> int:
    position = Position.parse(json.loads(payload)["cursor"])
    assert position is not None
    return position.offset


def data_of(page: HistoryPage) -> list[int]:
    return [json.loads(message)["data"] for message in page.messages]


async def page(
    history: History, before: int | None = None, limit: int = MAX_HISTORY_PAGE, max_bytes: int = WELCOME_PAGE_BYTES
) -> HistoryPage:
    return await history.page(STREAM, before, limit, max_bytes)


async def all_pages(history: History, limit: int, before: int | None = None) -> list[list[int]]:
    """Return the data of all messages below an offset, page by page, as a client that goes on to the end."""
    pages: list[list[int]] = []
    while True:
        found = await page(history, before, limit)
        pages.append(data_of(found))
        if not found.more:
            return pages
        before = offset_of(found.messages[-1])


async def test_a_log_that_has_not_begun_has_an_empty_page(history: History) -> None:
    assert await page(history) == HistoryPage([], more=False)
    assert await page(history, before=7) == HistoryPage([], more=False)


async def test_messages_are_as_they_were_sent_the_newest_first(history: History) -> None:
    entries = [await history.append(note(number)) for number in range(3)]
    assert (await page(history)).messages == [entry.payload for entry in reversed(entries) if entry]


async def test_pages_lead_back_to_the_very_first_and_say_when_there_is_no_more(history: History) -> None:
    await keep(history, range(7))
    for limit in (1, 3, 7, 8, 100):
        pages = await all_pages(history, limit)
        assert [number for each in pages for number in each] == [6, 5, 4, 3, 2, 1, 0]
        # No page says that there is more where there is none.
        assert len(pages) == -(-7 // limit)


async def test_a_page_begins_below_an_offset_or_at_the_end(history: History) -> None:
    await keep(history, range(5))
    assert data_of(await page(history, before=3)) == [1, 0]
    assert data_of(await page(history, before=1)) == []
    assert data_of(await page(history, before=0)) == []
    for above in (6, 7, 1000, 10**14):
        assert data_of(await page(history, before=above)) == [4, 3, 2, 1, 0]


async def test_only_messages_are_in_it_and_only_those_of_the_user(history: History) -> None:
    await keep(history, range(2))
    await history.append(note("other", BEN))
    progress = {"uploadId": "u1", "fileName": "f.csv", "progress": 5, "message": ""}
    message = {"type": "upload_progress", "data": progress, "timestamp": "2026-11-25T10:00:00.000Z", "id": "p1"}
    await history.append(for_user(ANNA, json.dumps(message).encode()))
    assert data_of(await page(history)) == [1, 0]


async def test_messages_whose_time_to_live_has_passed_are_left_out_and_do_not_end_it(
    history: History, clock: FakeClock
) -> None:
    await keep(history, range(2))
    await keep(history, range(2, 30), ttl_seconds=30)
    await keep(history, range(30, 32))
    assert len(data_of(await page(history))) == 32
    await clock.advance(31)
    assert await all_pages(history, 1) == [[31], [30], [1], [0]]
    assert await all_pages(history, 2, before=31) == [[1, 0]]


async def test_a_page_that_only_expired_ones_would_follow_is_the_last(history: History, clock: FakeClock) -> None:
    await keep(history, range(25), ttl_seconds=30)
    await keep(history, range(25, 27))
    await clock.advance(31)
    assert await all_pages(history, 2) == [[26, 25]]


async def test_messages_that_are_too_old_are_left_out(history: History, clock: FakeClock) -> None:
    await keep(history, range(3))
    await clock.advance(HISTORY_MAX_AGE_SECONDS - 10)
    await keep(history, range(3, 5))
    await clock.advance(11)
    assert await all_pages(history, 1) == [[4], [3]]
    await clock.advance(HISTORY_MAX_AGE_SECONDS)
    assert await page(history) == HistoryPage([], more=False)


@pytest.mark.parametrize("retention", [Retention(max_messages=4)])
async def test_messages_that_have_no_room_are_left_out(history: History) -> None:
    await keep(history, range(7))
    assert await all_pages(history, 3) == [[6, 5, 4], [3]]


async def test_a_page_is_bounded_in_bytes_but_has_one_message_at_least(history: History) -> None:
    for size in (10_000, 120_000, 30_000, 30_000, 30_000):
        await history.append(note("x" * size))
    sizes: list[list[int]] = []
    before = None
    while True:
        found = await page(history, before)
        sizes.append([len(json.loads(message)["data"]) for message in found.messages])
        if not found.more:
            break
        before = offset_of(found.messages[-1])
    assert sizes == [[30_000, 30_000, 30_000], [120_000], [10_000]]


async def test_pages_are_whole_while_others_publish(history: History) -> None:
    await keep(history, range(60))
    is_done = asyncio.Event()

    async def publish() -> None:
        number = 60
        while not is_done.is_set():
            await history.append(note(number))
            number += 1

    publishing = asyncio.create_task(publish())
    pages = await all_pages(history, 7, before=61)
    is_done.set()
    await publishing
    assert [number for each in pages for number in each] == list(reversed(range(60)))


async def test_after_it_was_forgotten_nothing_of_it_is_there(history: History) -> None:
    await keep(history, range(3))
    epoch = json.loads((await page(history)).messages[0])["cursor"].rpartition(":")[0]
    await history.forget(STREAM)
    assert await page(history, before=3) == HistoryPage([], more=False)
    await keep(history, range(10, 12))
    found = await page(history)
    assert data_of(found) == [11, 10]
    assert epoch not in {json.loads(message)["cursor"].rpartition(":")[0] for message in found.messages}
