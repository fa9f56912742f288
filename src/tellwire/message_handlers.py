"""Handlers of the project's own message types, which clients may send in addition to the protocol's requests."""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, TypeVar, overload

from tellwire.errors import InvalidMessage
from tellwire.messages import Message, create_message
from tellwire.model import Sender

MessageHandler = Callable[[Any, Sender], Message | Awaitable[Message | None] | None]
"""Called with a message's data, which is not validated, and its sender. A message that it returns is sent back."""

OtherHandler = Callable[[str, Any, Sender], Awaitable[Message | None]]
"""Called with a message's type, its data and its sender, for types without a handler of their own."""

F = TypeVar("F", bound=Callable[..., Any])


class Unanswered(Exception):
    """The failure of a handler that was told in the log already. Its client is told that something went wrong."""


class MessageHandlers:
    """The handlers by message type. Iterating yields the types."""

    def __init__(self) -> None:
        self._handlers: dict[str, MessageHandler] = {}
        self._others: dict[str, MessageHandler] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._others | self._handlers)

    def __len__(self) -> int:
        return len(self._others | self._handlers)

    def __contains__(self, message_type: object) -> bool:
        return message_type in self._handlers or message_type in self._others

    def handle_others(self, message_types: Iterable[str], handler: OtherHandler) -> None:
        """Call `handler(message_type, data, sender)` for messages of these types that have no handler of their own.

        Raises:
            InvalidMessage: one is not a valid custom type.
        """
        for each in message_types:
            create_message(each, None)
        self._others = {each: functools.partial(handler, each) for each in message_types}

    @overload
    def on_message(self, message_type: str, handler: F) -> F: ...

    @overload
    def on_message(self, message_type: str) -> Callable[[F], F]: ...

    def on_message(self, message_type: str, handler: F | None = None) -> F | Callable[[F], F]:
        """Call `handler` for messages `{"type": message_type, "data": …}` of clients. Without it: a decorator.

        A handler is a function or a coroutine function. A plain function runs in a thread of its own, so it may block.
        It may raise `InvalidMessage`, which the client is told; of any other exception it is told that something went
        wrong.

        Raises:
            InvalidMessage: `message_type` is not a valid custom type, or has a handler already.
        """
        create_message(message_type, None)
        if message_type in self._handlers:
            raise InvalidMessage("message_type", message_type, "one that has no handler yet")

        def add(function: F) -> F:
            self._handlers[message_type] = function
            return function

        return add if handler is None else add(handler)

    async def call(self, message_type: str, data: Any, sender: Sender) -> Message | None:
        """Return a handler's answer. Raises all exceptions of the handler.

        Those that would end more than the message (the process, the task, an iteration) are raised as `RuntimeError`.
        """
        handler = self._handlers.get(message_type) or self._others[message_type]
        result: Any
        try:
            if inspect.iscoroutinefunction(handler):
                result = handler(data, sender)
            else:
                result = await asyncio.to_thread(_call, handler, data, sender)
            message: Message | None = await result if inspect.isawaitable(result) else result
        except SystemExit as error:
            raise RuntimeError(f"the handler of {message_type} wanted to end the process") from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise RuntimeError(f"the handler of {message_type} waited for something that was cancelled") from error
        return message


def _call(handler: MessageHandler, data: Any, sender: Sender) -> Any:
    try:
        return handler(data, sender)
    except StopIteration as error:
        # A future cannot carry it: whoever waits for the thread would never get an answer.
        raise RuntimeError("the handler raised StopIteration") from error
