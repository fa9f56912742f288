"""The hub: who gets a message, and that one connection's trouble is its own."""

from dataclasses import dataclass, field

import pytest

from tellwire.carriers.hub import Hub, Sent
from tellwire.model import ConnectionInfo, Delivery, Target
from tellwire.publication import Publication, target_stream
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

    def send(self, frames: bytes, now: float, key: str | None = None, *, is_final: bool = False) -> Sent:
        if self.answer is Sent.DELIVERED:
            self.received.append(frames)
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
