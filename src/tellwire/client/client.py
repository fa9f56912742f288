"""The client: the asyncio shell of the machine. It opens and reads sockets, calls `get_token` and sleeps."""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from math import inf
from types import TracebackType
from typing import Any, Final, Literal, Self

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tellwire.client.actions import Action, AskToken, Close, Drop, Open, Pass, Send, Why
from tellwire.client.address import websocket_url
from tellwire.client.close_codes import ClosedForGood, CloseReason
from tellwire.client.cursors import USER_STREAM, Position
from tellwire.client.decode import ReceivedMessage, read_message
from tellwire.client.encode import ack, cancel, own_message
from tellwire.client.inbox import Inbox
from tellwire.client.machine import Machine
from tellwire.client.options import ClientOptions
from tellwire.client.socket import (
    Refused,
    TokenIn,
    Unreachable,
    close_of,
    open_socket,
    part,
    send_text,
)
from tellwire.client.state import ConnectionState
from tellwire.client.token_source import GetToken, NoToken, ask_token
from tellwire.errors import ConfigError
from tellwire.ports import Clock, SystemClock
from tellwire.stream import START

logger = logging.getLogger("tellwire.client")

StartFrom = Literal["now", "oldest"]
"""The beginning for a client without a cursor: with messages from now on, or with all that the server keeps."""


_STARTS: Final[tuple[StartFrom, ...]] = ("now", "oldest")


class Client:
    """One device of a user. Iterating gives every message of the log once and in order, whatever happens to the
    connection, and of every upload newer and newer states. `state.recovered` is False when something may be missing.

    `url` is the gateway's, http(s):// or ws(s)://, or that of an API Gateway stage. `token_in` says where the token
    travels: `query` is for servers that know only `?token=`, and lets it end up in logs. `gives_up` is asked about each
    reason that the client would come back from; True closes it for good.

    `cursors` is where an earlier client was, by stream (`{"user": "…"}`); without one of the user's own stream,
    `start_from` says where this one begins. `recover=False` asks for nothing that was missed: for servers that do not
    accept a `hello`.

    It connects when the block is entered and comes back by itself until the block is left. If the application does not
    keep up, up to 1,024 messages or 1 MiB wait here; then the server waits, and in the end closes with 1013.

    Raises:
        ConfigError: `url` is no address of a gateway; `start_from` is neither "now" nor "oldest".
        ClosedForGood: from the iteration, when the server will not have this client; it ends without after `close`.

    Example:
        async with Client("https://live.example.com", get_token) as client:
            async for message in client:
                match message.type, message.data:
                    case "upload_progress", {"progress": progress}:
                        print(progress)
    """

    def __init__(
        self,
        url: str,
        get_token: GetToken,
        *,
        token_in: TokenIn = "subprotocol",  # noqa: S107 - a place
        gives_up: Callable[[CloseReason], bool] = lambda _: False,
        recover: bool = True,
        cursors: Mapping[str, str] | None = None,
        start_from: StartFrom = "now",
        options: ClientOptions | None = None,
        clock: Clock | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        if start_from not in _STARTS:
            raise ConfigError(f"start_from: got {start_from!r}; allowed: {', '.join(_STARTS)}")
        self._url = websocket_url(url)
        self._get_token = get_token
        self._token_in: TokenIn = token_in
        self._clock = clock or SystemClock()
        start = {USER_STREAM: START} if start_from == "oldest" else {}
        self._machine = Machine(
            options or ClientOptions(), jitter, gives_up, recover=recover, cursors=start | dict(cursors or {})
        )
        self._told = self._machine.state
        self._listeners: list[Callable[[ConnectionState], object]] = []
        self._inbox = Inbox()
        self._failure: BaseException | None = None
        self._sockets: dict[int, ClientConnection] = {}
        self._tasks: dict[asyncio.Task[None], int] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Task[None] | None = None
        self._timer_at = inf

    # --- for the application ------------------------------------------------------------------------------------------

    @property
    def state(self) -> ConnectionState:
        """A snapshot; the same object until something changes."""
        return self._machine.state

    @property
    def cursors(self) -> dict[str, str]:
        """The position of the last message that was taken from the iteration, by stream; empty before it is known.

        An application that stores it when it has done with a message, and comes back with it as `cursors`, misses
        nothing: not what was received and not taken, nor the message it was about when it crashed, which it gets again.
        When something went missing it stays until `state.recovered` has said so, so that this is not lost either.
        """
        return self._machine.cursors(self._inbox.cursor)

    def on_state(self, listener: Callable[[ConnectionState], object]) -> Callable[[], None]:
        """Call `listener` with every new state, and return a function that ends it. One that raises is logged."""
        self._listeners.append(listener)

        def forget() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return forget

    async def send(self, message_type: str, data: Any = None) -> bool:
        """Send a message of your own type, for an application on AWS. False: not open, and nothing was sent.

        True says that it was handed to the connection, not that it arrived. `data` is anything JSON can carry.

        Raises:
            InvalidMessage: `message_type` is empty, or `data` holds what JSON cannot carry.
            MessageTooBig: over 128 KiB.
        """
        return await self._say(own_message(message_type, data))

    async def ack(self, cursor: str | None = None) -> bool:
        """Tell the user's other devices that everything up to a cursor has been seen. They receive `seen`.

        Without `cursor`: up to the client's own. False: not open, or that is no position; nothing was sent.
        """
        cursor = cursor or self.cursors.get(USER_STREAM)
        if cursor is None or Position.parse(cursor) is None:
            return False
        return await self._say(ack(cursor))

    async def cancel(self, upload_id: str) -> bool:
        """Ask for an upload to be cancelled. False: not open, and nothing was sent.

        All devices receive its last state, `cancelled`; or this one an `error`: `UPLOAD_UNKNOWN`, `UPLOAD_OVER`.

        Raises:
            InvalidMessage: `upload_id` is empty.
        """
        return await self._say(cancel(upload_id))

    def wake(self) -> None:
        """Probe the connection now, or connect now: the network may be another one. A sleep is noticed without this."""
        self._apply(self._machine.wake(self._clock.now()))

    async def close(self) -> None:
        """Close for good. Messages that have been received can still be iterated over."""
        self._apply(self._machine.stop())
        for task in self._asking:
            task.cancel()
        while tasks := self._tasks.keys() - {asyncio.current_task()}:
            await asyncio.wait(tasks)

    async def _say(self, payload: bytes) -> bool:
        number = self._machine.open_number
        socket = None if number is None else self._sockets.get(number)
        return socket is not None and await send_text(socket, payload)

    async def __aenter__(self) -> Self:
        if self.state.status != "idle":
            raise RuntimeError("a Client is entered once; make another")
        self._apply(self._machine.start(self._clock.now()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        if self.state.status == "idle":
            raise RuntimeError("a Client is iterated over within `async with client:`")
        return self

    async def __anext__(self) -> ReceivedMessage:
        message = await self._inbox.get()
        if message is not None:
            return message
        if self._failure is not None:
            raise self._failure
        if self.state.reason is not None:
            raise ClosedForGood(self.state.reason)
        raise StopAsyncIteration

    # --- what the machine asks for ------------------------------------------------------------------------------------

    def _apply(self, actions: list[Action]) -> None:
        for action in actions:
            self._act(action)
        self._tell()
        if self.state.status == "closed":
            self._inbox.end()
        self._set_timer()

    def _act(self, action: Action) -> None:
        match action:
            case Pass(messages):
                self._inbox.put(*messages)
            case AskToken(number, why):
                task = asyncio.create_task(self._ask(number, why))
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)
                self._own(task, number)
            case Open(number, token):
                self._own(asyncio.create_task(self._live(number, token)), number)
            case Drop(number):
                for task in [task for task, owner in self._tasks.items() if owner == number]:
                    task.cancel()
            case Send() | Close():
                if (socket := self._sockets.get(action.number)) is not None:
                    self._own(asyncio.create_task(self._use(socket, action)), action.number)

    async def _use(self, socket: ClientConnection, action: Send | Close) -> None:
        match action:
            case Send(payload=payload):
                await send_text(socket, payload)
            case Close():
                await part(socket)

    async def _ask(self, number: int, why: Why) -> None:
        try:
            token = await ask_token(self._get_token, why, self._token_in)
        except NoToken as error:
            self._apply(self._machine.no_token(number, str(error), self._clock.now()))
        else:
            self._apply(self._machine.token(number, token, self._clock.now()))

    async def _live(self, number: int, token: str) -> None:
        try:
            socket = await open_socket(self._url, token, self._token_in, self._clock)
        except Refused as error:
            self._apply(self._machine.refused(number, error.refusal, self._clock.now()))
            return
        except Unreachable as error:
            self._apply(self._machine.unreachable(number, str(error), self._clock.now()))
            return
        self._sockets[number] = socket
        try:
            self._apply(self._machine.opened(number, self._clock.now()))
            code, reason = await self._read(number, socket)
        finally:
            del self._sockets[number]
            socket.transport.abort()
        self._apply(self._machine.closed(number, code, reason, self._clock.now()))

    async def _read(self, number: int, socket: ClientConnection) -> tuple[int, str]:
        while True:
            try:
                payload = await socket.recv(decode=False)
            except ConnectionClosed as closed:
                return close_of(closed)
            message = read_message(payload)
            if message is None:
                logger.warning("%s: not a message: %.200r", self._url, payload)
            self._apply(self._machine.received(number, message, self._clock.now()))
            if self._inbox.is_full:
                self._machine.stalled(number)
                await self._inbox.room()
                self._machine.resumed(number, self._clock.now())

    # --- tasks and time -----------------------------------------------------------------------------------------------

    def _own(self, task: asyncio.Task[None], number: int = 0) -> None:
        self._tasks[task] = number
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            # A fault of ours, or of `gives_up`: the iteration raises it.
            self._failure = self._failure or error
            self._apply(self._machine.stop())

    def _set_timer(self) -> None:
        due = self._machine.due
        if due is not None and due >= self._timer_at:
            # The timer that runs is early enough. Setting another for each message would cost more than the message.
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._timer_at = None, inf
        if due is not None:
            self._timer_at = due
            self._timer = asyncio.create_task(self._wait_until(due))
            self._own(self._timer)

    async def _wait_until(self, due: float) -> None:
        await self._clock.sleep(due - self._clock.now())
        self._timer, self._timer_at = None, inf
        self._apply(self._machine.tick(self._clock.now()))

    def _tell(self) -> None:
        state = self._machine.state
        if state is self._told:
            return
        self._told = state
        logger.debug("%s: %s", self._url, state)
        for listener in tuple(self._listeners):
            try:
                listener(state)
            except Exception:
                logger.exception("a listener of on_state failed")
