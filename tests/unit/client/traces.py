"""A runner of the scenario traces of `spec/client`: the whole client, over fake sockets and a fake clock.

`spec/README.md` describes the format. What it does not know fails.
"""

import asyncio
import base64
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import msgspec
import pytest
from msgspec import Struct
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close

from tellwire.client import (
    Client,
    ClientOptions,
    ClosedForGood,
    ConnectionState,
    PresenceState,
    StartFrom,
    Topic,
    TopicRefused,
    TopicState,
)
from tellwire.client.client import OnOtherUser
from tellwire.client.close_codes import Refusal
from tellwire.client.decode import HistoryPage, ReceivedMessage
from tellwire.client.options import REQUEST_TIMEOUT_SECONDS
from tellwire.client.request_error import RequestError
from tellwire.client.requests import RequestLimits
from tellwire.client.socket import Refused, Unreachable
from tellwire.client.stream import Bounds
from tellwire.testing import FakeClock

SPEC: Final = Path(__file__).parents[3] / "spec"
ENVIRONMENT: Final = {"handshake", "topics", "presence"}
_OTHER_ENVIRONMENTS: Final = {"network", "blind-handshake", "reconnect"}
_SECONDS_PER_TRACE: Final = 3
_NOT_TRACES: Final = {"prologues.json", "mutations.json"}
_START: Final = 1_767_225_600.0  # 2026-01-01T00:00:00Z
_BEFORE: Final = 0.001
_AFTER: Final = 0.008


class _Strict(Struct, forbid_unknown_fields=True):
    pass


class Empty(_Strict):
    pass


class Token(_Strict):
    name: str
    expires_in_seconds: float | None = None
    user: str | None = None


class OfSocket(_Strict):
    socket: int


class RefusedSocket(OfSocket):
    status: int
    code: str | None = None
    message: str | None = None
    retry_after_seconds: float = 0.0


class Received(OfSocket):
    message: Any


class ClosedSocket(OfSocket):
    code: int
    reason: str = ""


class Sent(_Strict):
    type: str
    data: Any = None
    timeout_seconds: float = REQUEST_TIMEOUT_SECONDS


class OfUpload(_Strict):
    upload_id: str


class Acked(_Strict):
    cursor: str | None = None


class Marked(_Strict):
    upload_id: str | None = None
    cursors: list[str] | None = None
    up_to: str | None = None
    ended_up_to: int | None = None


class Followed(_Strict):
    topic: str
    start_from: StartFrom | None = None


class Left(_Strict):
    topic: str


class Watched(_Strict):
    topic: str


class Published(_Strict):
    topic: str
    type: str
    data: Any = None


class Asked(_Strict):
    topic: str | None = None
    before: str | None = None
    limit: int | None = None


class Expect(_Strict):
    asks: list[str] = []
    opens: list[Any] = []
    sends: list[Any] = []
    passes: list[Any] = []
    replayed: list[str] | None = None
    settles: list[Any] = []
    closes: list[int] = []
    states: list[Any] = []
    topics: list[Any] = []
    presence: list[Any] = []
    cursors: dict[str, str] | None = None


class Step(_Strict):
    at: float
    expect: Expect
    connect: Empty | None = None
    close: Empty | None = None
    token: Token | None = None
    token_fails: Empty | None = None
    opened: OfSocket | None = None
    unreachable: OfSocket | None = None
    refused: RefusedSocket | None = None
    refused_open: ClosedSocket | None = None
    received: Received | None = None
    closed: ClosedSocket | None = None
    send: Sent | None = None
    ack: Acked | None = None
    cancel: OfUpload | None = None
    read: Marked | None = None
    dismiss: Marked | None = None
    history: Asked | None = None
    follow: Followed | None = None
    leave: Left | None = None
    watch: Watched | None = None
    publish: Published | None = None
    wake: Empty | None = None
    online: Empty | None = None
    offline: Empty | None = None

    @property
    def event(self) -> tuple[str, Any] | None:
        names = [name for name in self.__struct_fields__ if name not in ("at", "expect")]
        events = [(name, event) for name in names if (event := getattr(self, name)) is not None]
        assert len(events) < 2, f"one event a step: {events}"
        return events[0] if events else None


class Options(_Strict):
    recover: bool = True
    start_from: StartFrom = "now"
    backoff_first_seconds: float | None = None
    backoff_max_seconds: float | None = None
    stable_after_seconds: float | None = None
    connect_timeout_seconds: float | None = None
    answer_timeout_seconds: float | None = None
    wake_timeout_seconds: float | None = None
    renew_before_seconds: float | None = None
    overlap_seconds: float | None = None
    heartbeat_seconds: float | None = None
    rotate_after_seconds: float | None = None
    user: str | None = None
    user_claim: str = "sub"
    on_other_user: OnOtherUser = "close"

    def durations(self) -> ClientOptions:
        given = {name: value for name, value in msgspec.structs.asdict(self).items() if name.endswith("_seconds")}
        return ClientOptions(**{name: value for name, value in given.items() if value is not None})


class Limits(_Strict):
    buffered_messages: int = 1000
    recent_ids: int = 1000
    state_keys: int = 1000
    hello_topics: int = 40
    requests: int = 100
    request_bytes: int = 1024 * 1024


class Prologue(_Strict):
    steps: list[Step]
    cursors: dict[str, str] = {}


class Trace(_Strict):
    name: str
    covers: list[str]
    mutations: list[str]
    steps: list[Step]
    requires: list[str] = []
    options: Options = msgspec.field(default_factory=Options)
    cursors: dict[str, str] = {}
    random: float = 0.5
    limits: Limits = msgspec.field(default_factory=Limits)
    begin: str | None = None


class _File(_Strict):
    traces: list[Trace]


def all_traces() -> list[Trace]:
    """Return every trace, with its prologue in its steps."""
    prologues = msgspec.json.decode((SPEC / "client" / "prologues.json").read_bytes(), type=dict[str, Prologue])
    files = sorted(file for file in (SPEC / "client").glob("*.json") if file.name not in _NOT_TRACES)
    traces = [trace for file in files for trace in msgspec.json.decode(file.read_bytes(), type=_File).traces]
    for trace in traces:
        assert set(trace.requires) <= ENVIRONMENT | _OTHER_ENVIRONMENTS, trace.requires
        if trace.begin is not None:
            prologue = prologues[trace.begin]
            assert not trace.cursors, f"{trace.name}: its cursors are those of {trace.begin}"
            trace.steps, trace.cursors = [*prologue.steps, *trace.steps], prologue.cursors
    return traces


class FakeSocket:
    """A socket of websockets, as far as the client uses one; the other end is the trace."""

    def __init__(self, number: int, done: Expect, names: dict[str, str], name_of: Callable[[str, str], str]) -> None:
        self.number = number
        self.opening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport = SimpleNamespace(abort=self.abort)
        self._arrived: asyncio.Queue[bytes | ConnectionClosedError] = asyncio.Queue()
        self._is_over = False
        self._done = done
        self._names = names
        self._name_of = name_of

    async def send(self, payload: bytes, *, text: bool) -> None:
        assert text
        message = json.loads(payload)
        if message.get("type") == "auth":
            message["token"] = self._names[message["token"]]
        if "id" in message:
            message["id"] = self._name_of(message["id"], message["type"])
        self._done.sends.append({"socket": self.number, "message": message})

    async def recv(self, *, decode: bool) -> bytes:
        assert not decode
        arrived = await self._arrived.get()
        if isinstance(arrived, ConnectionClosedError):
            raise arrived
        return arrived

    async def close(self) -> None:
        self.abort()
        self._arrived.put_nowait(_closed(1000, ""))

    def abort(self) -> None:
        """Note that the client has had enough, if the server had not."""
        if not self._is_over:
            self._is_over = True
            self._done.closes.append(self.number)

    def arrives(self, payload: bytes) -> None:
        self._arrived.put_nowait(payload)

    def ends(self, code: int, reason: str) -> None:
        self._is_over = True
        self._arrived.put_nowait(_closed(code, reason))

    def fails(self, error: Exception) -> None:
        self._is_over = True
        self.opening.set_exception(error)


def _closed(code: int, reason: str) -> ConnectionClosedError:
    return ConnectionClosedError(None if code == 1006 else Close(code, reason), None, None)


class Run:
    """One run of a trace."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._done = Expect()
        self._sockets: list[FakeSocket] = []
        self._questions: deque[asyncio.Future[str]] = deque()
        self._names: dict[str, str] = {}
        self._clock = FakeClock(_START)
        self._cursors = dict(trace.cursors)
        self._application: asyncio.Task[None] | None = None
        self._topics: dict[str, tuple[Topic, asyncio.Task[None]]] = {}
        self._requests: list[asyncio.Task[None]] = []
        self._request_ids: dict[str, str] = {}
        self._replayed: list[str] = []
        with self._patched():
            self._client = Client(
                "wss://gateway.example.com",
                self._get_token,
                recover=trace.options.recover,
                start_from=trace.options.start_from,
                user=trace.options.user,
                user_claim=trace.options.user_claim,
                on_other_user=trace.options.on_other_user,
                cursors=trace.cursors,
                options=trace.options.durations(),
                clock=self._clock,
                jitter=lambda: trace.random,
            )
        self._client.on_state(self._note_state)

    async def run(self) -> None:
        """Go through the steps.

        Raises:
            AssertionError: the client did something else than is expected.
        """
        if self._trace.options.start_from == "oldest":
            self._cursors = {"user": "0"} | self._cursors
        steps = self._trace.steps
        next_ats = [*(step.at for step in steps[1:]), float("inf")]
        with self._patched():
            try:
                for step, next_at in zip(steps, next_ats, strict=True):
                    await self._take(step, is_followed_at_once=next_at - step.at < 2 * _AFTER)
            finally:
                await self._client.close()
                for task in [*self._requests, *(each for _, each in self._topics.values())]:
                    task.cancel()
                if self._application is not None:
                    await self._application

    async def _take(self, step: Step, *, is_followed_at_once: bool) -> None:
        await self._advance_to(step.at - _BEFORE)
        self._compare(Expect(), f"before {step.at:g}")
        await self._advance_to(step.at)
        if step.event is not None:
            name, event = step.event
            await getattr(self, f"_on_{name}")(event)
        await _settle()
        if not is_followed_at_once:
            await self._advance_to(step.at + _AFTER)
        self._compare(step.expect, f"at {step.at:g}, {step.event or 'no event'}")

    async def _advance_to(self, at: float) -> None:
        await self._clock.advance(max(0.0, _START + at - self._clock.now()))
        await _settle()

    def _compare(self, expect: Expect, where: str) -> None:
        self._cursors = self._cursors if expect.cursors is None else expect.cursors
        expected = msgspec.structs.asdict(expect) | {"cursors": self._cursors}
        done = msgspec.structs.asdict(self._done) | {"cursors": self._client.cursors, "replayed": self._replayed}
        if expect.replayed is None:
            del expected["replayed"]
        expected["states"] = [_complete(state) for state in expect.states]
        expected["presence"] = [_complete_presence(state) for state in expect.presence]
        for name in expected:
            assert done[name] == expected[name], f"{where}: {name}"
        self._replayed = []
        for name in Expect.__struct_fields__:
            if isinstance(value := getattr(self._done, name), list):
                value.clear()

    # --- events -------------------------------------------------------------------------------------------------------

    async def _on_connect(self, _: Empty) -> None:
        await self._client.__aenter__()
        self._application = asyncio.create_task(self._use_messages(self._client))

    async def _on_close(self, _: Empty) -> None:
        await self._client.close()

    async def _on_token(self, token: Token) -> None:
        text = token.name
        if token.expires_in_seconds is not None or token.user is not None:
            claims: dict[str, Any] = {"jti": token.name}
            if token.expires_in_seconds is not None:
                claims["exp"] = self._clock.now() + token.expires_in_seconds
            if token.user is not None:
                claims["sub"] = token.user
            text = f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.x"
        self._names[text] = token.name
        question = self._questions.popleft()
        if not question.done():
            question.set_result(text)

    async def _on_token_fails(self, _: Empty) -> None:
        self._questions.popleft().set_exception(ValueError("no token"))

    async def _on_opened(self, event: OfSocket) -> None:
        self._socket(event).opening.set_result(None)

    async def _on_unreachable(self, event: OfSocket) -> None:
        self._socket(event).fails(Unreachable("connection refused"))

    async def _on_refused(self, event: RefusedSocket) -> None:
        refusal = Refusal(event.status, event.code, event.message, event.retry_after_seconds)
        self._socket(event).fails(Refused(refusal))

    async def _on_refused_open(self, event: ClosedSocket) -> None:
        # As the shell hears it: see `open_socket`.
        code, _, words = event.reason.partition(": ")
        self._socket(event).fails(Refused(Refusal(event.code, code, words)))

    async def _on_received(self, event: Received) -> None:
        text = event.message if isinstance(event.message, str) else json.dumps(self._with_real_id(event.message))
        self._socket(event).arrives(text.encode())

    async def _on_closed(self, event: ClosedSocket) -> None:
        self._socket(event).ends(event.code, event.reason)

    async def _on_send(self, event: Sent) -> None:
        self._request(self._client.send(event.type, event.data, timeout_seconds=event.timeout_seconds))

    async def _on_ack(self, event: Acked) -> None:
        self._request(self._client.ack(event.cursor))

    async def _on_cancel(self, event: OfUpload) -> None:
        self._request(self._client.cancel(event.upload_id))

    async def _on_read(self, event: Marked) -> None:
        self._request(self._client.read(cursors=event.cursors, up_to=event.up_to))

    async def _on_dismiss(self, event: Marked) -> None:
        if event.ended_up_to is not None:
            self._request(self._client.clear_finished(event.ended_up_to))
        else:
            self._request(self._client.dismiss(event.upload_id, cursors=event.cursors, up_to=event.up_to))

    async def _on_history(self, event: Asked) -> None:
        asked = self._client if event.topic is None else self._topics[event.topic][0]
        self._request(asked.history(before=event.before, limit=event.limit))

    async def _on_publish(self, event: Published) -> None:
        self._request(self._topics[event.topic][0].publish(event.type, event.data))

    async def _on_follow(self, event: Followed) -> None:
        topic = self._client.topic(event.topic, start_from=event.start_from)
        topic.on_state(lambda state: self._note_topic(topic, state))
        await topic.__aenter__()
        self._topics[event.topic] = topic, asyncio.create_task(self._use_messages(topic))

    async def _on_watch(self, event: Watched) -> None:
        topic, _ = self._topics[event.topic]
        topic.on_presence(lambda state: self._note_presence(topic, state))

    async def _on_leave(self, event: Left) -> None:
        topic, using = self._topics.pop(event.topic)
        using.cancel()
        await topic.__aexit__(None, None, None)

    def _request(self, asked: Coroutine[Any, Any, Any]) -> None:
        name = f"r{len(self._requests) + 1}"

        async def settle() -> None:
            try:
                result = await asked
            except RequestError as error:
                self._done.settles.append({"request": name, "error": error.code})
            else:
                shown = {} if result is None else {"result": _shown(result)}
                self._done.settles.append({"request": name} | shown)

        self._requests.append(asyncio.create_task(settle()))

    def _name_of(self, request_id: str, message_type: str) -> str:
        """Return the name of the request with an id: a new one is that of the first call that was not sent yet.

        `presence` is a request that the client makes for itself.
        """
        if request_id not in self._request_ids:
            sent = set(self._request_ids.values())
            names = (f"p{number}" for number in count(1))
            if message_type != "presence":
                names = (f"r{number}" for number, each in enumerate(self._requests, 1) if not each.done())
            self._request_ids[request_id] = next(name for name in names if name not in sent)
        return self._request_ids[request_id]

    def _with_real_id(self, message: Any) -> Any:
        data = message.get("data")
        if message.get("type") not in {"ok", "error"} or not isinstance(data, dict) or "id" not in data:
            return message
        ids = {name: each for each, name in self._request_ids.items()}
        return message | {"data": data | {"id": ids.get(data["id"], data["id"])}}

    async def _on_wake(self, _: Empty) -> None:
        self._client.wake()

    def _socket(self, event: OfSocket) -> FakeSocket:
        return self._sockets[event.socket - 1]

    # --- what the client does -----------------------------------------------------------------------------------------

    @contextmanager
    def _patched(self) -> Iterator[None]:
        limits = msgspec.structs.asdict(self._trace.limits)
        request_limits = RequestLimits(limits.pop("requests"), limits.pop("request_bytes"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tellwire.client.shell.open_socket", self._open)
            patch.setattr("tellwire.client.machine.Bounds", lambda: Bounds(**limits))
            patch.setattr("tellwire.client.machine.RequestLimits", lambda: request_limits)
            yield

    async def _get_token(self, why: str) -> str:
        self._done.asks.append(why)
        question: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._questions.append(question)
        return await question

    async def _open(
        self, url: str, token: str, token_in: str, clock: FakeClock, headers: Mapping[str, str]
    ) -> FakeSocket:
        socket = FakeSocket(len(self._sockets) + 1, self._done, self._names, self._name_of)
        self._sockets.append(socket)
        self._done.opens.append({"socket": socket.number, "token": self._names[token]})
        try:
            await socket.opening
        except asyncio.CancelledError:
            socket.abort()
            raise
        return socket

    async def _use_messages(self, source: Client | Topic) -> None:
        while True:
            try:
                async for message in source:
                    self._done.passes.append(message.id or json.loads(message.payload))
                    if message.replayed:
                        self._replayed.append(message.id or "")
            except ClosedForGood:
                return
            except TopicRefused:
                await self._until_asked_again(source)
            else:
                return

    async def _until_asked_again(self, source: Client | Topic) -> None:
        """Wait until a topic is not refused any more; an application may do so, too."""
        assert isinstance(source, Topic)
        changed = asyncio.Event()
        forget = source.on_state(lambda state: changed.set())
        while source.state.status == "refused":
            changed.clear()
            await changed.wait()
        forget()

    def _note_topic(self, topic: Topic, state: TopicState) -> None:
        shown = {"topic": topic.name, "status": state.status, "recovered": state.recovered, "error": state.code}
        self._done.topics.append({name: value for name, value in shown.items() if value is not None})

    def _note_presence(self, topic: Topic, state: PresenceState) -> None:
        members = [
            {"userId": each.user_id} | ({} if each.info is None else {"info": each.info}) for each in state.members
        ]
        shown = {"count": state.count, "is_complete": state.is_complete, "is_live": state.is_live}
        error = {} if state.code is None else {"error": state.code}
        self._done.presence.append({"topic": topic.name, "members": members} | shown | error)

    def _note_state(self, state: ConnectionState) -> None:
        reason = state.reason and {"kind": state.reason.kind, "code": state.reason.code, "error": state.reason.error}
        retry_at = state.retry_at and round(state.retry_at - _START, 2)
        self._done.states.append(
            {
                "status": state.status,
                "attempt": state.attempt,
                "retry_at": retry_at,
                "reason": reason,
                "recovered": state.recovered,
                "user": state.user,
            }
        )


def _complete(state: dict[str, Any]) -> dict[str, Any]:
    """Return an expected state with its absent fields.

    Raises:
        AssertionError: there is an unknown field in it.
    """
    complete: dict[str, Any] = {
        "status": None,
        "attempt": 0,
        "retry_at": None,
        "reason": None,
        "recovered": None,
        "user": None,
    }
    complete |= state
    assert len(complete) == 6, f"unknown in a state: {state}"
    if complete["retry_at"] is not None:
        complete["retry_at"] = round(complete["retry_at"], 2)
    if complete["reason"] is not None:
        complete["reason"] = {"kind": None, "code": None, "error": None} | complete["reason"]
        assert len(complete["reason"]) == 3, f"unknown in a reason: {state}"
    return complete


def _complete_presence(state: dict[str, Any]) -> dict[str, Any]:
    """Return an expected presence with its absent fields.

    Raises:
        AssertionError: there is an unknown field in it.
    """
    members = state.get("members", [])
    complete = {"members": members, "count": len(members), "is_complete": True, "is_live": True} | state
    assert complete.keys() - {"error"} == {"topic", "members", "count", "is_complete", "is_live"}, state
    return complete


def _shown(result: ReceivedMessage | HistoryPage) -> Any:
    """Return the result of a request as it was on the wire."""
    if isinstance(result, ReceivedMessage):
        return json.loads(result.payload)
    return {"messages": [json.loads(each.payload) for each in result.messages], "more": result.more}


async def _settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def report(names: set[str]) -> None:
    """Run the traces with these names, or all, each in a process of its own, and print a JSON object a line."""
    for trace in all_traces():
        if set(trace.requires) - ENVIRONMENT or (names and trace.name not in names):
            continue
        if (child := os.fork()) == 0:
            # A client with a mutation may never end: then this ends the process.
            signal.alarm(_SECONDS_PER_TRACE)
            os._exit(_passes(trace))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(json.dumps({"name": trace.name, "passes": status == 0}) + "\n")
        sys.stdout.flush()


def _passes(trace: Trace) -> int:
    try:
        asyncio.run(Run(trace).run())
    except Exception:  # noqa: BLE001 - a mutation may raise anything
        return 1
    return 0


if __name__ == "__main__":
    report(set(sys.argv[1:]))
