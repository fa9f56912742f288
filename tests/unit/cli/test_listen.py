"""The notes of `tellwire listen` on its connection, and its exit codes."""

import asyncio
import json

import pytest
from websockets.asyncio.server import ServerConnection

from tellwire.cli.listen import _listen
from tellwire.client import ClientOptions
from tests.unit.client.servers import Handler, answer, scripted, stays

TOKEN = "head.claims.signature"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tellwire.cli.listen._OPTIONS", ClientOptions(backoff_first_seconds=0.001, backoff_max_seconds=0.01)
    )


class Said:
    """An `Output` that records. It ends the command after a number of lines."""

    def __init__(self, lines: int = 100) -> None:
        self.lines: list[str] = []
        self.shown: list[bytes] = []
        self._left = lines
        self.ended = asyncio.Event()

    def show(self, payload: bytes) -> None:
        self.shown.append(payload)

    def say(self, text: str) -> None:
        self.lines.append(text)
        if len(self.lines) >= self._left:
            self.ended.set()

    def __enter__(self) -> object:
        return self

    def __exit__(self, *_: object) -> None:
        pass


async def listens(url: str, said: Said, *, renewable: bool = True, from_start: bool = False) -> int | None:
    """Listen until the command ends, and return its exit code, or until enough lines are recorded."""
    websocket = url.replace("http", "ws") + "/"
    listening = asyncio.create_task(
        _listen(websocket, lambda: TOKEN, renewable=renewable, output=said, from_start=from_start)
    )
    enough = asyncio.create_task(said.ended.wait())
    async with asyncio.timeout(45):
        await asyncio.wait([listening, enough], return_when=asyncio.FIRST_COMPLETED)
    enough.cancel()
    if listening.done():
        return listening.result()
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    return None


def closes(code: int, reason: str) -> Handler:
    async def close(device: ServerConnection) -> None:
        await device.close(code, reason)

    return close


async def test_a_close_is_said_and_it_comes_back() -> None:
    said = Said(lines=4)
    async with scripted(closes(1012, "Service restart")) as server:
        assert await listens(server.url, said) is None
        listening, again = f"listening on ws://127.0.0.1:{server.port}/", "connection closed (1012 Service restart)"
    assert said.lines == [listening, f"{again}; trying again", listening, f"{again}; trying again"]


async def test_the_same_trouble_is_said_once() -> None:
    said = Said(lines=3)
    async with scripted() as server:
        busy = {"code": "RESTARTING", "message": "The server is restarting; come back"}
        server.answers = [answer(503, busy), answer(503, busy), answer(503, busy), answer(500)]
        assert await listens(server.url, said) is None
    assert said.lines[:2] == [
        "refused: The server is restarting; come back (503 RESTARTING); trying again",
        "refused: the server answered 500; is this a tellwire gateway?; trying again",
    ]
    assert said.lines[2].startswith("listening on")


async def test_nobody_there_is_said_with_the_address() -> None:
    said = Said(lines=1)
    async with scripted() as server:
        url = server.url
    assert await listens(url, said) is None
    assert said.lines == [f"no gateway at {url.replace('http', 'ws')}/: connection refused; trying again"]


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_what_is_no_gateway_is_given_up(status: int) -> None:
    said = Said()
    async with scripted(stays, answer(status)) as server:
        assert await listens(server.url, said) == 1
    assert said.lines == [f"refused: the server answered {status}; is this a tellwire gateway?"]


async def test_a_token_that_was_given_and_has_expired_is_given_up() -> None:
    said = Said()
    async with scripted(closes(4401, "Token expired")) as server:
        assert await listens(server.url, said, renewable=False) == 1
    assert said.lines[1:] == ["connection closed (4401 Token expired)"]


async def test_a_token_made_here_that_has_expired_is_made_anew() -> None:
    said = Said(lines=3)
    async with scripted(closes(4401, "Token expired")) as server:
        assert await listens(server.url, said) is None
    assert said.lines[1] == "connection closed (4401 Token expired); trying again"


async def test_a_last_word_of_the_server_is_given_up() -> None:
    said = Said()
    async with scripted(closes(4403, "")) as server:
        assert await listens(server.url, said) == 1
    assert said.lines[1:] == ["connection closed (4403)"]


async def test_messages_are_shown_as_they_came(caplog: pytest.LogCaptureFixture) -> None:
    said = Said()

    async def speak(device: ServerConnection) -> None:
        for each in ('{"type":"x","data":1}', '{"message": "Forbidden"}', "hello", '{"type":"x","data":1}'):
            await device.send(each)
        await device.close(4403)

    async with scripted(speak) as server:
        assert await listens(server.url, said) == 1
    assert said.shown == [b'{"type":"x","data":1}', b'{"type":"x","data":1}']
    assert 'not a message: b\'{"message": "Forbidden"}\'' in caplog.text


def page(*, recovered: bool) -> str:
    messages = [{"type": "x", "data": 1, "cursor": "e:1"}]
    data = {"cursor": "e:1", "recovered": recovered, "messages": messages, "state": [], "last": True}
    return json.dumps({"type": "welcome", "data": data})


async def test_what_was_missed_is_shown_without_a_word() -> None:
    said = Said()

    async def speak(device: ServerConnection) -> None:
        await device.recv()
        await device.send(page(recovered=True))
        await device.close(4403)

    async with scripted(speak) as server:
        assert await listens(server.url, said) == 1
        assert said.lines == [f"listening on ws://127.0.0.1:{server.port}/", "connection closed (4403)"]
    assert said.shown == [b'{"type": "x", "data": 1, "cursor": "e:1"}']


async def test_what_may_be_missing_is_said_each_time() -> None:
    said = Said(lines=5)

    async def speak(device: ServerConnection) -> None:
        await device.recv()
        await device.send(page(recovered=False))
        await device.close(1012, "Service restart")

    async with scripted(speak) as server:
        assert await listens(server.url, said) is None
    missing = "some messages may be missing: the gateway no longer has them"
    assert [said.lines[1], said.lines[4]] == [missing, missing]


@pytest.mark.parametrize(
    ("from_start", "hello"), [(True, {"type": "hello", "cursors": {"user": "0"}}), (False, {"type": "hello"})]
)
async def test_it_begins_now_or_with_all_that_is_kept(from_start: bool, hello: object) -> None:
    said = Said()
    heard: list[object] = []

    async def speak(device: ServerConnection) -> None:
        heard.append(json.loads(await device.recv()))
        await device.close(4403)

    async with scripted(speak) as server:
        assert await listens(server.url, said, from_start=from_start) == 1
    assert heard == [hello]
