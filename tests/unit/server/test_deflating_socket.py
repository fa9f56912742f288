"""Connections with and without compression at one hub: the bytes of each, and how often they are made."""

import asyncio
import zlib
from collections.abc import Sequence
from typing import Any

import pytest
from uvicorn.server import ServerState
from websockets import protocol as ws
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame

from tellwire.carriers.hub import Sent
from tellwire.limits import DEFLATE_MIN_BYTES, MAX_MESSAGE_BYTES, READ_BYTES_AT_ONCE
from tellwire.messages import create_message, create_upload_progress_message
from tellwire.model import Delivery, Identity, Target
from tellwire.publication import Publication, user_stream
from tellwire.server.deflate import Deflater
from tellwire.server.deflating_socket import DeflatingConnection, DeflatingHub
from tellwire.server.framing import text_frames
from tellwire.server.handshake import UpgradeRequest
from tellwire.server.sockets import SocketLimits, Sockets
from tellwire.testing import FakeClock
from tests.unit.server.test_closing import Echo, Transport
from tests.unit.server.test_parser import frame

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
USER = "user-1"
STREAM = user_stream(USER)
ANY = "permessage-deflate"
SMALL = "permessage-deflate; server_max_window_bits=9"
LONG = "one message that is long enough " * 100


class Opened(Echo):
    """An application that admits everybody at once, and notes the messages."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.texts: list[str] = []

    def authorize(self, connection: Any, request: Any) -> None:  # type: ignore[override]
        connection.identify(Identity(USER, self.clock.now() + 60))

    def opened(self, connection: Any) -> None:
        pass

    def received(self, connection: Any, text: str) -> None:
        self.texts.append(text)


class Station:
    """A hub with connections on fake transports. The compressions are counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = FakeClock()
        self.hub = DeflatingHub(self.clock)
        self.application = Opened(self.clock)
        self.sockets = Sockets(self.application, self.clock, SocketLimits(), deflater=self.hub.deflater)
        self.windows: list[int] = []
        compressed = Deflater.compressed

        def counted(deflater: Deflater, payload: bytes, window_bits: int) -> bytes:
            self.windows.append(window_bits)
            return compressed(deflater, payload, window_bits)

        monkeypatch.setattr(Deflater, "compressed", counted)

    def connect(self, offer: str | None = None) -> "Device":
        headers = {"sec-websocket-version": "13", "sec-websocket-key": KEY}
        if offer is not None:
            headers["sec-websocket-extensions"] = offer
        device = Device(self, headers)
        if device.connection.is_open:
            self.hub.attach(device.connection)
        return device


class Device:
    """A connection, and the client at its other end."""

    def __init__(self, station: Station, headers: dict[str, str]) -> None:
        self.transport = Transport()
        self.connection = DeflatingConnection(station.hub.deflater, station.sockets, ServerState())
        self.connection.connection_made(self.transport)  # type: ignore[arg-type]
        self.connection.open(UpgradeRequest("/", "", headers))
        self.answer = self.taken()

    def taken(self) -> bytes:
        taken, self.transport.written = self.transport.written, b""
        return taken

    def messages(self, data: bytes) -> list[str]:
        """Return the messages in these bytes, as the client reads them."""
        client = ws.Protocol(ws.CLIENT)
        if self.connection.window_bits:
            client.extensions = [PerMessageDeflate(True, True, self.connection.window_bits, 15)]
        client.receive_data(data)
        assert client.parser_exc is None
        frames = client.events_received()
        return [bytes(each.data).decode() for each in frames if isinstance(each, Frame)]


@pytest.fixture
def station(monkeypatch: pytest.MonkeyPatch) -> Station:
    return Station(monkeypatch)


def note(text: str = LONG) -> Publication:
    return Publication.of(Target(user=USER), create_message("note", text))


def progress(percent: int) -> Publication:
    message = create_upload_progress_message("u1", "parts.csv", percent, LONG)
    return Publication.of(Target(user=USER), message)


def texts(publications: Sequence[Publication]) -> list[str]:
    return [each.payload.decode() for each in publications]


async def turn() -> None:
    await asyncio.sleep(0)


def test_the_answer_to_a_handshake_says_what_was_agreed(station: Station) -> None:
    agreed = b"permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    assert b"\r\nSec-WebSocket-Extensions: " + agreed + b"\r\n\r\n" in station.connect(ANY).answer
    small = station.connect(SMALL)
    assert agreed + b"; server_max_window_bits=9\r\n\r\n" in small.answer
    assert small.connection.window_bits == 9
    assert b"Extensions" not in station.connect().answer
    assert b"Extensions" not in station.connect("permessage-deflate; unknown").answer


def test_a_malformed_offer_is_a_400(station: Station) -> None:
    device = station.connect("permessage-deflate; ;")
    assert device.answer.startswith(b"HTTP/1.1 400 ")
    assert device.transport.is_closed


async def test_each_receiver_of_a_message_gets_its_own_bytes_and_each_form_is_made_once(station: Station) -> None:
    devices = [station.connect(offer) for offer in (None, ANY, SMALL, ANY, None, SMALL)]
    publication = note()
    assert station.hub.hand_out_alone(publication) == Delivery(6)
    written = [device.taken() for device in devices]
    assert written[0] == written[4] == text_frames(publication.payload)
    assert written[1] == written[3] != written[2] == written[5]
    for device, data in zip(devices, written, strict=True):
        assert device.messages(data) == texts([publication])
    assert station.windows == [15, 9]
    assert len(written[1]) < len(written[0]) / 10


@pytest.mark.parametrize("way", ["hand_out", "hand_to", "hand_to_all", "deliver"])
async def test_every_way_to_a_client_is_compressed(station: Station, way: str) -> None:
    device, plain = station.connect(ANY), station.connect()
    publication = note()
    match way:
        case "hand_out":
            station.hub.hand_out(STREAM, publication.payload)
        case "hand_to":
            ids = [device.connection.connection_id, plain.connection.connection_id]
            station.hub.hand_to(ids, publication.payload)
        case "hand_to_all":
            station.hub.hand_to_all(publication.payload)
        case "deliver":
            await station.hub.deliver(publication)
    await turn()
    data = device.taken()
    assert data[0] == 0xC1
    assert device.messages(data) == texts([publication])
    assert plain.taken() == text_frames(publication.payload)
    assert station.windows == [15]


async def test_an_answer_to_one_client_is_compressed_for_it(station: Station) -> None:
    device, plain = station.connect(ANY), station.connect()
    for each in (device, plain):
        assert each.connection.send_text(LONG.encode(), station.clock.now()) is Sent.DELIVERED
    await turn()
    data = device.taken()
    assert data[0] == 0xC1
    assert device.messages(data) == [LONG]
    assert plain.taken() == text_frames(LONG.encode())
    assert station.windows == [15]


async def test_nothing_is_compressed_that_nobody_wants_compressed(station: Station) -> None:
    plain, device = station.connect(), station.connect(ANY)
    station.hub.detach(device.connection.connection_id)
    station.hub.hand_out_alone(note())
    station.hub.hand_out_together(STREAM, [note(), note()])
    station.hub.hand_out(STREAM, note().payload)
    await turn()
    assert len(plain.messages(plain.taken())) == 4
    assert station.windows == []


async def test_short_messages_are_compressed_for_nobody(station: Station) -> None:
    devices = [station.connect(ANY), station.connect()]
    short = Publication.of(Target(user=USER), create_message("note", 1))
    assert len(short.payload) < DEFLATE_MIN_BYTES
    station.hub.hand_out_alone(short)
    station.hub.hand_out_together(STREAM, [short, short])
    assert devices[0].taken() == devices[1].taken() == text_frames(short.payload) * 3


async def test_the_messages_of_a_turn_are_joined_once_for_each_form(station: Station) -> None:
    devices = [station.connect(offer) for offer in (ANY, None, ANY, SMALL)]
    publications = [note(), note("short"), note(LONG + "2")]
    assert station.hub.hand_out_together(STREAM, publications) == [Delivery(4)] * 3
    written = [device.taken() for device in devices]
    for device, data in zip(devices, written, strict=True):
        assert device.messages(data) == texts(publications)
    assert written[0] == written[2]
    assert station.windows == [15, 15, 9, 9]


async def test_a_client_that_is_behind_has_its_form_in_its_outbox_and_states_are_conflated(station: Station) -> None:
    slow, fast, plain = station.connect(ANY), station.connect(ANY), station.connect()
    for each in (slow, plain):
        each.connection.pause_writing()
    states = [progress(percent) for percent in (1, 2, 3)]
    first = note()
    station.hub.hand_out_alone(first)
    for state in states:
        station.hub.hand_out(STREAM, state.payload, state.key)
    station.hub.hand_out_together(STREAM, [note("short"), note("another")])
    await turn()
    assert (slow.taken(), plain.taken()) == (b"", b"")
    assert slow.connection._outbox.size_bytes < plain.connection._outbox.size_bytes / 5
    for each in (slow, plain):
        each.connection.resume_writing()
    messages = slow.messages(slow.taken())
    assert messages == plain.messages(plain.taken())
    assert messages[:2] == texts([first, states[-1]])
    assert len(messages) == 4
    assert len(fast.messages(fast.taken())) == 6
    # One for each message, though one of the clients got some of them later.
    assert station.windows == [15] * 4


async def test_a_close_and_a_pong_are_never_compressed(station: Station) -> None:
    device = station.connect(ANY)
    device.connection.data_received(frame(9, b"x" * 125))
    device.connection.close(4000, "x" * 100)
    assert device.taken() == b"\x8a\x7d" + b"x" * 125 + b"\x88\x66\x0f\xa0" + b"x" * 100


async def test_long_compressed_messages_are_read_in_several_turns(station: Station) -> None:
    device, other = station.connect(ANY), station.connect(ANY)
    compressor = zlib.compressobj(wbits=-15)
    bomb = (compressor.compress(b"x" * MAX_MESSAGE_BYTES) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert len(bomb) < 200
    device.connection.data_received(frame(0x41, bomb))
    assert station.application.texts == []
    other.connection.data_received(frame(0x41, b"\xf2\x48\xcd\xc9\xc9\x07\x00"))
    assert station.application.texts == ["Hello"]
    turns = 0
    while len(station.application.texts) == 1:
        assert not device.transport.is_reading
        await turn()
        turns += 1
    assert station.application.texts == ["Hello", "x" * MAX_MESSAGE_BYTES]
    assert device.transport.is_reading
    assert turns > 1
    assert station.sockets.turns._bytes_at_once == READ_BYTES_AT_ONCE


async def test_a_client_that_stops_reading_stops_the_inflation_of_its_message_until_it_reads(station: Station) -> None:
    device = station.connect(ANY)
    compressor = zlib.compressobj(wbits=-15)
    long = (compressor.compress(b"x" * MAX_MESSAGE_BYTES) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    device.connection.data_received(frame(0x41, long))
    device.connection.pause_writing()
    for _ in range(20):
        await turn()
    assert station.application.texts == []
    device.connection.resume_writing()
    while not station.application.texts:
        await turn()
    assert len(station.application.texts[0]) == MAX_MESSAGE_BYTES


async def test_a_bomb_is_answered_with_1009(station: Station) -> None:
    device = station.connect(ANY)
    compressor = zlib.compressobj(wbits=-15)
    bomb = (compressor.compress(b"x" * 10_000_000) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    device.connection.data_received(frame(0x41, bomb))
    while not (answer := device.taken()):
        await turn()
    assert answer[:1] == b"\x88"
    assert int.from_bytes(answer[2:4]) == 1009
    assert station.application.texts == []
