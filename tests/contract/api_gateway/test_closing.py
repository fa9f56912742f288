"""Ends of connections, and the events of `$disconnect`."""

import contextlib
import socket as sockets
import struct

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from tests.contract.api_gateway import handlers
from tests.contract.api_gateway.conftest import Contract, StartContract


def closed_with(client: ClientConnection) -> int:
    with pytest.raises(ConnectionClosed) as caught:
        client.recv(45)
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code


def disconnect_reason(contract: Contract) -> tuple[int, str]:
    (event,) = contract.events("DISCONNECT", 1)
    context = event["requestContext"]
    return context["disconnectStatusCode"], context["disconnectReason"]


def test_ten_minutes_of_silence_end_a_connection(contract: Contract) -> None:
    with contract.connect() as client:
        contract.advance(590)
        client.send("still here")
        contract.events("MESSAGE", 1)
        contract.advance(590)
        contract.boto3().post_to_connection(ConnectionId=contract.connection_id, Data=b"and you")
        assert client.recv(45) == "and you"
        contract.advance(590)
        contract.boto3().get_connection(ConnectionId=contract.connection_id)
        contract.advance(11)
        assert closed_with(client) == 1001
    assert disconnect_reason(contract) == (1001, "Going away")


def test_two_hours_end_a_connection_however_busy(contract: Contract) -> None:
    with contract.connect() as client:
        for count in range(1, 13):
            contract.advance(599)
            client.send("busy")
            contract.events("MESSAGE", count)
        contract.advance(13)
        assert closed_with(client) == 1001
    assert disconnect_reason(contract) == (1001, "Going away")


def test_a_binary_message_ends_a_connection(contract: Contract) -> None:
    with contract.connect() as client:
        client.send(b"binary")
        assert closed_with(client) == 1003
    assert disconnect_reason(contract)[0] == 1003
    assert contract.events("MESSAGE") == []


def test_a_frame_over_32_kib_ends_a_connection(contract: Contract) -> None:
    with contract.connect() as client:
        client.send("x" * 32_768)
        contract.events("MESSAGE", 1)
        client.send("x" * 32_769)
        assert closed_with(client) == 1009
    assert disconnect_reason(contract)[0] == 1009
    assert len(contract.events("MESSAGE")) == 1


def test_a_message_over_128_kib_ends_a_connection(contract: Contract) -> None:
    with contract.connect() as client:
        client.send(["x" * 32_768] * 4)
        assert len(contract.events("MESSAGE", 1)[0]["body"]) == 131_072
        with contextlib.suppress(ConnectionClosed):  # which may come before the last frame, an empty one
            client.send(["x" * 32_768] * 4 + ["x"])
        assert closed_with(client) == 1009
    assert disconnect_reason(contract)[0] == 1009
    assert len(contract.events("MESSAGE")) == 1


def test_a_client_that_says_no_code(contract: Contract) -> None:
    with contract.connect() as client:
        # An empty close frame, masked with nothing.
        client.socket.sendall(b"\x88\x80\x00\x00\x00\x00")
        assert disconnect_reason(contract) == (1005, "Client-side close frame status not set")


def test_a_client_that_says_why(contract: Contract) -> None:
    with contract.connect() as client:
        client.close(4000, "I have had enough")
    assert disconnect_reason(contract) == (4000, "I have had enough")


def test_a_client_that_vanishes(contract: Contract) -> None:
    with contract.connect() as client:
        client.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
        client.socket.shutdown(sockets.SHUT_RDWR)
        client.socket.close()
        assert disconnect_reason(contract)[0] == 1006


def test_a_disconnect_that_fails_changes_nothing(start: StartContract) -> None:
    contract = start(disconnect=handlers.failing_disconnect)
    for count in (1, 2, 3):
        with contract.connect():
            pass
        assert len(contract.events("DISCONNECT", count)) == count
