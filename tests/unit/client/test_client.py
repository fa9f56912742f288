"""The client's shell on real sockets, against servers that no good server is like."""

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from tellwire.client import Client, ClientOptions, ClosedForGood, CloseReason, ConnectionState, RequestError
from tellwire.client.actions import Why
from tellwire.errors import ConfigError, InvalidMessage, MessageTooBig
from tellwire.testing import FakeClock
from tests.unit.client.servers import SleepyClock, answer, mute, passes, reached, scripted

TOKEN = "head.claims.signature"
QUICK = ClientOptions(backoff_first_seconds=0.001, backoff_max_seconds=0.01)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that does not wait long for the answer to its close."""
    monkeypatch.setattr("tellwire.client.socket.CLOSE_TIMEOUT_SECONDS", 0.05)


def given(why: Why) -> str:
    return TOKEN


def client_of(url: str, get_token: Any = given, **options: Any) -> Client:
    # Most of these servers say what they have to say, and answer no hello.
    return Client(url, get_token, **{"options": QUICK, "recover": False, **options})


def said(message_type: str = "notification", **data: Any) -> str:
    return json.dumps({"type": message_type, "data": data, "timestamp": "2026-11-23T09:18:54.123Z"})


# --- tokens -----------------------------------------------------------------------------------------------------------


async def test_the_token_travels_in_the_subprotocol() -> None:
    async with scripted() as server, client_of(server.url) as client:
        await reached(client, "open")
        (request,) = server.requests
        assert request.headers["Sec-WebSocket-Protocol"] == f"tellwire.v1, token.{TOKEN}"
        assert TOKEN not in request.path


async def test_the_token_travels_in_the_query_for_servers_that_know_nothing_else() -> None:
    async with scripted() as server, client_of(f"{server.url}/prod", lambda _: "a b&c", token_in="query") as client:
        await reached(client, "open")
        (request,) = server.requests
        assert request.path == "/prod?token=a+b%26c"
        assert "Sec-WebSocket-Protocol" not in request.headers


async def test_get_token_may_be_a_coroutine_function() -> None:
    async def get_token(why: Why) -> str:
        await asyncio.sleep(0)
        return f"{TOKEN}-{why}"

    async with scripted() as server, client_of(server.url, get_token) as client:
        await reached(client, "open")
        assert server.tokens == [f"{TOKEN}-connect"]


async def fails(why: Why) -> str:
    raise ValueError("the password is hunter2")


async def hangs(why: Why) -> str:
    await asyncio.Event().wait()
    return TOKEN


async def is_cancelled(why: Why) -> str:
    raise asyncio.CancelledError


async def has_no_setting(why: Why) -> str:
    raise ConfigError("TOKEN_URL is not set")


@pytest.mark.parametrize(
    ("get_token", "words"),
    [
        (fails, "get_token failed: ValueError"),
        (is_cancelled, "get_token failed: CancelledError"),
        (hangs, "get_token: none within 15 seconds"),
        (has_no_setting, "TOKEN_URL is not set"),
        (lambda _: None, "get_token: got none that can be sent; allowed: a token as a string"),
        (lambda _: "", "get_token: got none that can be sent; allowed: a token as a string"),
        (lambda _: "s3cret\r\nCookie: x", "get_token: got none that can be sent; allowed: a token as a string"),
    ],
)
async def test_a_token_that_cannot_be_had_is_a_failed_attempt(get_token: Any, words: str) -> None:
    async with scripted() as server:
        clock = FakeClock()
        async with client_of(server.url, get_token, clock=clock) as client:
            await clock.advance(15)
            state = await reached(client, "waiting")
            assert state.reason == CloseReason("token", words)
            assert server.requests == []


async def test_a_token_that_was_refused_is_asked_for_anew() -> None:
    whys: list[Why] = []

    def get_token(why: Why) -> str:
        whys.append(why)
        return f"{TOKEN}{len(whys)}"

    expired = answer(401, {"code": "TOKEN_EXPIRED", "message": "The token has expired"})
    async with scripted() as server:
        server.answers = [expired]
        async with client_of(server.url, get_token) as client:
            await reached(client, "open")
            assert whys == ["connect", "refused"]
            assert server.tokens == [f"{TOKEN}1", f"{TOKEN}2"]


async def test_a_token_goes_to_no_other_server(caplog: pytest.LogCaptureFixture) -> None:
    async with scripted() as other, scripted() as server:
        server.answers = [answer(302, Location=f"ws://127.0.0.1:{other.port}/")]
        client = client_of(server.url, gives_up=lambda _: True)
        async with client:
            state = await reached(client, "closed")
            target = f"It redirects to ws://127.0.0.1:{other.port}/"
            assert state.reason == CloseReason("server", target, 302, "REDIRECTED")
        assert other.requests == []


@pytest.mark.parametrize("token_in", ["subprotocol", "query"])
async def test_tokens_are_never_logged(token_in: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with scripted() as server:
        server.answers = [answer(401)]
        async with client_of(server.url, token_in=token_in) as client:
            await reached(client, "open")
    assert "tellwire.client" in {record.name for record in caplog.records}
    # The test's own server, which is websockets', tells everything.
    assert TOKEN not in "".join(record.getMessage() for record in caplog.records if record.name != "websockets.server")


# --- handshakes that fail ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "after"), [(429, "7"), (503, "Tue, 14 Nov 2023 22:13:27 GMT")])
async def test_retry_after_is_kept_to(status: int, after: str) -> None:
    clock = FakeClock(1_700_000_000.0)
    async with scripted() as server:
        server.answers = [answer(status, {"code": "RESTARTING", "message": "come back"}, Retry_After=after)]
        async with client_of(server.url, clock=clock, jitter=lambda: 1.0) as client:
            state = await reached(client, "waiting")
            assert state.reason == CloseReason("server", "come back", status, "RESTARTING")
            assert state.retry_at == pytest.approx(clock.now() + 7.001)
            await clock.advance(7)
            assert client.state.status == "waiting"
            await clock.advance(0.01)
            await reached(client, "open")


async def test_nobody_there_is_the_network() -> None:
    async with scripted() as server:
        gone = server.url
    async with client_of(gone, clock=FakeClock()) as client:
        state = await reached(client, "waiting")
        assert state.reason == CloseReason("lost", "connection refused")


async def test_a_server_that_does_not_answer_the_handshake_is_given_up() -> None:
    clock = FakeClock()
    async with mute(greets=False) as url, client_of(url, clock=clock) as client:
        await asyncio.sleep(0.01)
        await clock.advance(15)
        state = await reached(client, "waiting")
        assert state.reason == CloseReason("lost", "no answer within 15 seconds")


async def test_a_server_of_this_machine_is_reached_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "ws_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    async with scripted() as server, client_of(server.url) as client:
        await reached(client, "open")


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("http://user:hunter2@127.0.0.1:9", "connection refused"),
        ("ftp://user:hunter2@127.0.0.1:9", "the address of the proxy is not valid"),
        ("socks5://user:hunter2@127.0.0.1:9", "connecting through a SOCKS proxy requires python-socks"),
    ],
)
async def test_others_are_reached_through_the_proxy(proxy: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    async with client_of("https://live.example.com", clock=FakeClock()) as client:
        state = await reached(client, "waiting")
        assert state.reason == CloseReason("lost", words)


# --- messages ---------------------------------------------------------------------------------------------------------


async def test_messages_come_in_their_order_and_what_the_protocol_says_does_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def speak(device: ServerConnection) -> None:
        for each in (said("a"), said("pong"), "no message", said("auth_ok"), said("b")):
            await device.send(each)
        await device.wait_closed()

    async with scripted(speak) as server, client_of(server.url) as client:
        got = [await anext(client) for _ in range(2)]
        assert [(each.type, each.payload) for each in got] == [("a", said("a").encode()), ("b", said("b").encode())]
    assert "not a message: b'no message'" in caplog.text


async def test_a_program_that_does_not_keep_up_loses_nothing_and_keeps_its_connection() -> None:
    async def speak(device: ServerConnection) -> None:
        for number in range(20_000):
            await device.send(said(number=number, padding="." * 200))
        await device.wait_closed()

    clock = FakeClock()
    async with scripted(speak) as server, client_of(server.url, clock=clock) as client:
        await anext(client)
        for _ in range(50):
            await clock.advance(10)
            await asyncio.sleep(0.002)
        assert len(client._shell.inboxes.user._messages) <= 1024
        numbers = [(await anext(client)).data["number"] for _ in range(19_999)]
        assert numbers == list(range(1, 20_000))
        assert len(server.requests) == 1
        await passes(clock, client, 60)
        assert client.state.status == "open"


async def test_what_came_before_the_last_word_is_still_given() -> None:
    async def speak(device: ServerConnection) -> None:
        await device.send(said("a"))
        await device.send(said("b"))
        await device.close(4403, "TOKEN_OF_ANOTHER_USER")

    async with scripted(speak) as server, client_of(server.url) as client:
        await reached(client, "closed")
        got = [(await anext(client)).type, (await anext(client)).type]
        assert got == ["a", "b"]
        with pytest.raises(ClosedForGood, match="TOKEN_OF_ANOTHER_USER"):
            await anext(client)
        assert len(server.requests) == 1


async def test_send_returns_the_message_that_the_handler_answers_with() -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()

    async def speak(device: ServerConnection) -> None:
        async for each in device:
            request = json.loads(each)
            await heard.put(request)
            result = {"result": {"type": "renamed", "data": 7}} if request["type"] == "rename_moc" else {}
            await device.send(json.dumps({"type": "ok", "data": {"id": request["id"], **result}}))

    async with scripted(speak) as server, client_of(server.url) as client:
        # It waits for the connection.
        answer = await client.send("rename_moc", {"name": "x"})
        assert answer is not None
        assert (answer.type, answer.data) == ("renamed", 7)
        request = await heard.get()
        assert len(request.pop("id")) >= 16
        assert request == {"type": "rename_moc", "data": {"name": "x"}}
        assert await client.send("touch") is None


async def test_a_long_message_goes_out_in_frames_api_gateway_takes() -> None:
    frames: asyncio.Queue[int] = asyncio.Queue()

    async def speak(device: ServerConnection) -> None:
        async for each in device.recv_streaming(decode=True):
            await frames.put(len(each))

    async with scripted(speak) as server, client_of(server.url) as client:
        await reached(client, "open")
        sending = asyncio.create_task(client.send("note", "x" * 100_000))
        sizes = [await frames.get() for _ in range(4)]
        assert max(sizes) <= 32 * 1024
        assert sum(sizes) == 100_000 + len('{"type":"note","data":"","id":"1234567890123456"}')
        sending.cancel()


@pytest.mark.parametrize(
    ("message_type", "data", "error"),
    [("", None, InvalidMessage), ("a", object(), InvalidMessage), ("a", "x" * 131_072, MessageTooBig)],
)
async def test_what_cannot_be_sent_is_an_error_whether_open_or_not(
    message_type: str, data: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await client_of("http://127.0.0.1:9").send(message_type, data)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda client: client.ack("5"), "cursor: got '5'; allowed: the cursor of a message"),
        (lambda client: client.read(), "allowed: cursors, up_to, or both"),
        (lambda client: client.read(cursors=["e:1"] * 101), "allowed: a list of 1 to 100 cursors"),
        (lambda client: client.read(cursors="e:1"), "allowed: a list of 1 to 100 cursors"),
        (lambda client: client.cancel(""), "upload_id: got ''; allowed: a non-empty string"),
        (lambda client: client.dismiss(), "allowed: exactly one of upload_id, cursors, up_to"),
        (lambda client: client.dismiss("u1", up_to="e:1"), "allowed: exactly one of"),
        (lambda client: client.clear_finished(-1), "ended_up_to: got -1"),
        (lambda client: client.history(limit=101), "limit: got 101; allowed: a whole number from 1 to 100"),
        (lambda client: client.history(before="x"), "before: got 'x'"),
        (lambda client: client.send("a", timeout_seconds=301), "timeout_seconds: got 301; allowed: over 0, up to 300"),
    ],
)
async def test_a_request_with_a_wrong_value_says_what_is_allowed(ask: Callable[[Client], Any], words: str) -> None:
    with pytest.raises(InvalidMessage) as raised:
        await ask(client_of("http://127.0.0.1:9"))
    assert words in str(raised.value)


async def test_whoever_does_not_wait_any_longer_leaves_no_request_behind() -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()

    async def speak(device: ServerConnection) -> None:
        async for each in device:
            await heard.put(json.loads(each)["type"])

    async with scripted(speak) as server, client_of(server.url) as client:
        asking = asyncio.create_task(client.send("one"))
        await asyncio.sleep(0)
        asking.cancel()
        await reached(client, "open")
        other = asyncio.create_task(client.send("two"))
        assert await heard.get() == "two"
    with pytest.raises(RequestError, match="The client is closed") as raised:
        await other
    assert raised.value.code == "CLOSED"


# --- what was missed --------------------------------------------------------------------------------------------------


def placed(offset: int, **data: Any) -> dict[str, Any]:
    return {"type": "said", "data": {"number": offset, **data}, "cursor": f"e:{offset}"}


def page(upto: int, *messages: dict[str, Any], recovered: bool = True, last: bool = True) -> str:
    its = {"cursor": f"e:{upto}", "recovered": recovered, "messages": messages, "state": [], "last": last}
    return json.dumps({"type": "welcome", "data": its})


@pytest.mark.parametrize(
    ("options", "hello"),
    [
        ({}, {"type": "hello"}),
        ({"start_from": "oldest"}, {"type": "hello", "cursors": {"user": "0"}}),
        (
            {"cursors": {"user": "e:7"}, "start_from": "oldest"},
            {"type": "hello", "cursors": {"user": "e:7"}},
        ),
    ],
)
async def test_the_first_hello_says_where_to_begin(options: Any, hello: Any) -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()

    async def speak(device: ServerConnection) -> None:
        async for each in device:
            await heard.put(json.loads(each))

    async with scripted(speak) as server, client_of(server.url, recover=True, **options):
        assert await heard.get() == hello


def test_where_to_begin_is_now_or_the_oldest() -> None:
    with pytest.raises(ConfigError, match="start_from: got 'yesterday'; allowed: now, oldest"):
        client_of("http://127.0.0.1:9", start_from="yesterday")


async def test_the_cursor_is_that_of_the_last_message_the_program_has_taken() -> None:
    async def speak(device: ServerConnection) -> None:
        await device.recv()
        await device.send(page(6, placed(4), placed(6)))
        await device.send(said("call"))
        await device.send(json.dumps(placed(7)))
        await device.wait_closed()

    async with scripted(speak) as server, client_of(server.url, recover=True, cursors={"user": "e:3"}) as client:
        cursors = [client.cursors["user"]]
        for _ in range(4):
            message = await anext(client)
            cursors.append(client.cursors["user"])
        assert message.cursor == "e:7"
        assert cursors == ["e:3", "e:5", "e:6", "e:6", "e:7"]


async def test_a_program_that_crashed_comes_back_to_what_it_had_not_taken() -> None:
    said_by_then = [placed(number) for number in range(1, 301)]

    async def speak(device: ServerConnection) -> None:
        cursor = json.loads(await device.recv())["cursors"]["user"]
        after = 0 if cursor == "0" else int(cursor.split(":")[1])
        await device.send(page(300, *said_by_then[after:]))
        await device.wait_closed()

    numbers: list[int] = []
    cursors = {"user": "0"}
    async with scripted(speak) as server:
        while len(numbers) < 300:
            async with client_of(server.url, recover=True, cursors=cursors) as client:
                numbers += [(await anext(client)).data["number"] for _ in range(60)]
                cursors = client.cursors
    assert numbers == list(range(1, 301))


async def test_a_program_that_crashes_before_its_first_message_comes_back_to_its_welcome() -> None:
    async def speak(device: ServerConnection) -> None:
        await device.recv()
        # Two were published while it connected: the first is the beginning of its log.
        await device.send(json.dumps(placed(5)))
        await device.send(json.dumps(placed(6)))
        await device.send(page(6))
        await device.wait_closed()

    stored: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    async with scripted(speak) as server, client_of(server.url, recover=True) as client:
        client.on_state(lambda state: stored.put_nowait(client.cursors) if state.recovered is not None else None)
        assert await stored.get() == {"user": "e:4"}
        assert stored.empty()


async def test_of_a_long_welcome_no_more_waits_than_one_page_over_the_bound() -> None:
    async def speak(device: ServerConnection) -> None:
        await device.recv()
        for start in range(1, 20_001, 100):
            messages = [placed(number, padding="." * 200) for number in range(start, start + 100)]
            await device.send(page(20_000, *messages, last=start == 19_901))
        await device.wait_closed()

    clock = FakeClock()
    options = ClientOptions()
    async with (
        scripted(speak) as server,
        client_of(server.url, recover=True, cursors={"user": "e:0"}, clock=clock, options=options) as client,
    ):
        await anext(client)
        for _ in range(50):
            await clock.advance(10)
            await asyncio.sleep(0.002)
        assert len(client._shell.inboxes.user._messages) <= 1024 + 100
        numbers = [(await anext(client)).data["number"] for _ in range(19_999)]
        assert numbers == list(range(2, 20_001))
        assert client.state.recovered
        assert len(server.requests) == 1


async def test_all_requests_say_what_they_are_told() -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()

    async def speak(device: ServerConnection) -> None:
        await device.recv()
        await device.send(page(5))
        async for each in device:
            request = json.loads(each)
            result = {"result": {"messages": [placed(4)], "more": True}} if request["type"] == "history" else {}
            await device.send(json.dumps({"type": "ok", "data": {"id": request.pop("id"), **result}}))
            await heard.put(request)

    async with scripted(speak) as server, client_of(server.url, recover=True) as client:
        await client.ack()  # of nothing so far
        await client.clear_finished()
        while client.state.recovered is None:
            await asyncio.sleep(0)
        await client.ack()
        await client.ack("e:3")
        await client.cancel("u1")
        await client.dismiss("u1")
        older = await client.history(before="e:5", limit=1)
        assert ([each.data for each in older.messages], older.more) == ([{"number": 4}], True)
        assert older.messages[0].replayed
        assert [await heard.get() for _ in range(5)] == [
            {"type": "ack", "cursor": "e:5"},
            {"type": "ack", "cursor": "e:3"},
            {"type": "cancel", "uploadId": "u1"},
            {"type": "dismiss", "key": "upload:u1"},
            {"type": "history", "stream": "user", "limit": 1, "before": "e:5"},
        ]


# --- life and sleep ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_has_gone_silent_is_left() -> None:
    clock = FakeClock()
    async with mute(greets=True) as url, client_of(url, options=ClientOptions(), clock=clock) as client:
        await reached(client, "open")
        await clock.advance(244.9)
        assert client.state.status == "open"
        states: list[ConnectionState] = []
        client.on_state(states.append)
        await clock.advance(0.1)
        assert [state.status for state in states] == ["connecting"]
        assert states[0].reason == CloseReason("lost", "the server did not answer", 1006)
        await reached(client, "open")


async def test_a_server_that_answers_pings_is_kept() -> None:
    clock = FakeClock()
    async with scripted() as server, client_of(server.url, clock=clock) as client:
        await reached(client, "open")
        await passes(clock, client, 1800)
        assert len(server.requests) == 1


@pytest.mark.usefixtures("impatient")
async def test_a_connection_that_did_not_survive_a_sleep_is_replaced_at_once() -> None:
    clock = SleepyClock()
    async with mute(greets=True) as url, client_of(url, options=ClientOptions(), clock=clock) as client:
        await reached(client, "open")
        clock.sleep_through(3600)
        await clock.advance(5)
        assert client.state.status == "open"
        states: list[ConnectionState] = []
        client.on_state(states.append)
        await clock.advance(2)
        assert [state.status for state in states] == ["connecting"]
        await reached(client, "open")


# --- the application --------------------------------------------------------------------------------------------------


async def test_a_listener_that_fails_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    states: list[str] = []

    def broken(state: ConnectionState) -> None:
        raise ValueError("a fault of the program")

    async with scripted() as server:
        client = client_of(server.url)
        client.on_state(broken)
        forget = client.on_state(lambda state: states.append(state.status))
        async with client:
            await reached(client, "open")
            forget()
            forget()
    assert states == ["connecting", "open"]
    assert "a listener of on_state failed" in caplog.text


async def test_leaving_the_block_closes_with_1000() -> None:
    codes: asyncio.Queue[int | None] = asyncio.Queue()

    async def speak(device: ServerConnection) -> None:
        await device.wait_closed()
        await codes.put(device.close_code)

    async with scripted(speak) as server:
        async with client_of(server.url) as client:
            await reached(client, "open")
        assert await codes.get() == 1000
        assert (client.state.status, client.state.reason) == ("closed", None)
        assert [each async for each in client] == []


async def test_close_ends_an_iteration_after_what_has_come() -> None:
    async def speak(device: ServerConnection) -> None:
        for _ in range(3):
            await device.send(said())
        await device.wait_closed()

    async with scripted(speak) as server, client_of(server.url) as client:
        got = []
        async for each in client:
            got.append(each)
            if len(got) == 3:
                await client.close()
        assert len(got) == 3


@pytest.mark.parametrize("get_token", [given, hangs])
async def test_a_client_can_be_closed_before_it_is_open(get_token: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with mute(greets=False) as url:
        async with asyncio.timeout(10), client_of(url, get_token) as client:
            await asyncio.sleep(0.01)
            assert client.state.status == "connecting"
        await reached(client, "closed")
    assert "get_token" not in caplog.text


async def test_a_renewal_under_way_does_not_keep_anybody() -> None:
    asked: asyncio.Queue[Why] = asyncio.Queue()
    clock = FakeClock(1_000_000)

    async def get_token(why: Why) -> str:
        await asked.put(why)
        return "a.eyJleHAiOjEwMDAxMDB9.c" if why == "connect" else await hangs(why)

    async with scripted() as server, asyncio.timeout(60), client_of(server.url, get_token, clock=clock) as client:
        await reached(client, "open")
        await passes(clock, client, 80)
        assert [await asked.get(), await asked.get()] == ["connect", "renew"]


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_does_not_answer_the_close_keeps_nobody_long() -> None:
    async with mute(greets=True) as url, asyncio.timeout(4), client_of(url) as client:
        await reached(client, "open")


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_does_not_read_keeps_nobody_long() -> None:
    async with mute(greets=True, reads=False) as url, asyncio.timeout(10):
        async with client_of(url) as client:
            await reached(client, "open")
            sending = [asyncio.create_task(client.send("note", "x" * 100_000)) for _ in range(200)]
            await asyncio.sleep(0.05)
            assert not all(task.done() for task in sending)
        outcomes = await asyncio.gather(*sending, return_exceptions=True)
        assert {each.code for each in outcomes if isinstance(each, RequestError)} == {"QUEUE_FULL", "CLOSED"}


async def test_a_fault_in_gives_up_reaches_whoever_iterates() -> None:
    def broken(reason: CloseReason) -> bool:
        raise ZeroDivisionError

    async with scripted() as server:
        server.answers = [answer(500)]
        async with client_of(server.url, gives_up=broken) as client:
            with pytest.raises(ZeroDivisionError):
                await anext(client)
            assert client.state.status == "closed"


async def test_a_client_is_used_in_a_block_and_once() -> None:
    client = client_of("http://127.0.0.1:9")
    with pytest.raises(RuntimeError, match="within `async with client:`"):
        aiter(client)
    async with client:
        with pytest.raises(RuntimeError, match="entered once"):
            await client.__aenter__()
    with pytest.raises(RuntimeError, match="entered once"):
        await client.__aenter__()


@pytest.mark.parametrize("url", ["ftp://x", "http://user:pass@x", "http://x?token=a", "", "x"])
def test_an_address_that_is_none_is_an_error(url: str) -> None:
    with pytest.raises(ConfigError, match="gateway URL"):
        Client(url, given)


async def test_nothing_is_left_behind() -> None:
    before = asyncio.all_tasks()
    async with scripted() as server:
        async with client_of(server.url) as client:
            await reached(client, "open")
            for device in server.devices:
                await device.close(1012)
            await reached(client, "open")
        assert (client._shell.tasks, client._shell.sockets, client._shell.asking) == ({}, {}, set())
    assert asyncio.all_tasks() == before


def test_without_websockets_the_import_says_what_to_install() -> None:
    code = "import sys; sys.modules['websockets'] = None; import tellwire.client"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = result.stderr.strip().splitlines()[-1]
    assert last == "tellwire.extras.ExtraMissing: tellwire.client needs websockets: pip install 'tellwire[client]'"


def test_the_client_brings_nothing_of_the_server() -> None:
    code = "import sys, tellwire.client; print(*{'uvicorn', 'starlette', 'jwt', 'click'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "\n"


async def test_a_request_made_before_the_block_is_entered_is_given_up_in_time() -> None:
    clock = FakeClock()
    client = client_of("http://127.0.0.1:9", clock=clock)
    asking = asyncio.create_task(client.send("one"))
    await asyncio.sleep(0)
    await clock.advance(31)
    with pytest.raises(RequestError) as raised:
        await asyncio.wait_for(asking, 5)
    assert raised.value.code == "TIMEOUT"
