"""Handlers of the project's own message types, which clients may send in addition to the protocol's requests."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar, overload

from tellwire.errors import InvalidMessage
from tellwire.messages import Message, create_message
from tellwire.model import Sender

MessageHandler = Callable[[Any, Sender], Message | Awaitable[Message | None] | None]
"""Called with a message's data, which is not validated, and its sender. A message that it returns is sent back."""

F = TypeVar("F", bound=Callable[..., Any])


class MessageHandlers:
    """The handlers by message type. Iterating yields the types."""

    def __init__(self) -> None:
        self._handlers: dict[str, MessageHandler] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._handlers)

    def __len__(self) -> int:
        return len(self._handlers)

    def __contains__(self, message_type: object) -> bool:
        return message_type in self._handlers

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
        """Return a handler's answer. Raises all exceptions of the handler."""
        handler = self._handlers[message_type]
        result: Any
        if inspect.iscoroutinefunction(handler):
            result = handler(data, sender)
        else:
            result = await asyncio.to_thread(handler, data, sender)
        message: Message | None = await result if inspect.isawaitable(result) else result
        return message
