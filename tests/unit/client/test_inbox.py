"""The inbox: messages that wait for the application."""

import asyncio

from tellwire.client.decode import ReceivedMessage
from tellwire.client.inbox import Inbox


def sized(size: int, name: str = "x") -> ReceivedMessage:
    return ReceivedMessage(name, None, payload=b"." * size)


def full(inbox: Inbox) -> bool:
    return inbox.is_full


async def test_messages_come_in_their_order_and_then_the_end() -> None:
    inbox = Inbox()
    inbox.put(sized(1, "a"))
    inbox.put(sized(1, "b"))
    inbox.end()
    inbox.put(sized(1, "too late"))
    taken = [await inbox.get() for _ in range(4)]
    assert [message and message.type for message in taken] == ["a", "b", None, None]


async def test_who_waits_gets_the_next_one_or_the_end() -> None:
    inbox = Inbox()
    waiting = [asyncio.create_task(inbox.get()) for _ in range(3)]
    await asyncio.sleep(0)
    inbox.put(sized(1, "a"))
    inbox.put(sized(1, "b"))
    await asyncio.sleep(0)
    inbox.end()
    got = await asyncio.gather(*waiting)
    assert sorted(message.type if message else "" for message in got) == ["", "a", "b"]


async def test_waiting_that_is_given_up_takes_nothing() -> None:
    inbox = Inbox()
    waiting = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    waiting.cancel()
    inbox.put(sized(1, "a"))
    message = await inbox.get()
    assert message is not None
    assert message.type == "a"


async def test_it_is_full_by_number_until_half_of_it_has_gone() -> None:
    inbox = Inbox(max_messages=4, max_bytes=1000)
    for _ in range(3):
        inbox.put(sized(1))
    assert not full(inbox)
    inbox.put(sized(1))
    assert full(inbox)
    room = asyncio.create_task(inbox.room())
    await inbox.get()
    await asyncio.sleep(0)
    assert not room.done()
    await inbox.get()
    await room
    assert not full(inbox)


async def test_it_is_full_by_bytes_too() -> None:
    inbox = Inbox(max_messages=1000, max_bytes=100)
    inbox.put(sized(60))
    assert not full(inbox)
    inbox.put(sized(60))
    assert full(inbox)
    await inbox.get()
    assert full(inbox)
    await inbox.get()
    assert not full(inbox)


async def test_the_end_lets_everybody_go() -> None:
    inbox = Inbox(max_messages=1)
    inbox.put(sized(1))
    room = asyncio.create_task(inbox.room())
    await asyncio.sleep(0)
    inbox.end()
    await room


async def test_a_cursor_is_before_the_first_message_of_its_log_that_waits() -> None:
    inbox = Inbox()
    log = [ReceivedMessage("said", None, cursor=cursor) for cursor in ("e:7", "e:8")]
    inbox.put(sized(1), log[0], ReceivedMessage("said", None, cursor="p:3", topic="parts"), log[1])
    cursors = [(inbox.cursor("user"), inbox.cursor("topic:parts"))]
    for _ in range(4):
        await inbox.get()
        cursors.append((inbox.cursor("user"), inbox.cursor("topic:parts")))
    assert cursors == [("e:6", "p:2"), ("e:6", "p:2"), ("e:7", "p:2"), ("e:7", None), (None, None)]
