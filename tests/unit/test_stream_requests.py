"""Requests about a user's stream, where many come at once. Their answers have the contract of a conversation."""

import asyncio
import json
from typing import Any, cast

import pytest

from tellwire import protocol
from tellwire.broker import ComposedBroker
from tellwire.conversation import Conversation
from tellwire.engine import Engine
from tellwire.engines.memory.history import MemoryHistory
from tellwire.entry import Entry
from tellwire.errors import HistoryUnavailable
from tellwire.messages import create_message, create_upload_progress_message
from tellwire.publication import Publication, StreamKey, user_stream
from tellwire.stream_requests import StreamRequests
from tellwire.testing import FakeClock, MemoryCarrier
from tests.publications import for_user

STREAM = user_stream("anna")


class Busy(MemoryHistory):
    """A history in which others have a turn between each read and each write. It counts refusals."""

    refused = 0

    async def state(self, stream: StreamKey, key: str) -> Entry | None:
        entry = await super().state(stream, key)
        await asyncio.sleep(0)
        return entry

    async def append(self, publication: Publication) -> Entry | None:
        await asyncio.sleep(0)
        entry = await super().append(publication)
        self.refused += entry is None
        return entry


class Peer:
    """A client, and all that happens to it in its order."""

    connection_id, user_id, expires_at = "L0SM9cOFvHcCIhw=", "anna", float("inf")

    def __init__(self) -> None:
        self.events: list[str] = []

    async def send(self, payload: bytes) -> bool:
        self.events.append(json.loads(payload)["type"])
        return True

    async def ready(self, size_bytes: int) -> None:
        self.events.append(f"ready for {size_bytes} bytes")


PEER = cast("Any", Peer())


@pytest.fixture
async def history() -> Busy:
    history = Busy(FakeClock())
    for number in range(60):
        await history.append(for_user("anna", create_message("note", number)))
    return history


def node(history: MemoryHistory) -> StreamRequests:
    return StreamRequests(ComposedBroker(history, MemoryCarrier()), history, FakeClock(), Engine.handed_on)


async def read_of(history: MemoryHistory) -> list[list[int]]:
    marks = await history.state(STREAM, "marks")
    assert marks is not None
    ranges: list[list[int]] = json.loads(marks.payload)["data"]["read"]
    return ranges


async def cursor(history: MemoryHistory, offset: int) -> str:
    position = await history.position(STREAM)
    assert position is not None
    return str(position._replace(offset=offset))


async def test_messages_that_one_device_marks_each_by_itself_are_not_in_each_others_way(history: Busy) -> None:
    requests = node(history)
    marks = [protocol.Mark("read", [await cursor(history, offset)], None) for offset in range(1, 61)]
    await asyncio.gather(*(requests.perform(mark, PEER) for mark in marks))
    assert (await read_of(history), history.refused) == ([[1, 60]], 0)


async def test_marks_of_several_nodes_at_once_are_all_kept(history: Busy) -> None:
    nodes = [node(history) for _ in range(6)]
    marks = [protocol.Mark("read", [await cursor(history, offset)], None) for offset in range(1, 61)]
    await asyncio.gather(*(nodes[number % 6].perform(mark, PEER) for number, mark in enumerate(marks)))
    assert await read_of(history) == [[1, 60]]
    assert history.refused > 0


async def test_marks_that_are_overtaken_again_and_again_are_refused_not_lost(
    history: Busy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def overtaken(publication: Publication) -> None:
        return None

    monkeypatch.setattr(history, "append", overtaken)
    monkeypatch.setattr("tellwire.stream_requests._MARK_PAUSE_SECONDS", 0.0)
    with pytest.raises(HistoryUnavailable, match="too often"):
        await node(history).perform(protocol.Mark("read", [await cursor(history, 1)], None), PEER)


async def test_a_page_of_the_log_waits_for_room_like_a_page_of_a_welcome(history: Busy) -> None:
    peer = Peer()
    engine = Engine(ComposedBroker(history, MemoryCarrier()), MemoryCarrier(), history)
    conversation = Conversation(engine, cast("Any", None), FakeClock())
    await conversation.handle(protocol.ReadHistory(None, 60, request_id="1"), cast("Any", peer))
    ready, answer = peer.events
    assert (ready[:11], ready[-6:], answer) == ("ready for 7", " bytes", "ok")


async def test_the_answer_to_a_dismissal_of_all_waits_once_for_the_last_of_them(history: Busy) -> None:
    for number in range(150):
        await history.append(for_user("anna", create_upload_progress_message(f"u{number}", "f.csv", 100, "")))
    waited: list[int] = []

    async def handed_on(stream: StreamKey, version: int) -> None:
        waited.append(version)

    broker = ComposedBroker(history, MemoryCarrier())
    requests = StreamRequests(broker, history, FakeClock(), handed_on)
    end = await history.end(STREAM)
    assert end is not None
    await requests.perform(protocol.DismissEnded(end.version), PEER)
    end = await history.end(STREAM)
    assert end is not None
    assert waited == [end.version]
