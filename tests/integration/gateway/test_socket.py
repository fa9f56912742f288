"""Live sockets: allowed messages, lifetimes, and slow consumers."""

import asyncio
import gc
import json
import socket
import urllib.request
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from tellwire.broadcast import Broadcaster
from tellwire.limits import IDLE_TIMEOUT_SECONDS, MAX_CONNECTION_SECONDS, MAX_FRAME_BYTES, MAX_MESSAGE_BYTES
from tellwire.messages import create_message, create_notification_message
from tellwire.model import Delivery, Identity, Target
from tellwire.publication import Publication, user_stream
from tellwire.server.http_protocol import HttpProtocol
from tellwire.server.link import IS_FAST
from tellwire.server.socket import Connection
from tellwire.testing import FakeClock
from tests.conftest import API_KEY, Gateway, StartGateway, read
from tests.tools import until

HELLO = create_notification_message("Hello", "World", "info")


async def closed_with(device: ClientConnection) -> tuple[int | None, str | None]:
    async with asyncio.timeout(100):
        await device.wait_closed()
    return device.close_code, device.close_reason


def only_connection(gateway: Gateway) -> Any:
    """The server's end of the only connection there is."""
    (connection,) = gateway.node.hub._by_id.values()
    return connection


async def test_ping_unknown_types_and_bad_json_are_answered_and_the_socket_stays(gateway: Gateway) -> None:
    async with gateway.device() as device:
        for text, kind, code in (
            ('{"type": "ping"}', "pong", None),
            ('{"type": "dance"}', "error", "UNKNOWN_TYPE"),
            ("not json", "error", "INVALID_JSON"),
            ('{"type": "ping"}', "pong", None),
        ):
            await device.send(text)
            answer = await read(device)
            assert (answer["type"], answer["data"].get("code")) == (kind, code)


async def test_a_binary_message_closes_with_1003(gateway: Gateway) -> None:
    async with gateway.device() as device:
        await device.send(b"\x00\x01")
        assert (await closed_with(device))[0] == 1003


async def test_text_that_is_not_utf_8_closes_with_1007(gateway: Gateway) -> None:
    async with gateway.device() as device:
        await device.send(b"\xff\xfe", text=True)
        assert (await closed_with(device))[0] == 1007


async def test_a_frame_over_32_kib_closes_with_1009(gateway: Gateway) -> None:
    async with gateway.device() as device:
        await device.send("x" * MAX_FRAME_BYTES)
        assert (await read(device))["data"]["code"] == "INVALID_JSON"
        await device.send("x" * (MAX_FRAME_BYTES + 1))
        assert (await closed_with(device))[0] == 1009


async def test_a_message_over_128_kib_in_small_frames_closes_with_1009(gateway: Gateway) -> None:
    piece = "x" * MAX_FRAME_BYTES
    async with gateway.device() as device:
        await device.send([piece] * (MAX_MESSAGE_BYTES // MAX_FRAME_BYTES))
        assert (await read(device))["data"]["code"] == "INVALID_JSON"
        with pytest.raises(ConnectionClosed):
            await device.send([piece] * (MAX_MESSAGE_BYTES // MAX_FRAME_BYTES) + ["x"])
            await device.recv()
        assert (await closed_with(device))[0] == 1009


async def test_a_fragmented_message_with_a_ping_inside_is_put_together(gateway: Gateway) -> None:
    async with gateway.device() as device:
        frames = (
            Frame(Opcode.TEXT, b'{"type"', fin=False),
            Frame(Opcode.PING, b"still there?"),
            Frame(Opcode.CONT, b': "pi', fin=False),
            Frame(Opcode.CONT, b'ng"}'),
        )
        for frame in frames:
            device.transport.write(frame.serialize(mask=True))
        assert (await read(device))["type"] == "pong"


@pytest.mark.parametrize(
    "data",
    [
        Frame(Opcode.TEXT, b"unmasked").serialize(mask=False),
        b"\x83\x80\x00\x00\x00\x00",
        b"\xf1\x80\x00\x00\x00\x00",
        Frame(Opcode.CONT, b"of nothing").serialize(mask=True),
    ],
    # A mask is random, and a test's name is not.
    ids=["unmasked", "reserved opcode", "reserved bits", "continued"],
)
async def test_a_client_that_breaks_the_protocol_is_closed_with_1002(gateway: Gateway, data: bytes) -> None:
    async with gateway.device() as device:
        device.transport.write(data)
        assert (await closed_with(device))[0] == 1002


async def test_a_closed_connection_is_removed(gateway: Gateway) -> None:
    async with gateway.device():
        assert len(gateway.node.hub) == 1
    async with asyncio.timeout(100):
        while len(gateway.node.hub):
            await asyncio.sleep(0.01)
    assert await gateway.node.broadcaster.broadcast_to_user("user-1", HELLO) == Delivery()


async def test_the_application_gets_the_close_code_and_the_reason(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[int, str]] = []
    inner = gateway.node.sockets.application

    class Listening:
        def __getattr__(self, name: str) -> Any:
            return getattr(inner, name)

        def closed(self, connection: Any, code: int, reason: str) -> None:
            heard.append((code, reason))
            inner.closed(connection, code, reason)

    monkeypatch.setattr(gateway.node.sockets, "application", Listening())
    async with gateway.device() as device:
        await device.close(4000, "bye")
    async with gateway.device() as device:
        device.transport.abort()
    async with gateway.device() as device:
        (info,) = await gateway.node.hub.connections("user-1")
        await gateway.node.hub.disconnect(info.connection_id)
        await device.wait_closed()
    async with asyncio.timeout(100):
        while len(heard) < 3:
            await asyncio.sleep(0.01)
    assert heard == [(4000, "bye"), (1006, ""), (1000, "Connection Closed Normally")]


# --- time ------------------------------------------------------------------------------------------------------------


class Anyone:
    """Lets everybody in, for as long as the test's clock says."""

    def __init__(self, clock: FakeClock, ttl_seconds: float = 1e6) -> None:
        self.clock = clock
        self.ttl_seconds = ttl_seconds

    async def authenticate(self, token: str) -> Identity:
        return Identity("user-1", self.clock.now() + self.ttl_seconds)


async def start_with_clock(
    start_gateway: StartGateway, ttl_seconds: float = 1e6, **settings: Any
) -> tuple[Gateway, FakeClock]:
    clock = FakeClock()
    return await start_gateway(clock, Anyone(clock, ttl_seconds), **settings), clock


async def test_an_idle_connection_without_pings_is_closed_with_1001(start_gateway: StartGateway) -> None:
    gateway, clock = await start_with_clock(start_gateway, ping_after_seconds=0)
    async with gateway.device() as device:
        await clock.advance(IDLE_TIMEOUT_SECONDS - 1)
        await device.send('{"type": "ping"}')
        await read(device)
        await clock.advance(IDLE_TIMEOUT_SECONDS - 1)
        await gateway.node.broadcaster.broadcast_to_user("user-1", HELLO)
        assert (await read(device))["type"] == "notification"
        await clock.advance(IDLE_TIMEOUT_SECONDS + 1)
        assert await closed_with(device) == (1001, "Going away")


async def test_a_busy_connection_is_closed_with_1001_after_two_hours(start_gateway: StartGateway) -> None:
    gateway, clock = await start_with_clock(start_gateway)
    async with gateway.device() as device:
        for _ in range(int(MAX_CONNECTION_SECONDS / 300) - 1):
            await clock.advance(300)
            await gateway.node.broadcaster.broadcast_to_user("user-1", HELLO)
            await read(device)
        await clock.advance(299)
        await (await device.ping())
        await clock.advance(2)
        assert await closed_with(device) == (1001, "Going away")


async def test_nothing_is_sent_after_the_token_expired(start_gateway: StartGateway) -> None:
    gateway, clock = await start_with_clock(start_gateway, ttl_seconds=60.5)
    async with gateway.device() as device:
        await clock.advance(60)
        assert (await gateway.node.broadcaster.broadcast_to_user("user-1", HELLO)).delivered == 1
        clock.skip(0.5)  # Within the second in which nobody looks at the deadlines.
        assert await gateway.node.broadcaster.broadcast_to_user("user-1", HELLO) == Delivery(gone=1)
        assert (await read(device))["type"] == "notification"
        assert await closed_with(device) == (4401, "Token expired")


async def test_an_expired_connection_is_closed_with_4401_even_if_nobody_publishes(start_gateway: StartGateway) -> None:
    gateway, clock = await start_with_clock(start_gateway, ttl_seconds=60)
    async with gateway.device() as device:
        await clock.advance(61)
        assert await closed_with(device) == (4401, "Token expired")


async def test_auth_lets_a_connection_live_longer(start_gateway: StartGateway) -> None:
    gateway, clock = await start_with_clock(start_gateway, ttl_seconds=60)
    async with gateway.device() as device:
        await clock.advance(50)
        await device.send('{"type": "auth", "token": "new"}')
        answer = await read(device)
        assert answer["type"] == "auth_ok"
        assert "expiresAt" in answer["data"]
        await clock.advance(50)
        await gateway.node.broadcaster.broadcast_to_user("user-1", HELLO)
        assert (await read(device))["type"] == "notification"
        await clock.advance(11)
        assert (await closed_with(device))[0] == 4401


async def test_the_newer_of_two_tokens_in_a_row_is_used(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    application: Any = gateway.node.sockets.application
    keys_arrived = asyncio.Event()
    far = 4_000_000_000.0

    async def authenticate(token: str) -> Identity:
        if token == "older":
            await keys_arrived.wait()
        return Identity("user-1", far + (1 if token == "older" else 0))

    async with gateway.device() as device:
        monkeypatch.setattr(application._gatekeeper, "authenticate", authenticate)
        await device.send('{"type": "auth", "token": "older"}')
        await device.send('{"type": "auth", "token": "newer"}')
        assert (await read(device))["type"] == "auth_ok"
        keys_arrived.set()
        await device.send('{"type": "ping"}')
        assert (await read(device))["type"] == "pong"
        assert only_connection(gateway).expires_at == far


async def test_auth_with_a_bad_token_is_told_why_and_closed_with_4401(gateway: Gateway) -> None:
    async with gateway.device() as device:
        await device.send(json.dumps({"type": "auth", "token": gateway.token(ttl_seconds=-1)}))
        error = await read(device)
        assert (error["type"], error["data"]["code"]) == ("error", "TOKEN_EXPIRED")
        assert await closed_with(device) == (4401, "TOKEN_EXPIRED")


async def test_auth_with_another_users_token_is_closed_with_4403(gateway: Gateway) -> None:
    async with gateway.device("user-1") as device:
        await device.send(json.dumps({"type": "auth", "token": gateway.token("user-2")}))
        assert (await closed_with(device))[0] == 4403


# --- slow clients ----------------------------------------------------------------------------------------------------


async def test_a_burst_of_messages_is_no_slow_consumer(gateway: Gateway) -> None:
    async with gateway.device(max_queue=None) as device:
        for number in range(5000):
            delivery = await gateway.node.broadcaster.broadcast_to_user("user-1", create_message("n", number))
            assert delivery == Delivery(delivered=1)
        assert [(await read(device))["data"] for _ in range(5000)] == list(range(5000))


async def test_a_client_that_does_not_read_is_closed_with_1013_and_the_others_get_everything(
    start_gateway: StartGateway,
) -> None:
    gateway = await start_gateway(outbox_max_messages=50)
    message = create_message("blob", "x" * 20_000)
    async with gateway.device() as slow, gateway.device("user-2", max_queue=None) as quick:
        slow.transport.pause_reading()
        broadcaster: Broadcaster = gateway.node.broadcaster
        failed = sent = 0
        while not failed:
            delivery = await broadcaster.broadcast(Target(all=True), message)
            failed += delivery.failed
            sent += 1
            assert (await read(quick))["type"] == "blob"
        assert sent < 2000
        assert gateway.node.sockets.slow_closed == 1
        await broadcaster.broadcast(Target(user="user-2"), message)
        assert (await read(quick))["type"] == "blob"
        slow.transport.resume_reading()
        received = 0
        with pytest.raises(ConnectionClosed):
            while True:
                await slow.recv()
                received += 1
        assert slow.close_code == 1013
        assert received < sent


async def test_a_client_that_was_slow_for_a_moment_gets_everything_once_it_reads_again(gateway: Gateway) -> None:
    async with gateway.device(max_queue=None) as device:
        device.transport.pause_reading()
        connection = only_connection(gateway)
        sent = 0
        while len(connection._outbox) < 20:
            message = create_message("blob", {"number": sent, "filling": "x" * 20_000})
            assert (await gateway.node.broadcaster.broadcast_to_user("user-1", message)).delivered == 1
            sent += 1
            await asyncio.sleep(0)
        device.transport.resume_reading()
        assert [(await read(device))["data"]["number"] for _ in range(sent)] == list(range(sent))
        assert gateway.node.sockets.slow_closed == 0


async def test_messages_of_one_turn_stay_in_order_for_a_client_that_stops_reading_among_them(gateway: Gateway) -> None:
    async with gateway.device(max_queue=None) as device:
        device.transport.pause_reading()
        connection = only_connection(gateway)
        sent = 0
        while len(connection._outbox) < 20:
            turn = [create_message("blob", {"number": sent + each, "filling": "x" * 9_000}) for each in range(8)]
            deliveries = await asyncio.gather(
                *[gateway.node.broadcaster.broadcast_to_user("user-1", each) for each in turn]
            )
            assert deliveries == [Delivery(1)] * 8
            sent += 8
        device.transport.resume_reading()
        assert [(await read(device))["data"]["number"] for _ in range(sent)] == list(range(sent))
        assert gateway.node.sockets.slow_closed == 0


async def test_messages_handed_out_together_do_not_overtake_those_before_them_in_the_turn(gateway: Gateway) -> None:
    async with gateway.device() as device:
        hub, stream = gateway.node.hub, user_stream("user-1")
        payloads = [b'{"data": %d}' % number for number in range(4)]
        publications = [
            Publication(Target(user="user-1"), stream, f"t{number}", "note", payload, 0.0)
            for number, payload in enumerate(payloads)
        ]
        hub.hand_out_together(stream, publications[:1])
        hub.hand_out(stream, payloads[1])
        hub.hand_out_together(stream, publications[2:])
        assert [(await read(device))["data"] for _ in range(4)] == [0, 1, 2, 3]


async def test_nothing_is_written_to_the_descriptor_of_a_connection_that_is_gone(gateway: Gateway) -> None:
    application, seen = gateway.node.sockets.application, []
    closed = application.closed

    def note(connection: Connection, code: int, reason: str) -> None:
        # The descriptor is open until after this, and then that of another connection.
        seen.append((connection.is_ready, connection.fd))
        closed(connection, code, reason)

    application.closed = note  # type: ignore[method-assign]
    for end in ("abort", "close"):
        async with gateway.device() as device:
            assert only_connection(gateway).is_ready
            assert (only_connection(gateway).fd >= 0) is IS_FAST
            getattr(device.transport, end)()
        await until(lambda: not len(gateway.node.hub))
    assert seen == [(False, -1)] * 2


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="only Linux and macOS have the option")
async def test_the_kernel_takes_little_for_a_client_that_does_not_read(gateway: Gateway) -> None:
    async with gateway.device() as slow:
        slow.transport.pause_reading()
        connection = only_connection(gateway)
        written = 0
        while not connection._is_behind:
            await gateway.node.broadcaster.broadcast_to_user("user-1", create_message("blob", "x" * 20_000))
            written += 20_000
            await asyncio.sleep(0)
        # The device's own kernel takes some, too. Without a bound it is 4 MB.
        assert written < 2_000_000
        slow.transport.abort()


async def test_many_slow_consumers_are_few_lines_in_the_log(
    start_gateway: StartGateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = await start_gateway(outbox_max_bytes=1000)
    async with gateway.devices(40):
        for connection in gateway.node.hub._by_id.values():
            connection.pause_writing()  # as its transport does when the kernel takes no more
        for _ in range(2):
            await gateway.node.broadcaster.broadcast_to_user("user-1", create_message("note", "x" * 900))
        assert gateway.node.sockets.slow_closed == 40
    assert 0 < sum("messages behind" in line for line in caplog.messages) <= 21


async def test_a_slow_clients_memory_is_bounded(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(outbox_max_bytes=200_000)
    async with gateway.device() as slow:
        slow.transport.pause_reading()
        connection = only_connection(gateway)
        largest = 0
        for _ in range(3000):
            await gateway.node.broadcaster.broadcast_to_user("user-1", create_message("blob", "x" * 20_000))
            waiting = connection._outbox.size_bytes + connection._transport.get_write_buffer_size()
            largest = max(largest, waiting)
            await asyncio.sleep(0)
        assert gateway.node.sockets.slow_closed == 1
        assert largest < 200_000 + 2 * 64 * 1024 + 40_000
        slow.transport.abort()


async def test_a_client_that_pings_and_does_not_read_costs_a_bounded_amount(gateway: Gateway) -> None:
    async with gateway.device() as device:
        connection = only_connection(gateway)
        device.transport.pause_reading()
        ping = Frame(Opcode.PING, b"x" * 125).serialize(mask=True) * 200
        largest = 0
        for _ in range(2000):
            if not device.transport.is_closing() and device.transport.get_write_buffer_size() < 1_000_000:
                device.transport.write(ping)
            await asyncio.sleep(0)
            largest = max(largest, connection._transport.get_write_buffer_size())
        assert not connection.is_open
        assert largest < 500_000
        device.transport.abort()


async def test_fragments_without_content_cost_nothing(gateway: Gateway) -> None:
    async with gateway.device() as device:
        connection = only_connection(gateway)
        device.transport.write(Frame(Opcode.TEXT, b'{"type": "pi', fin=False).serialize(mask=True))
        device.transport.write(Frame(Opcode.CONT, b"", fin=False).serialize(mask=True) * 5000)
        await (await device.ping())
        assert len(connection._parser._message) == len(b'{"type": "pi')
        device.transport.write(Frame(Opcode.CONT, b'ng"}').serialize(mask=True))
        assert (await read(device))["type"] == "pong"


async def test_messages_that_waited_until_after_the_expiry_are_dropped(start_gateway: StartGateway) -> None:
    gateway, clock = await start_with_clock(start_gateway, ttl_seconds=60)
    async with gateway.device(max_queue=None) as device:
        device.transport.pause_reading()
        connection = only_connection(gateway)
        sent = 0
        while len(connection._outbox) < 20:
            await gateway.node.broadcaster.broadcast_to_user("user-1", create_message("blob", "x" * 20_000))
            sent += 1
            await asyncio.sleep(0)
        clock.skip(60)
        device.transport.resume_reading()
        received = 0
        with pytest.raises(ConnectionClosed):
            while True:
                await device.recv()
                received += 1
        assert device.close_code == 4401
        # What the transport had taken before is under way; the 20 that waited in the outbox are not.
        assert received <= sent - 20


async def test_a_renewal_that_crashes_is_answered(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with gateway.device() as device:

        async def crash(token: str) -> Identity:
            raise RuntimeError("internal detail")

        application: Any = gateway.node.sockets.application
        monkeypatch.setattr(application._gatekeeper, "authenticate", crash)
        await device.send('{"type": "auth", "token": "x"}')
        answer = await read(device)
        assert answer["data"]["code"] == "INTERNAL_ERROR"
        assert "internal detail" not in str(answer)
    assert "internal detail" in caplog.text


async def test_a_client_that_never_answers_our_close_is_cut(start_gateway: StartGateway) -> None:
    gateway, clock = await start_with_clock(start_gateway)
    async with gateway.device() as device:
        device.transport.pause_reading()
        connection = only_connection(gateway)
        connection.close(1000, "bye")
        await clock.advance(3)
        assert len(gateway.node.hub) == 1
        await clock.advance(5)
        async with asyncio.timeout(100):
            while len(gateway.node.hub):
                await asyncio.sleep(0.01)
        device.transport.abort()


def publish(gateway: Gateway) -> None:
    """Publish on a connection of its own, which is closed."""
    headers = {"Authorization": f"Bearer {API_KEY}"}
    body = {"target": {"user": "user-1"}, "message": {"type": "note", "data": 1}}
    request = urllib.request.Request(f"{gateway.url}/v1/publish", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


async def test_closed_connections_are_freed_without_the_garbage_collector(gateway: Gateway) -> None:
    def connections() -> list[Connection | HttpProtocol]:
        return [each for each in gc.get_objects() if type(each) in (Connection, HttpProtocol)]

    gc.collect()
    of_others = connections()

    def is_gone() -> bool:
        return all(any(each is other for other in of_others) for each in connections())

    gc.disable()
    try:
        for _ in range(20):
            async with gateway.device() as device:
                for request in ("ping", "hello"):
                    await device.send(json.dumps({"type": request}))
                    await read(device)
            await asyncio.to_thread(publish, gateway)
        await until(is_gone)
    finally:
        gc.enable()
    assert len(gateway.node.hub) == 0
    assert gateway.node.sockets.timers._slots == {}
