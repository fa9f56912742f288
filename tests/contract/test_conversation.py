"""The contract of the conversation with a client: the same on a gateway's sockets and behind API Gateway, where the
server's side is a function and answers are posted. Only close codes differ: API Gateway closes with 1000 on our behalf.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosedError

from tellwire.broadcast import Broadcaster
from tellwire.errors import ConfigError, HistoryUnavailable, InvalidMessage
from tellwire.limits import AWS_HEARTBEAT_SECONDS, HEARTBEAT_SECONDS
from tellwire.messages import Message, UploadProgress, UploadProgressMessage, create_message
from tellwire.model import Sender
from tellwire.ports import History
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


@pytest.fixture(params=["gateway", "API Gateway"], ids=["gateway", "API Gateway on moto"])
async def server(request: pytest.FixtureRequest, start_gateway: StartGateway) -> AsyncIterator[Server]:
    if request.param == "gateway":
        gateway = await start_gateway()
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
        ('{"type": "subscribe", "topic": "t"}', "UNKNOWN_TYPE"),
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
