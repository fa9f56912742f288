"""A topic as an application sees it: its messages, its state, and requests about it."""

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from tellwire.client.decode import HistoryPage, ReceivedMessage, read_history
from tellwire.client.encode import history, publish
from tellwire.client.inbox import Inbox
from tellwire.client.options import REQUEST_TIMEOUT_SECONDS
from tellwire.client.presence_state import PresenceState
from tellwire.client.request_error import RequestError
from tellwire.client.subscription import SUBSCRIBING
from tellwire.client.topic_state import TopicRefused, TopicState

logger = logging.getLogger("tellwire.client")

T = TypeVar("T")


class Host(Protocol):
    """The client of a topic, as far as a topic needs it."""

    def follow(self, topic: "Topic", start: str | None) -> Inbox:
        """Subscribe, and return the queue of the topic's messages."""
        ...

    def leave(self, topic: "Topic") -> None:
        """End the subscription."""
        ...

    def watch(self, topic: "Topic") -> None:
        """Tell the topic who is there."""
        ...

    async def ask(self, encode: Callable[[str], bytes], timeout_seconds: float) -> Any:
        """Send a request, and return the result of its answer."""
        ...

    def check_end(self) -> None:
        """Raise the reason why the client has ended, if it has one."""
        ...


class Topic:
    """A topic that is followed as long as the block is entered. Iterating gives every message of its log once and in
    order, whatever happens to the connection, and newer and newer states of each key; `state.recovered` is False when
    something may be missing. These messages do not come from the iteration over the client.

    Raises:
        TopicRefused: from the iteration, if the user may not follow the topic, or may do so no longer.
        ClosedForGood: from the iteration, as from that of the client.
    """

    def __init__(self, host: Host, name: str, start: str | None) -> None:
        self._host = host
        self._start = start
        self._inbox: Inbox | None = None
        self._listeners: list[Callable[[TopicState], object]] = []
        self._is_answered = asyncio.Event()
        self._presence_listeners: list[Callable[[PresenceState], object]] = []
        self.name = name
        self.state = SUBSCRIBING
        self.presence = PresenceState()

    def on_state(self, listener: Callable[[TopicState], object]) -> Callable[[], None]:
        """Call `listener` with every new state, and return a function that ends it. One that raises is logged."""
        return _added(self._listeners, listener)

    def on_presence(self, listener: Callable[[PresenceState], object]) -> Callable[[], None]:
        """Call `listener` with each change of who is in the topic, and return a function that ends it.

        The server is asked from the first call on; `presence` is the state. One that raises is logged.
        """
        forget = _added(self._presence_listeners, listener)
        self._host.watch(self)
        return forget

    async def history(self, *, before: str | None = None, limit: int | None = None) -> HistoryPage:
        """Read up to 100 messages of the topic's log, the newest first: those before a cursor, or the newest.

        It waits until the topic is subscribed.

        Raises:
            TopicRefused: it is not.
            RequestError: see `RequestError`.
        """
        await self._until_subscribed()
        stream = f"topic:{self.name}"
        result = await self._host.ask(
            lambda request_id: history(request_id, before, limit, stream), REQUEST_TIMEOUT_SECONDS
        )
        return read_history(result)

    async def publish(self, message_type: str, data: Any = None) -> None:
        """Publish a message of your own type to the topic, if the server lets this user do so. Whoever follows the
        topic receives it, this client, too.

        Raises:
            InvalidMessage: `message_type` is empty, or `data` holds what JSON cannot carry.
            MessageTooBig: over 128 KiB.
            RequestError: `TOPIC_FORBIDDEN`: the user may not; see `RequestError`.
        """
        await self._host.ask(
            lambda request_id: publish(request_id, self.name, message_type, data), REQUEST_TIMEOUT_SECONDS
        )

    async def _until_subscribed(self) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                await self._is_answered.wait()
        except TimeoutError as error:
            raise RequestError("TIMEOUT", "The topic was not subscribed in time") from error
        if (refused := self._refusal()) is not None:
            raise refused

    def _refusal(self) -> TopicRefused | None:
        if self.state.status != "refused":
            return None
        return TopicRefused(self.name, self.state.code or "", self.state.message or "")

    # --- its client ---------------------------------------------------------------------------------------------------

    def change(self, state: TopicState) -> None:
        """Take the state of the subscription."""
        self.state = state
        if self._inbox is not None:
            self._inbox.interrupt(self._refusal())
        if state.status == "subscribing":
            self._is_answered.clear()
        else:
            self._is_answered.set()
        _call(self._listeners, state)

    def change_presence(self, state: PresenceState) -> None:
        """Take who is in the topic."""
        if state != self.presence:
            self.presence = state
            _call(self._presence_listeners, state)

    async def __aenter__(self) -> Self:
        if self._inbox is not None:
            raise RuntimeError("a Topic is entered once; make another")
        self._inbox = self._host.follow(self, self._start)
        if self._presence_listeners:
            self._host.watch(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._host.leave(self)
        self.change_presence(PresenceState())

    def __aiter__(self) -> Self:
        if self._inbox is None:
            raise RuntimeError("a Topic is iterated over within `async with topic:`")
        return self

    async def __anext__(self) -> ReceivedMessage:
        message = None if self._inbox is None else await self._inbox.get()
        if message is not None:
            return message
        self._host.check_end()
        raise StopAsyncIteration


def _added(listeners: list[T], listener: T) -> Callable[[], None]:
    listeners.append(listener)

    def forget() -> None:
        if listener in listeners:
            listeners.remove(listener)

    return forget


def _call(listeners: list[Callable[[T], object]], state: T) -> None:
    for listener in tuple(listeners):
        try:
            listener(state)
        except Exception:
            logger.exception("a listener of a topic failed")
