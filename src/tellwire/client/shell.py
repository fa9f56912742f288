"""The asyncio shell of the machine: it opens and reads sockets, calls `get_token`, sleeps, and wakes who waits."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from math import inf
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tellwire.client.actions import (
    Action,
    AskToken,
    Close,
    Drop,
    Forget,
    Open,
    Pass,
    PresenceChanged,
    Send,
    Settle,
    TopicChanged,
    Why,
)
from tellwire.client.calls import Calls
from tellwire.client.close_codes import ClosedForGood
from tellwire.client.decode import read_message
from tellwire.client.inbox import Inbox
from tellwire.client.inboxes import Inboxes
from tellwire.client.machine import Machine
from tellwire.client.socket import Refused, TokenIn, Unreachable, close_of, open_socket, part, send_text
from tellwire.client.state import ConnectionState
from tellwire.client.token_source import GetToken, NoToken, ask_token
from tellwire.client.topic import Topic
from tellwire.errors import InvalidMessage
from tellwire.limits import REQUEST_KEEP_SECONDS
from tellwire.ports import Clock

logger = logging.getLogger("tellwire.client")


class Shell:
    """The sockets, tasks and queues of one client, as its machine wants them."""

    def __init__(
        self,
        url: str,
        get_token: GetToken | None,
        token_in: TokenIn,
        clock: Clock,
        machine: Machine,
        headers: Callable[[], Mapping[str, str]] | None = None,
    ) -> None:
        self._headers = headers
        self._url = url
        self._get_token = get_token
        self._token_in: TokenIn = token_in
        self._clock = clock
        self.machine = machine
        self._told = machine.state
        self.listeners: list[Callable[[ConnectionState], object]] = []
        self.inboxes = Inboxes()
        self._topics: dict[str, Topic] = {}
        self._failure: BaseException | None = None
        self._calls = Calls()
        self.sockets: dict[int, ClientConnection] = {}
        self.tasks: dict[asyncio.Task[None], int] = {}
        self.asking: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Task[None] | None = None
        self._timer_at = inf

    # --- for the client and its topics --------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect."""
        self._apply(self.machine.start(self._clock.now()))

    def wake(self) -> None:
        """Probe the connection, or connect now."""
        self._apply(self.machine.wake(self._clock.now()))

    async def close(self) -> None:
        """Close for good, and wait for the end of all tasks."""
        self._apply(self.machine.stop())
        for task in self.asking:
            task.cancel()
        while tasks := self.tasks.keys() - {asyncio.current_task()}:
            await asyncio.wait(tasks)

    async def ask(self, encode: Callable[[str], bytes], timeout_seconds: float) -> Any:
        """Send a request, as often as needed, and return the result of its answer."""
        if not 0 < timeout_seconds <= REQUEST_KEEP_SECONDS:
            raise InvalidMessage("timeout_seconds", timeout_seconds, f"over 0, up to {REQUEST_KEEP_SECONDS:g}")
        request_id, answer = self._calls.begin()
        try:
            payload = encode(request_id)
            self._apply(self.machine.request(request_id, payload, self._clock.now() + timeout_seconds))
            return await answer
        finally:
            self._calls.end(request_id)
            self.machine.forget(request_id)

    def follow(self, topic: Topic, start: str | None) -> Inbox:
        """Subscribe to a topic, and return the queue of its messages.

        Raises:
            RuntimeError: this client follows it already.
        """
        if topic.name in self._topics:
            raise RuntimeError(f"the client follows {topic.name!r} already: use that Topic")
        self._topics[topic.name] = topic
        inbox = self.inboxes.add(topic.name)
        self.machine.follow(topic.name, start, self._clock.now())
        self._apply([])
        return inbox

    def leave(self, topic: Topic) -> None:
        """End the subscription."""
        if self._topics.get(topic.name) is topic:
            del self._topics[topic.name]
            self.inboxes.remove(topic.name)
            self.machine.leave(topic.name, self._clock.now())
            self._apply([])

    def watch(self, topic: Topic) -> None:
        """Tell a topic who is there."""
        if self._topics.get(topic.name) is topic:
            self.machine.watch(topic.name)
            self._apply([])

    def check_end(self) -> None:
        """Raise the reason why the client has ended, if it has one."""
        if self._failure is not None:
            raise self._failure
        if self.machine.state.reason is not None:
            raise ClosedForGood(self.machine.state.reason)

    # --- what the machine asks for ------------------------------------------------------------------------------------

    def _apply(self, actions: list[Action]) -> None:
        for action in [*actions, *self.machine.proceed(self._clock.now())]:
            self._act(action)
        self._tell()
        if self.machine.state.status == "closed":
            self.inboxes.end()
        self._set_timer()

    def _act(self, action: Action) -> None:
        match action:
            case Pass(messages, topic):
                self.inboxes.put(messages, topic)
            case Forget():
                self.inboxes.clear()
            case Settle():
                self._calls.settle(action)
            case TopicChanged(topic, state):
                if topic in self._topics:
                    self._topics[topic].change(state)
            case PresenceChanged(topic, presence):
                if topic in self._topics:
                    self._topics[topic].change_presence(presence)
            case _:
                self._act_on_link(action)

    def _act_on_link(self, action: Action) -> None:
        match action:
            case AskToken(number, why):
                self._begin_to_ask(number, why)
            case Open(number, token):
                self._own(asyncio.create_task(self._live(number, token)), number)
            case Drop(number):
                self._drop(number)
            case Send() | Close():
                self._use(action)

    def _use(self, action: Send | Close) -> None:
        if (socket := self.sockets.get(action.number)) is not None:
            use = send_text(socket, action.payload) if isinstance(action, Send) else part(socket)
            self._own(asyncio.create_task(_ended(use)), action.number)

    def _begin_to_ask(self, number: int, why: Why) -> None:
        task = asyncio.create_task(self._ask(number, why))
        self.asking.add(task)
        task.add_done_callback(self.asking.discard)
        self._own(task, number)

    def _drop(self, number: int) -> None:
        for task in [task for task, owner in self.tasks.items() if owner == number]:
            task.cancel()

    async def _ask(self, number: int, why: Why) -> None:
        try:
            token = await ask_token(self._get_token, why, self._token_in)
        except NoToken as error:
            self._apply(self.machine.no_token(number, str(error), self._clock.now()))
        else:
            self._apply(self.machine.token(number, token, self._clock.now()))

    def _own_headers(self) -> Mapping[str, str]:
        try:
            return {} if self._headers is None else self._headers()
        except Exception as error:
            logger.warning("headers() failed", exc_info=error)
            # Its text may hold secrets; the log has it.
            raise Unreachable(f"headers failed: {type(error).__name__}") from error

    async def _live(self, number: int, token: str) -> None:
        try:
            socket = await open_socket(self._url, token, self._token_in, self._clock, self._own_headers())
        except Refused as error:
            self._apply(self.machine.refused(number, error.refusal, self._clock.now()))
            return
        except Unreachable as error:
            self._apply(self.machine.unreachable(number, str(error), self._clock.now()))
            return
        self.sockets[number] = socket
        try:
            self._apply(self.machine.opened(number, self._clock.now()))
            code, reason = await self._read(number, socket)
        finally:
            del self.sockets[number]
            socket.transport.abort()
        self._apply(self.machine.closed(number, code, reason, self._clock.now()))

    async def _read(self, number: int, socket: ClientConnection) -> tuple[int, str]:
        while True:
            try:
                payload = await socket.recv(decode=False)
            except ConnectionClosed as closed:
                return close_of(closed)
            message = read_message(payload)
            if message is None:
                logger.warning("%s: not a message: %.200r", self._url, payload)
            self._apply(self.machine.received(number, message, self._clock.now()))
            if self.inboxes.is_full:
                self.machine.stalled(number)
                await self.inboxes.room()
                self.machine.resumed(number, self._clock.now())

    # --- tasks and time -----------------------------------------------------------------------------------------------

    def _own(self, task: asyncio.Task[None], number: int = 0) -> None:
        self.tasks[task] = number
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        del self.tasks[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            # A fault of ours, or of `gives_up`: the iteration raises it.
            self._failure = self._failure or error
            self._apply(self.machine.stop())

    def _set_timer(self) -> None:
        due = self.machine.due
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
        self._apply(self.machine.tick(self._clock.now()))

    def _tell(self) -> None:
        state = self.machine.state
        if state is self._told:
            return
        self._told = state
        logger.debug("%s: %s", self._url, state)
        for listener in tuple(self.listeners):
            try:
                listener(state)
            except Exception:
                logger.exception("a listener of on_state failed")


async def _ended(use: Coroutine[Any, Any, object]) -> None:
    await use
