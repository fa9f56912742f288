"""The contract of the conversation with a client: the same on a gateway's sockets and behind API Gateway, where the
server's side is a function and answers are posted. Only close codes differ: API Gateway closes with 1000 on our behalf.
"""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosedError

from tellwire.broadcast import Broadcaster
from tellwire.errors import ConfigError, HistoryUnavailable, InvalidMessage
from tellwire.limits import AWS_HEARTBEAT_SECONDS, HEARTBEAT_SECONDS, MAX_REQUEST_ANSWER_BYTES
from tellwire.messages import Message, UploadProgress, UploadProgressMessage, create_message
from tellwire.model import Sender
from tellwire.ports import History
from tellwire.retention import Retention
from tests.aws_stack import running_stack
from tests.conftest import StartGateway, read

SECRETS = "disk /var/lib"


@dataclass
class Server:
    """A server to converse with. `closes_with` maps a gateway's close code to this server's."""

    name: str
    device: Callable[..., AbstractAsyncContextManager[ClientConnection]]
    token: Callable[..., str]
    on_message: Callable[[str, Any], Any]
    broadcaster: Broadcaster
    history: History

    def closes_with(self, code: int) -> int:
        return code if self.name == "gateway" else 1000

    async def publish(self, message: Message) -> None:
        await self.broadcaster.broadcast_to_user("user-1", message)


@pytest.fixture(
    params=["gateway", "gateway on Redis", "API Gateway"], ids=["gateway", "gateway on Redis", "API Gateway on moto"]
)
async def server(
    request: pytest.FixtureRequest, start_gateway: StartGateway, redis_prefix: str
) -> AsyncIterator[Server]:
    if request.param != "API Gateway":
        redis: dict[str, Any] = {}
        if request.param == "gateway on Redis":
            url = request.getfixturevalue("redis_server").url
            redis = {"engine": "redis", "redis_url": url, "redis_prefix": redis_prefix}
        gateway = await start_gateway(**redis)
        node = gateway.node
        history = node.engine.history
        assert history is not None
        yield Server("gateway", gateway.device, gateway.token, node.on_message, node.broadcaster, history)
        return
    with running_stack(request.getfixturevalue("moto_dynamodb"), has_history=True) as stack:
        history = stack.deployment.history
        assert history is not None
        carrier = stack.keeping_carrier()
        yield Server(
            "API Gateway",
            stack.device,
            stack.token,
            lambda message_type, handler: stack.default.on_message(message_type)(handler),
            Broadcaster(carrier),
            history,
        )
        for each in stack.carriers:
            await each.close()


async def ask(device: ClientConnection, request: Any) -> dict[str, Any]:
    """Send a request, and return the next message that is not API Gateway's own."""
    await device.send(request if isinstance(request, str) else json.dumps(request))
    while "type" not in (message := await read(device)):
        pass
    return message


async def answer_of(device: ClientConnection, request_id: str) -> dict[str, Any]:
    """Return the next message, the answer to a request with an id: the data without the id."""
    while "type" not in (message := await read(device)):
        pass  # API Gateway's own
    data = dict(message["data"])
    assert (message["type"] in {"ok", "error"}, data.pop("id")) == (True, request_id), message
    return data


def upload(progress: float, status: Any = "running", second: int = 0) -> UploadProgressMessage:
    data = UploadProgress(upload_id="u1", file_name="f.csv", progress=progress, message="", status=status)
    return UploadProgressMessage(data, f"2026-11-28T10:00:{second:02}.000Z")


async def closed(device: ClientConnection) -> tuple[list[str], int | None]:
    """Return the codes of the errors until the connection is closed, and the close code."""
    codes: list[str] = []
    with contextlib.suppress(ConnectionClosedError):
        async for text in device:
            message = json.loads(text)
            codes += [message["data"]["code"]] if message.get("type") == "error" else []
    return codes, device.close_code


# --- coming back ------------------------------------------------------------------------------------------------------


async def test_a_ping_is_answered(server: Server) -> None:
    async with server.device() as device:
        assert (await ask(device, {"type": "ping"}))["type"] == "pong"


async def test_a_welcome_names_the_user_and_the_heartbeat(server: Server) -> None:
    async with server.device() as device:
        data = (await ask(device, {"type": "hello"}))["data"]
    assert (data["userId"], data["recovered"], data["messages"], data["last"]) == ("user-1", True, [], True)
    assert data["heartbeatSeconds"] == (HEARTBEAT_SECONDS if server.name == "gateway" else AWS_HEARTBEAT_SECONDS)
    assert data["connectionId"].endswith("=")


@pytest.mark.parametrize("wrap", [lambda cursor: {"cursor": cursor}, lambda cursor: {"cursors": {"user": cursor}}])
async def test_a_hello_is_answered_with_the_missed_messages(server: Server, wrap: Callable[[str], Any]) -> None:
    async with server.device() as device:
        cursor = (await ask(device, {"type": "hello"}))["data"]["cursor"]
    for number in range(3):
        await server.publish(create_message("note", number))
    await server.publish(upload(40))
    async with server.device() as device:
        data = (await ask(device, {"type": "hello", **wrap(cursor)}))["data"]
    assert [message["data"] for message in data["messages"]] == [0, 1, 2]
    assert [state["data"]["progress"] for state in data["state"]] == [40]


async def test_a_hello_that_cannot_be_answered_is_refused_without_internal_details(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*arguments: Any) -> Any:
        raise HistoryUnavailable(SECRETS)

    monkeypatch.setattr(server.history, "read", fails)
    async with server.device() as device:
        error = await ask(device, {"type": "hello"})
        assert error["data"]["code"] == "HISTORY_UNAVAILABLE"
        assert SECRETS not in json.dumps(error)
        assert await closed(device) == ([], server.closes_with(1013))


# --- what is seen, and cancelling -------------------------------------------------------------------------------------


async def test_an_ack_reaches_every_device_once(server: Server) -> None:
    await server.publish(create_message("note", 1))
    async with server.device() as device, server.device() as other:
        cursor = (await ask(device, {"type": "hello"}))["data"]["cursor"]
        seen = await ask(device, {"type": "ack", "cursor": cursor})
        assert (seen["type"], seen["data"], seen["key"]) == ("seen", {"cursor": cursor}, "seen")
        assert (await read(other))["data"] == {"cursor": cursor}
        await device.send(json.dumps({"type": "ack", "cursor": cursor}))
        await device.send(json.dumps({"type": "ack", "cursor": "another:7"}))
        assert (await ask(device, {"type": "ping"}))["type"] == "pong"


async def test_a_cancelled_state_reaches_every_device_and_the_worker(server: Server) -> None:
    await server.publish(upload(40))
    async with server.device() as device, server.device() as other:
        state = await ask(device, {"type": "cancel", "uploadId": "u1"})
        assert (state["data"]["status"], state["data"]["progress"]) == ("cancelled", 40)
        assert (await read(other))["data"]["status"] == "cancelled"
        assert (await server.broadcaster.broadcast_to_user("user-1", upload(41, second=1))).cancelled
        assert (await ask(device, {"type": "cancel", "uploadId": "u1"}))["data"]["code"] == "UPLOAD_OVER"


async def test_an_unknown_upload_cannot_be_cancelled(server: Server) -> None:
    async with server.device() as device:
        error = (await ask(device, {"type": "cancel", "uploadId": "never"}))["data"]
    assert error["code"] == "UPLOAD_UNKNOWN"


async def test_an_ended_upload_is_dismissed_on_every_device_and_for_those_that_come_later(server: Server) -> None:
    dismiss = {"type": "dismiss", "key": "upload:u1", "id": "1"}
    await server.publish(upload(40))
    async with server.device() as device, server.device() as other:
        error = (await ask(device, dismiss))["data"]
        assert (error["code"], "it is running" in error["message"]) == ("UPLOAD_RUNNING", True)
        await server.publish(upload(100, "complete", second=1))
        version = (await read(device))["version"]
        assert (await read(other))["version"] == version
        dismissed = await ask(device, dismiss)
        assert await answer_of(device, "1") == {}
        assert (dismissed["type"], dismissed["data"], dismissed["key"]) == (
            "dismissed",
            {"key": "upload:u1"},
            "upload:u1",
        )
        assert dismissed["version"] > version
        assert await read(other) == dismissed
        assert (await ask(device, dismiss))["data"] == {"id": "1"}  # nothing new
    # A late word of its worker does not bring it back.
    await server.publish(upload(50, second=2))
    async with server.device() as device:
        assert (await ask(device, {"type": "hello"}))["data"]["state"] == []
        state = (await ask(device, {"type": "hello", "version": version}))["data"]["state"]
        assert [each["type"] for each in state] == ["dismissed"]
        await server.publish(upload(0, second=3))
        assert (await read(device))["data"]["progress"] == 0


async def test_an_upload_that_is_not_kept_is_dismissed_for_the_device_that_asks(server: Server) -> None:
    async with server.device() as device:
        answer = await ask(device, {"type": "dismiss", "key": "upload:never"})
        assert (answer["type"], answer["data"], "version" in answer) == ("dismissed", {"key": "upload:never"}, False)
        assert (await ask(device, {"type": "dismiss"}))["data"]["code"] == "INVALID_MESSAGE"


def forget_what_has_ended(history: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Show no upload that has ended to a device that begins anew."""
    retention = Retention(finished_keep_seconds=0)
    if hasattr(history, "_table"):
        monkeypatch.setattr(history._table, "retention", lambda stream: retention)
    elif hasattr(history, "_retention_of"):
        monkeypatch.setattr(history, "_retention_of", lambda stream: retention)
    else:
        monkeypatch.setattr(history, "_retention", retention)


async def test_a_device_that_comes_back_learns_what_has_ended_and_a_new_one_does_not(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_what_has_ended(server.history, monkeypatch)
    async with server.device() as device:
        await server.publish(upload(40))
        version = (await read(device))["version"]
    await server.publish(upload(100, "complete", second=1))
    async with server.device() as device:
        state = (await ask(device, {"type": "hello", "version": version}))["data"]["state"]
        assert [each["data"]["progress"] for each in state] == [100]
        assert (await ask(device, {"type": "hello"}))["data"]["state"] == []


async def test_a_request_that_fails_is_refused_and_the_connection_stays(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*arguments: Any) -> Any:
        raise HistoryUnavailable(SECRETS)

    monkeypatch.setattr(server.history, "state", fails)
    async with server.device() as device:
        error = await ask(device, {"type": "cancel", "uploadId": "u1"})
        assert error["data"]["code"] == "HISTORY_UNAVAILABLE"
        assert SECRETS not in json.dumps(error)
        assert (await ask(device, {"type": "ping"}))["type"] == "pong"


# --- tokens -----------------------------------------------------------------------------------------------------------


async def test_a_new_token_is_accepted(server: Server) -> None:
    async with server.device() as device:
        answer = await ask(device, {"type": "auth", "token": server.token()})
    assert answer["type"] == "auth_ok"
    assert "expiresAt" in answer["data"]


@pytest.mark.parametrize(
    ("token", "error", "code"),
    [
        (lambda server: server.token("user-2"), "TOKEN_OF_ANOTHER_USER", 4403),
        (lambda server: "no.such.token", "TOKEN_INVALID", 4401),
    ],
)
async def test_a_token_that_is_refused_closes_the_connection(
    server: Server, token: Callable[[Server], str], error: str, code: int
) -> None:
    async with server.device() as device:
        await device.send(json.dumps({"type": "auth", "token": token(server)}))
        assert await closed(device) == ([error], server.closes_with(code))


# --- messages of the project's own types ------------------------------------------------------------------------------


async def test_a_handler_gets_the_data_and_the_sender_and_its_answer_is_sent(server: Server) -> None:
    senders: list[Sender] = []

    def rename(data: Any, sender: Sender) -> Message:
        senders.append(sender)
        return create_message("renamed", {"to": data["name"], "by": sender.user_id})

    async def measure(data: Any, sender: Sender) -> Message | None:
        await asyncio.sleep(0)
        return create_message("measured", data)

    server.on_message("rename", rename)
    server.on_message("measure", measure)
    async with server.device() as device:
        renamed = await ask(device, {"type": "rename", "data": {"name": "Falcon"}})
        assert renamed["data"] == {"to": "Falcon", "by": "user-1"}
        assert (await ask(device, {"type": "measure"}))["data"] is None
        connection_id = (await ask(device, {"type": "hello"}))["data"]["connectionId"]
    assert senders == [Sender("user-1", connection_id)]


async def test_a_handler_may_refuse_its_data(server: Server) -> None:
    def refuse(data: Any, sender: Sender) -> None:
        raise InvalidMessage("data.name", data, "a name")

    server.on_message("refuse", refuse)
    async with server.device() as device:
        error = (await ask(device, {"type": "refuse", "data": 7}))["data"]
        assert (error["code"], error["message"]) == ("INVALID_MESSAGE", "data.name: got 7; allowed: a name")


def fails_with(error: Exception) -> Callable[[Any, Sender], None]:
    def fail(data: Any, sender: Sender) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    "handler",
    [
        fails_with(RuntimeError(SECRETS)),
        fails_with(ConfigError(SECRETS)),
        fails_with(HistoryUnavailable(SECRETS)),
        lambda data, sender: {"secret": SECRETS},
        lambda data, sender: create_message("big", SECRETS * 20_000),
    ],
    ids=["an exception", "an error of ours", "a publish that failed", "an answer that is no message", "too big"],
)
async def test_a_failing_handler_reveals_no_internal_details(
    server: Server, handler: Callable[[Any, Sender], Any]
) -> None:
    server.on_message("crash", handler)
    async with server.device() as device:
        crashed = await ask(device, {"type": "crash"})
        assert crashed["data"]["code"] == "INTERNAL_ERROR"
        assert SECRETS not in json.dumps(crashed)
        assert (await ask(device, {"type": "ping"}))["type"] == "pong"


async def test_a_handler_may_answer_nothing(server: Server) -> None:
    server.on_message("note", lambda data, sender: None)
    async with server.device() as device:
        await device.send(json.dumps({"type": "note", "data": 1}))
        assert (await ask(device, {"type": "ping"}))["type"] == "pong"


@pytest.mark.parametrize("name", ["ping", "notification", "no name", ""])
async def test_a_type_of_the_protocol_takes_no_handler(server: Server, name: str) -> None:
    with pytest.raises(InvalidMessage):
        server.on_message(name, lambda data, sender: None)


async def test_a_type_has_one_handler(server: Server) -> None:
    server.on_message("note", lambda data, sender: None)
    with pytest.raises(InvalidMessage, match="one that has no handler yet"):
        server.on_message("note", lambda data, sender: None)


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "INVALID_JSON"),
        ("[]", "UNKNOWN_TYPE"),
        ('{"type": "rename"}', "UNKNOWN_TYPE"),
        ('{"type": "subscribe", "topic": "t"}', "TOPIC_FORBIDDEN"),
        ('{"type": "ack"}', "INVALID_MESSAGE"),
        ('{"type": "auth", "token": 5}', "INVALID_MESSAGE"),
        ('{"type": "hello", "cursor": "e:1", "cursors": {"user": "e:1"}}', "INVALID_MESSAGE"),
    ],
)
async def test_a_wrong_message_is_refused_and_the_connection_stays(server: Server, text: str, code: str) -> None:
    async with server.device() as device:
        error = await ask(device, text)
        assert (error["type"], error["data"]["code"]) == ("error", code)
        assert (await ask(device, {"type": "ping"}))["type"] == "pong"


# --- requests with an id ----------------------------------------------------------------------------------------------


async def test_each_request_with_an_id_gets_one_answer_with_it_after_all_others(server: Server) -> None:
    await server.publish(create_message("note", 1))
    await server.publish(upload(40))
    async with server.device() as device:
        assert (await ask(device, {"type": "ping", "id": "a"}))["type"] == "pong"
        assert await answer_of(device, "a") == {}
        welcome = await ask(device, {"type": "hello", "id": "b"})
        cursor = welcome["data"]["cursor"]
        assert await answer_of(device, "b") == {}
        assert (await ask(device, {"type": "auth", "token": server.token(), "id": "c"}))["type"] == "auth_ok"
        assert await answer_of(device, "c") == {}
        for request_id in ("d", "e"):  # the second changes nothing, and is answered all the same
            answer = await ask(device, {"type": "ack", "cursor": cursor, "id": request_id})
            if request_id == "d":
                assert answer["type"] == "seen"
                assert await answer_of(device, "d") == {}
        assert answer["data"] == {"id": "e"}
        cancel = {"type": "cancel", "uploadId": "u1"}
        assert (await ask(device, cancel | {"id": "f"}))["data"]["status"] == "cancelled"
        assert await answer_of(device, "f") == {}
        assert (await ask(device, cancel | {"id": "g"}))["data"] == {"id": "g"}


async def test_an_error_has_the_id_of_its_request(server: Server) -> None:
    def refuse(data: Any, sender: Sender) -> None:
        raise InvalidMessage("data.name", data, "a name")

    server.on_message("refuse", refuse)
    server.on_message("crash", fails_with(RuntimeError(SECRETS)))
    requests: list[tuple[Any, str]] = [
        ({"type": "cancel", "uploadId": "never", "id": "1"}, "UPLOAD_UNKNOWN"),
        ({"type": "cancel", "id": "2"}, "INVALID_MESSAGE"),
        ({"type": "refuse", "data": 7, "id": "3"}, "INVALID_MESSAGE"),
        ({"type": "dance", "id": "4"}, "UNKNOWN_TYPE"),
        ({"type": "crash", "id": "5"}, "INTERNAL_ERROR"),
        ({"type": "read", "cursors": [], "id": "6"}, "INVALID_MESSAGE"),
        ({"type": "history", "limit": 101, "id": "7"}, "INVALID_MESSAGE"),
        ({"type": "history", "stream": "topic:parts", "id": "8"}, "TOPIC_FORBIDDEN"),
    ]
    async with server.device() as device:
        for request, code in requests:
            await device.send(json.dumps(request))
            assert (await answer_of(device, request["id"]))["code"] == code
        error = (await ask(device, {"type": "ping", "id": "x" * 65}))["data"]
        assert ("id" in error, "1 to 64 characters" in error["message"]) == (False, True)


async def test_what_a_handler_answers_with_is_the_result_of_the_request(server: Server) -> None:
    server.on_message("rename", lambda data, sender: create_message("renamed", data))
    server.on_message("touch", lambda data, sender: None)
    async with server.device() as device:
        await device.send(json.dumps({"type": "rename", "data": "Falcon", "id": "1"}))
        result = (await answer_of(device, "1"))["result"]
        assert (result["type"], result["data"]) == ("renamed", "Falcon")
        await device.send(json.dumps({"type": "touch", "id": "2"}))
        assert await answer_of(device, "2") == {}


async def test_a_repeated_request_of_an_own_type_is_answered_again_and_run_once(server: Server) -> None:
    calls: list[Any] = []

    def add(data: Any, sender: Sender) -> Message:
        calls.append(data)
        return create_message("added", len(calls))

    def big(data: Any, sender: Sender) -> Message:
        calls.append(data)
        return create_message("added", "x" * MAX_REQUEST_ANSWER_BYTES)

    def crash(data: Any, sender: Sender) -> None:
        calls.append(data)
        raise RuntimeError(SECRETS)

    server.on_message("add", add)
    server.on_message("big", big)
    server.on_message("crash", crash)
    async with server.device() as device, server.device() as other, server.device("user-2") as stranger:
        answers = []
        for each in (device, device, other):
            await each.send(json.dumps({"type": "add", "data": 7, "id": "1"}))
            answers.append((await answer_of(each, "1"))["result"])
        assert (calls, answers[1:]) == ([7], answers[:1] * 2)
        await stranger.send(json.dumps({"type": "add", "data": 8, "id": "1"}))
        assert (await answer_of(stranger, "1"))["result"]["data"] == 2
        await device.send(json.dumps({"type": "add", "data": 9, "id": "2"}))
        assert (await answer_of(device, "2"))["result"]["data"] == 3
        for each in (device, other):
            await each.send(json.dumps({"type": "crash", "data": 10, "id": "3"}))
            assert (await answer_of(each, "3"))["code"] == "INTERNAL_ERROR"
        # A long answer is not kept; that the request was run is.
        for each in (device, other):
            await each.send(json.dumps({"type": "big", "data": 11, "id": "4"}))
            assert ("result" in await answer_of(each, "4")) == (each is device)
    assert calls == [7, 8, 9, 10, 11]


async def test_a_request_that_is_being_run_is_to_be_repeated_later(server: Server) -> None:
    is_running, may_end = threading.Event(), threading.Event()

    def slow(data: Any, sender: Sender) -> None:
        is_running.set()
        may_end.wait(10)

    server.on_message("slow", slow)
    async with server.device() as device, server.device() as other:
        await device.send('{"type": "slow", "id": "1"}')
        await asyncio.to_thread(is_running.wait, 10)
        await other.send('{"type": "slow", "id": "1"}')
        assert (await answer_of(other, "1"))["code"] == "REQUEST_RUNNING"
        may_end.set()
        assert await answer_of(device, "1") == {}
        await other.send('{"type": "slow", "id": "1"}')
        assert await answer_of(other, "1") == {}


# --- marks, and pages of the log --------------------------------------------------------------------------------------


async def noted(server: Server, count: int) -> list[str]:
    """Publish messages, and return their cursors."""
    async with server.device() as device:
        await ask(device, {"type": "hello"})
        for number in range(count):
            await server.publish(create_message("note", number))
        return [(await read(device))["cursor"] for _ in range(count)]


async def test_what_is_read_or_dismissed_is_so_on_every_device_and_for_those_that_come_later(server: Server) -> None:
    cursors = await noted(server, 6)
    epoch = cursors[0].rpartition(":")[0]
    async with server.device() as device, server.device() as other:
        marks = await ask(device, {"type": "read", "cursors": [cursors[1], "another:3", "?"]})
        assert (marks["type"], marks["key"]) == ("marks", "marks")
        assert marks["data"] == {"epoch": epoch, "read": [[2, 2]], "dismissed": []}
        assert await read(other) == marks
        marks = await ask(device, {"type": "dismiss", "cursors": [cursors[4], cursors[3]]})
        assert marks["data"] == {"epoch": epoch, "read": [[2, 2], [4, 5]], "dismissed": [[4, 5]]}
        assert await read(other) == marks
        # Nothing new, and nothing of this log.
        again = {"type": "read", "cursors": [cursors[3]], "upTo": "another:6", "id": "1"}
        assert (await ask(device, again))["data"] == {"id": "1"}
        marks = await ask(other, {"type": "read", "upTo": cursors[5]})
        assert marks["data"] == {"epoch": epoch, "read": [[1, 6]], "dismissed": [[4, 5]]}
        assert await read(device) == marks
        marks = await ask(other, {"type": "dismiss", "upTo": cursors[0]})
        assert marks["data"] == {"epoch": epoch, "read": [[1, 6]], "dismissed": [[1, 1], [4, 5]]}
    async with server.device() as device:
        assert (await ask(device, {"type": "hello"}))["data"]["state"] == [marks]


async def test_devices_that_mark_at_the_same_moment_lose_nothing(server: Server) -> None:
    cursors = await noted(server, 8)
    async with contextlib.AsyncExitStack() as stack:
        devices = [await stack.enter_async_context(server.device()) for _ in range(4)]
        for number, device in enumerate(devices):
            for cursor in cursors[2 * number : 2 * number + 2]:
                await device.send(json.dumps({"type": "read", "cursors": [cursor], "id": cursor}))
        for number, device in enumerate(devices):
            waits = set(cursors[2 * number : 2 * number + 2])
            while waits:
                message = await read(device)
                if message.get("type") != "marks":
                    assert message["type"] == "ok", message
                    waits.remove(message["data"]["id"])
    async with server.device() as device:
        (marks,) = (await ask(device, {"type": "hello"}))["data"]["state"]
    assert marks["data"]["read"] == [[1, 8]]


async def test_all_ended_uploads_are_dismissed_by_one_request(server: Server) -> None:
    async with server.device() as device:
        for name in ("a", "b", "c"):
            data = UploadProgress(upload_id=name, file_name="f.csv", progress=100, message="", status="complete")
            await server.publish(UploadProgressMessage(data, "2026-11-28T10:00:00.000Z"))
        await server.publish(upload(40))
        versions = [(await read(device))["version"] for _ in range(4)]
        await device.send(json.dumps({"type": "dismiss", "endedUpTo": versions[1], "id": "1"}))
        keys = [(await read(device))["key"] for _ in range(2)]
        assert (sorted(keys), await answer_of(device, "1")) == (["upload:a", "upload:b"], {})
        again = {"type": "dismiss", "endedUpTo": versions[1], "id": "2"}
        assert (await ask(device, again))["data"] == {"id": "2"}
        state = (await ask(device, {"type": "hello"}))["data"]["state"]
    assert [each["key"] for each in state] == ["upload:c", "upload:u1"]


async def test_a_log_is_read_back_in_pages(server: Server) -> None:
    cursors = await noted(server, 5)
    async with server.device() as device:
        await device.send('{"type": "history", "id": "1", "limit": 2}')
        page = (await answer_of(device, "1"))["result"]
        assert ([each["cursor"] for each in page["messages"]], page["more"]) == (cursors[:2:-1], True)
        await device.send(json.dumps({"type": "history", "id": "2", "before": cursors[3], "stream": "user"}))
        page = (await answer_of(device, "2"))["result"]
        assert ([each["data"] for each in page["messages"]], page["more"]) == ([2, 1, 0], False)
        for before in (cursors[0], "another:4", "?"):
            await device.send(json.dumps({"type": "history", "id": "3", "before": before}))
            assert (await answer_of(device, "3"))["result"] == {"messages": [], "more": False}


async def test_a_page_of_long_messages_fits_into_one_frame_of_api_gateway(server: Server) -> None:
    for number in range(3):
        await server.publish(create_message("long", f"{number}" * 60_000))
    await server.publish(create_message("longest", "x" * 130_700))
    async with server.device() as device:
        seen: list[str] = []
        before: dict[str, str] = {}
        while True:
            await device.send(json.dumps({"type": "history", "id": "1", **before}))
            page = (await answer_of(device, "1"))["result"]
            seen += [each["data"][0] for each in page["messages"]]
            if not page["more"]:
                break
            before = {"before": page["messages"][-1]["cursor"]}
    assert seen == ["x", "2", "1", "0"]
