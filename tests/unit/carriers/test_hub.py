"""The hub: who gets a message, and that one connection's trouble is its own."""

from dataclasses import dataclass, field

import pytest

from tellwire.carriers.hub import Hub, Sent
from tellwire.limits import WRITE_CHUNK_BYTES
from tellwire.model import NO_STAMP, ConnectionInfo, Delivery, Target, TokenStamp
from tellwire.publication import Publication, target_stream, topic_stream, user_stream
from tellwire.testing import FakeClock


def publication(target: Target) -> Publication:
    return Publication(target, target_stream(target), "t1", "note", b"x", 0.0)


@dataclass
class Device:
    connection_id: str
    user_id: str
    answer: Sent = Sent.DELIVERED
    received: list[bytes] = field(default_factory=list)
    is_open: bool = True
    stamp: TokenStamp = NO_STAMP
    keys: list[str | None] = field(default_factory=list)

    def send(self, frames: bytes, now: float, key: str | None = None, *, is_final: bool = False) -> Sent:
        if self.answer is Sent.DELIVERED:
            self.received.append(frames)
            self.keys.append(key)
        return self.answer

    def close(self, code: int, reason: str) -> None:
        self.received.append(f"{code} {reason}".encode())

    def info(self) -> ConnectionInfo:
        return ConnectionInfo(self.connection_id, self.user_id, "", "", "")


@pytest.fixture
def framed() -> list[bytes]:
    return []


@pytest.fixture
def hub(framed: list[bytes]) -> Hub:
    def frame(payload: bytes) -> bytes:
        framed.append(payload)
        return b"<" + payload + b">"

    return Hub(FakeClock(), frame)


async def test_gone_and_failed_connections_are_counted_and_stop_no_other(hub: Hub) -> None:
    answers = [Sent.DELIVERED, Sent.GONE, Sent.DELIVERED, Sent.FAILED, Sent.DELIVERED]
    devices = [Device(str(number), "u", answer) for number, answer in enumerate(answers)]
    for device in devices:
        hub.attach(device)
    for target in (Target(user="u"), Target(all=True), Target(connections=("0", "1", "2", "3", "4"))):
        assert await hub.deliver(publication(target)) == Delivery(3, 1, 1)
    assert [len(device.received) for device in devices] == [3, 0, 3, 0, 3]


async def test_a_message_is_framed_once_however_many_receive_it(hub: Hub, framed: list[bytes]) -> None:
    for number in range(10):
        hub.attach(Device(str(number), "u"))
    await hub.deliver(publication(Target(user="u")))
    assert framed == [b"x"]


async def test_without_receivers_no_frame_is_made(hub: Hub, framed: list[bytes]) -> None:
    assert await hub.deliver(publication(Target(user="nobody"))) == Delivery()
    assert framed == []


async def test_a_detached_connection_is_removed_and_may_be_detached_again(hub: Hub) -> None:
    device = Device("1", "u")
    hub.attach(device)
    assert len(hub) == 1
    hub.detach("1")
    hub.detach("1")
    assert len(hub) == 0
    assert await hub.deliver(publication(Target(user="u"))) == Delivery()
    assert hub._by_stream == {}


# --- several messages together ----------------------------------------------------------------------------------------


class Ready:
    """A `WriteReady` for all devices but those that are behind."""

    def __init__(self) -> None:
        self.behind: set[str] = set()
        self.written: list[bytes] = []

    def __call__(self, connections: list[Device], frames: bytes, now: float, active_at: float) -> list[Device]:
        self.written.append(frames)
        behind = []
        for each in connections:
            if each.connection_id in self.behind:
                behind.append(each)
            else:
                each.received.append(frames)
        return behind


def together(hub: Hub, devices: int) -> list[Device]:
    attached = [Device(str(number), "u") for number in range(devices)]
    for device in attached:
        hub.attach(device)
    return attached


def several(target: Target, *payloads: bytes) -> list[Publication]:
    return [
        Publication(target, target_stream(target), f"t{number}", "note", each, 0.0, f"key-{number}")
        for number, each in enumerate(payloads)
    ]


@pytest.fixture
def ready() -> Ready:
    return Ready()


@pytest.fixture
def joining(ready: Ready) -> Hub:
    return Hub(FakeClock(), lambda payload: b"<" + payload + b">", ready)


ONE_USER = Target(user="u")
STREAM = user_stream("u")


async def test_messages_are_joined_once_for_the_connections_that_are_ready(joining: Hub, ready: Ready) -> None:
    devices = together(joining, 3)
    assert joining.hand_out_together(STREAM, several(ONE_USER, b"a", b"b", b"c")) == [Delivery(3)] * 3
    assert ready.written == [b"<a><b><c>"]
    assert [device.received for device in devices] == [[b"<a><b><c>"]] * 3


async def test_a_connection_that_is_behind_gets_them_one_by_one_with_their_keys(joining: Hub, ready: Ready) -> None:
    _, slow, gone = together(joining, 3)
    ready.behind = {"1", "2"}
    gone.answer = Sent.GONE
    assert joining.hand_out_together(STREAM, several(ONE_USER, b"a", b"b")) == [Delivery(2, 1)] * 2
    assert (slow.received, slow.keys) == ([b"<a>", b"<b>"], ["key-0", "key-1"])


async def test_what_goes_to_everybody_has_no_key_and_no_stream(joining: Hub, ready: Ready) -> None:
    _, slow = together(joining, 2)
    ready.behind = {"1"}
    assert joining.hand_to_all_together(several(Target(all=True), b"a", b"b")) == [Delivery(2)] * 2
    assert (slow.received, slow.keys) == ([b"<a>", b"<b>"], [None, None])


async def test_no_more_is_joined_than_a_transport_may_hold(joining: Hub, ready: Ready) -> None:
    (device,) = together(joining, 1)
    payloads = [bytes([65 + number]) * (WRITE_CHUNK_BYTES // 3) for number in range(5)]
    payloads.insert(2, b"x" * 2 * WRITE_CHUNK_BYTES)
    assert joining.hand_out_together(STREAM, several(ONE_USER, *payloads)) == [Delivery(1)] * 6
    framed = [b"<" + each + b">" for each in payloads]
    assert ready.written == [framed[0] + framed[1], framed[2], framed[3] + framed[4], framed[5]]
    assert device.received == ready.written


async def test_without_receivers_nothing_is_joined(joining: Hub, ready: Ready) -> None:
    assert joining.hand_out_together(STREAM, several(ONE_USER, b"a", b"b")) == [Delivery()] * 2
    assert joining.hand_to_all_together(several(Target(all=True), b"a")) == [Delivery()]
    assert ready.written == []


async def test_a_connection_is_in_the_streams_of_its_topics_until_it_parts_or_is_gone(joining: Hub) -> None:
    devices = together(joining, 3)
    topics = [topic_stream(name) for name in ("a", "b")]
    for device in devices[:2]:
        assert all(joining.join(topic, device.connection_id) for topic in topics)
    assert not joining.join(topics[0], "unknown")
    assert [joining.hand_out(topic, b"x") for topic in topics] == [Delivery(2)] * 2
    joining.part(topics[0], devices[0].connection_id)
    joining.part(topics[0], devices[2].connection_id)
    assert [joining.size(topic) for topic in topics] == [1, 2]
    assert list(joining.topics_of(devices[0].connection_id)) == [topics[1]]
    assert joining.connections_with_topics() == devices[:2]
    for device in devices:
        joining.detach(device.connection_id)
    assert [joining.hand_out(topic, b"x") for topic in topics] == [Delivery()] * 2
    assert (joining._by_stream, joining._topics) == ({}, {})


async def test_states_of_several_streams_are_conflated_each_by_itself(joining: Hub, ready: Ready) -> None:
    (slow,) = together(joining, 1)
    ready.behind = {"0"}
    for name in ("a", "b"):
        joining.join(topic_stream(name), slow.connection_id)
        joining.hand_out(topic_stream(name), b"x", "upload:1")
    joining.hand_out(STREAM, b"x", "upload:1")
    assert len(set(slow.keys)) == 3
    assert slow.keys[-1] == "upload:1"
