"""The write to the connections that are ready. With the package `tellwire-fast` these tests are those of its loop."""

import socket
from collections.abc import Iterator

import pytest

from tellwire.server.link import Link, write_ready

NOW, ACTIVE_AT = 1000.0, 50.0


class Device(Link):
    """A connection over a socket, and the bytes that its transport was given."""

    __slots__ = ("client", "given", "server")

    def __init__(self, *, is_ready: bool = True, expires_at: float = float("inf"), has_descriptor: bool = True) -> None:
        self.server, self.client = socket.socketpair()
        self.server.setblocking(False)
        self.client.setblocking(False)
        self.given = b""
        self.is_ready = is_ready
        self.expires_at = expires_at
        self.last_active_at = 0.0
        self.fd = self.server.fileno() if has_descriptor else -1

    def write_now(self, frames: bytes) -> None:
        self.given += frames

    def received(self) -> bytes:
        """Return all bytes: those that the kernel has taken, and then those that are left to the transport."""
        received = b""
        try:
            while part := self.client.recv(65536):
                received += part
        except BlockingIOError:
            pass
        return received + self.given


@pytest.fixture
def devices() -> Iterator[list[Device]]:
    made: list[Device] = []
    yield made
    for each in made:
        each.server.close()
        each.client.close()


def test_those_that_are_ready_are_written_to_and_the_others_are_returned_in_order(devices: list[Device]) -> None:
    devices += [
        Device(),
        Device(is_ready=False),
        Device(expires_at=NOW),
        Device(expires_at=NOW + 0.001),
        Device(has_descriptor=False),
        Device(is_ready=False),
    ]
    behind = write_ready(devices, b"frames", NOW, ACTIVE_AT)
    assert behind == [devices[1], devices[2], devices[5]]
    assert [each.received() for each in devices] == [b"frames", b"", b"", b"frames", b"frames", b""]
    assert [each.last_active_at for each in devices] == [ACTIVE_AT, 0.0, 0.0, ACTIVE_AT, ACTIVE_AT, 0.0]


def test_what_the_kernel_does_not_take_goes_to_the_transport_in_order(devices: list[Device]) -> None:
    devices += [Device(), Device(), Device()]
    devices[0].server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    full = devices[1].server
    filled = 0
    with pytest.raises(BlockingIOError):
        while True:
            filled += full.send(b"-" * 4096)
    frames = b"".join(b"%08d" % number for number in range(30_000))
    assert write_ready(devices, frames, NOW, ACTIVE_AT) == []
    assert [each.received() for each in devices] == [frames, b"-" * filled + frames, frames]
    assert all(each.last_active_at == ACTIVE_AT for each in devices)


def test_a_connection_that_was_reset_is_left_to_its_transport_and_stops_no_other(devices: list[Device]) -> None:
    devices += [Device(), Device(), Device()]
    devices[1].client.close()
    assert write_ready(devices, b"frames", NOW, ACTIVE_AT) == []
    assert devices[1].given == b"frames"
    assert [devices[0].received(), devices[2].received()] == [b"frames", b"frames"]


def test_hundreds_of_connections_get_the_same(devices: list[Device]) -> None:
    devices += [Device() for _ in range(300)]
    assert write_ready(devices, b"frames", NOW, ACTIVE_AT) == []
    assert {each.received() for each in devices} == {b"frames"}
