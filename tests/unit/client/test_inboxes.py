"""The queues of an application that follows topics."""

import asyncio

from tellwire.client.decode import ReceivedMessage
from tellwire.client.inboxes import Inboxes
from tellwire.limits import OUTBOX_MAX_MESSAGES


def note(offset: int, topic: str | None = None) -> ReceivedMessage:
    return ReceivedMessage("note", offset, cursor=f"e:{offset}", topic=topic)


def many(topic: str | None = None) -> list[ReceivedMessage]:
    return [note(offset, topic) for offset in range(1, OUTBOX_MAX_MESSAGES + 1)]


async def test_the_users_queue_alone_fills_up() -> None:
    inboxes = Inboxes()
    inboxes.put(many(), None)
    assert inboxes.is_full


async def test_beside_topics_the_users_queue_drops_its_oldest_until_somebody_iterates() -> None:
    inboxes = Inboxes()
    inboxes.add("a")
    inboxes.put(many(), None)
    assert not inboxes.is_full
    assert inboxes.cursor("user") == "e:0"
    first = await inboxes.user.get()
    assert first is not None
    assert first.data > 1
    inboxes.iterate()
    inboxes.put(many(), None)
    assert inboxes.is_full


async def test_there_is_room_when_none_is_full() -> None:
    inboxes = Inboxes()
    one, other = inboxes.add("a"), inboxes.add("b")
    inboxes.put(many("a"), "a")
    inboxes.put(many("b"), "b")
    waiting = asyncio.ensure_future(inboxes.room())
    for inbox in (one, other):
        await asyncio.sleep(0)
        assert not waiting.done()
        for _ in range(OUTBOX_MAX_MESSAGES):
            await inbox.get()
    await asyncio.wait_for(waiting, 30)


async def test_what_comes_of_a_topic_that_was_left_is_dropped() -> None:
    inboxes = Inboxes()
    inbox = inboxes.add("a")
    inboxes.put([note(1, "a")], "a")
    inboxes.remove("a")
    inboxes.put([note(2, "a")], "a")
    assert await inbox.get() is None
    assert inboxes.cursor("topic:a") is None


async def test_a_topic_that_is_followed_after_the_end_has_ended() -> None:
    inboxes = Inboxes()
    inboxes.end()
    assert await inboxes.add("a").get() is None
