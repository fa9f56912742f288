"""The cases of Autobahn's sections 12 and 13 (compression), with the client of `websockets` in place of its program.

Autobahn's test suite runs on Python 2 only. These are its cases: sizes of messages and fragments, kinds of text, and
offers. An echo server of our own sockets answers. Its binary texts (a picture, a PDF) have none here, since the
server takes no binary messages.
"""

import json
import random
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate

from tellwire.ports import SystemClock
from tellwire.server.deflate import Deflater
from tellwire.server.server import Server
from tellwire.server.sockets import Sockets
from tests.unit.server.test_closing import Echo

# The size of a message, and of its fragments (None: it is one frame).
SIZES: Final[Sequence[tuple[int, int | None]]] = (
    *((size, None) for size in (16, 64, 256, 1024, 4096, 8192, 16_384, 32_768, 65_536, 131_072)),
    *((size, 256) for size in (8192, 16_384, 32_768, 65_536, 131_072)),
    *((131_072, fragment) for fragment in (1024, 4096, 32_768)),
)
MESSAGES: Final = 1000
FEW_MESSAGES: Final = 5

OFFERS: Final[Mapping[str, Sequence[dict[str, Any]]]] = {
    "13.1": [{}],
    "13.2": [{"server_no_context_takeover": True}],
    "13.3": [{"server_max_window_bits": 9}],
    "13.4": [{"server_max_window_bits": 15}],
    "13.5": [{"server_no_context_takeover": True, "server_max_window_bits": 9}],
    "13.6": [{"server_no_context_takeover": True, "server_max_window_bits": 15}],
    "13.7": [
        {"server_no_context_takeover": True, "server_max_window_bits": 9},
        {"server_no_context_takeover": True},
        {},
    ],
    # Ours: what the client says of its own window and state.
    "client's window": [{"client_max_window_bits": 9}],
    "no client's window": [{"client_max_window_bits": None}],
    "client's state": [{"client_no_context_takeover": True, "server_max_window_bits": 12}],
}


def json_text(size: int) -> str:
    """Return JSON, of which each part is like the others."""
    rows = [
        {"row": number, "name": f"part-{number % 97}", "is_valid": number % 3 > 0} for number in range(size // 40 + 1)
    ]
    return json.dumps(rows)[:size]


def words(size: int) -> str:
    """Return words with letters of two bytes. Its bytes are `size`, or one less."""
    source = random.Random(size)
    letters = "eeeeennnnirsatdhulcgmobwfkzpvßäöü"
    some = ["".join(source.choices(letters, k=source.randint(4, 12))) for _ in range(60)]
    return " ".join(source.choices(some, k=size // 3 + 1)).encode()[:size].decode(errors="ignore")


def markup(size: int) -> str:
    cells = (
        f'<tr class="row"><td id="c{number}">{number * 7919 % 1009}</td></tr>\n' for number in range(size // 30 + 1)
    )
    return "".join(cells)[:size]


TEXTS: Final = {"12.1": json_text, "12.3": words, "12.4": markup}


@pytest.fixture
async def address() -> AsyncIterator[str]:
    """The address of an echo server with compression."""
    clock = SystemClock()
    sockets = Sockets(AnsweringEcho(clock), clock, deflater=Deflater())
    server = Server(sockets, None, host="127.0.0.1")
    async with server.running():
        yield f"ws://{server.authority}/"


class AnsweringEcho(Echo):
    """An application that sends each message back, compressed where it is worth it."""

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)

    def received(self, connection: Any, text: str) -> None:
        connection.send_text(text.encode(), self.clock.now())


@asynccontextmanager
async def device(address: str, offers: Sequence[dict[str, Any]]) -> AsyncIterator[ClientConnection]:
    factories = [ClientPerMessageDeflateFactory(**offer) for offer in offers]
    options: dict[str, Any] = {"proxy": None, "compression": None, "ping_interval": None}
    async with connect(address, extensions=factories, **options) as socket:
        assert [type(each) for each in socket.protocol.extensions] == [PerMessageDeflate]
        yield socket


def fragments(text: str, size: int) -> Iterator[str]:
    for at in range(0, len(text), size):
        yield text[at : at + size]


async def echo(socket: ClientConnection, text: str, fragment: int | None, count: int) -> None:
    for _ in range(count):
        await socket.send(text if fragment is None else fragments(text, fragment))
        assert await socket.recv() == text


@pytest.mark.parametrize("kind", TEXTS)
async def test_section_12_messages_of_each_size_and_kind_come_back(address: str, kind: str) -> None:
    async with device(address, [{}]) as socket:
        for size, fragment in SIZES:
            await echo(socket, TEXTS[kind](size), fragment, FEW_MESSAGES)


@pytest.mark.parametrize("name", OFFERS)
async def test_section_13_each_offer_is_accepted_and_kept_to(address: str, name: str) -> None:
    offers = OFFERS[name]
    async with device(address, offers) as socket:
        (agreed,) = socket.protocol.extensions
        assert isinstance(agreed, PerMessageDeflate)
        assert agreed.remote_no_context_takeover
        assert agreed.local_no_context_takeover
        assert agreed.remote_max_window_bits == offers[0].get("server_max_window_bits", 15)
        for size, fragment in SIZES:
            await echo(socket, json_text(size), fragment, 1)


@pytest.mark.long
@pytest.mark.parametrize("name", ["13.1", "13.5", "13.7"])
@pytest.mark.parametrize("kind", TEXTS)
async def test_a_thousand_messages_of_each_size_come_back(address: str, kind: str, name: str) -> None:
    async with device(address, OFFERS[name]) as socket:
        for size, fragment in SIZES:
            await echo(socket, TEXTS[kind](size), fragment, MESSAGES if size <= 4096 else MESSAGES // 50)
