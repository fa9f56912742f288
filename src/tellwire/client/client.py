"""The client as an application sees it: its messages, its state, its topics, and its requests."""

import random
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar

import msgspec

from tellwire.client.address import websocket_url
from tellwire.client.close_codes import CloseReason
from tellwire.client.cursors import USER_STREAM
from tellwire.client.decode import HistoryPage, ReceivedMessage, read_history, read_message
from tellwire.client.encode import ack, cancel, dismiss, history, own_message, read
from tellwire.client.machine import Machine
from tellwire.client.options import REQUEST_TIMEOUT_SECONDS, ClientOptions
from tellwire.client.session_user import SessionUser
from tellwire.client.shell import Shell
from tellwire.client.socket import TokenIn
from tellwire.client.state import ConnectionState
from tellwire.client.token_source import GetToken
from tellwire.client.topic import Topic
from tellwire.errors import ConfigError, shown
from tellwire.ports import Clock, SystemClock
from tellwire.position import START, Position
from tellwire.text import require_topic

StartFrom = Literal["now", "oldest"]
"""The beginning for a client without a cursor: with messages from now on, or with all that the server keeps."""


OnOtherUser = Literal["close", "restart"]
"""The reaction to a token or a welcome of another user: close for good, or begin anew as theirs."""

T = TypeVar("T")

_REACTIONS: Final[tuple[OnOtherUser, ...]] = ("close", "restart")
_STARTS: Final[tuple[StartFrom, ...]] = ("now", "oldest")


class Client:
    """One device of a user. Iterating gives every message of the log once and in order, whatever happens to the
    connection, and of every upload newer and newer states. `state.recovered` is False when something may be missing.

    `url` is the gateway's, http(s):// or ws(s)://, or that of an API Gateway stage. Without `get_token` it brings no
    token, for servers that know their users in another way, such as by `headers`: of the handshake, and called for each
    one, so a session may be renewed. `token_in` says where the token
    travels: `query` is for servers that know only `?token=`, and lets it end up in logs. `gives_up` is asked about each
    reason that the client would come back from; True closes it for good.

    `cursors` is where an earlier client was, by stream (`{"user": "…", "topic:moc:1:comments": "…"}`); without one of
    the user's own stream, `start_from` says where this one begins. `recover=False` asks for nothing that was missed,
    for servers that do not accept a `hello`.

    `user` is the id that the server knows, and `user_claim` the claim of tokens that has it. A token or a welcome of
    another user than before closes the client (`state.reason.kind` is `user`), or with `on_other_user="restart"` begins
    anew as theirs: with nothing of the one before, and `state.user` says whose messages come.

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
        get_token: GetToken | None = None,
        *,
        token_in: TokenIn = "subprotocol",  # noqa: S107 - a place
        headers: Callable[[], Mapping[str, str]] | None = None,
        gives_up: Callable[[CloseReason], bool] = lambda _: False,
        recover: bool = True,
        cursors: Mapping[str, str] | None = None,
        start_from: StartFrom = "now",
        user: str | None = None,
        user_claim: str = "sub",
        on_other_user: OnOtherUser = "close",
        options: ClientOptions | None = None,
        clock: Clock | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        _one_of("start_from", start_from, _STARTS)
        _one_of("on_other_user", on_other_user, _REACTIONS)
        if user is not None and (not isinstance(user, str) or not user):
            raise ConfigError(f"user: got {user!r}; allowed: the id of a user")
        if get_token is not None and not callable(get_token):
            raise ConfigError(
                f"get_token: got {shown(type(get_token).__name__)}; allowed: a function that returns a token, or None"
            )
        address = websocket_url(url)
        self._start_from = start_from
        self._machine = Machine(
            options or ClientOptions(),
            jitter,
            gives_up,
            recover=recover,
            cursors=cursors,
            starts_at={USER_STREAM: START} if start_from == "oldest" else {},
            user=SessionUser(user, user_claim),
            restarts=on_other_user == "restart",
        )
        self._shell = Shell(address, get_token, token_in, clock or SystemClock(), self._machine, headers)

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
        One that begins with `now` also stores it when `state.recovered` is first not None: it may end before a message.
        When something went missing it stays until `state.recovered` has said so, so that this is not lost either.
        """
        return self._machine.cursors(self._shell.inboxes.cursor)

    def on_state(self, listener: Callable[[ConnectionState], object]) -> Callable[[], None]:
        """Call `listener` with every new state, and return a function that ends it. One that raises is logged."""
        listeners = self._shell.listeners
        listeners.append(listener)

        def forget() -> None:
            if listener in listeners:
                listeners.remove(listener)

        return forget

    async def send(
        self, message_type: str, data: Any = None, *, timeout_seconds: float = REQUEST_TIMEOUT_SECONDS
    ) -> ReceivedMessage | None:
        """Send a request of your own type, and return the message that its handler answers with, if it does.

        `data` is anything JSON can carry.

        Raises:
            InvalidMessage: `message_type` is empty, or `data` holds what JSON cannot carry.
            MessageTooBig: over 128 KiB.
            RequestError: see `RequestError`. So do all other requests.
        """
        result = await self._ask_server(lambda request_id: own_message(request_id, message_type, data), timeout_seconds)
        return None if result is None else read_message(msgspec.json.encode(result))

    async def ack(self, cursor: str | None = None) -> None:
        """Tell the user's other devices that everything up to a cursor has been seen. They receive `seen`.

        Without `cursor`: up to the client's own; nothing is sent if there is none.
        """
        own = cursor if cursor is not None else self.cursors.get(USER_STREAM)
        if own is not None and (cursor is not None or Position.parse(own) is not None):
            await self._ask_server(lambda request_id: ack(request_id, own))

    async def read(self, *, cursors: Sequence[str] | None = None, up_to: str | None = None) -> None:
        """Mark messages as read, on all devices: those at up to 100 cursors, all up to a cursor, or both.

        All devices receive `marks`.
        """
        await self._ask_server(lambda request_id: read(request_id, cursors, up_to))

    async def cancel(self, upload_id: str) -> None:
        """Cancel an upload. All devices receive its last state, `cancelled`.

        Raises:
            InvalidMessage: `upload_id` is empty.
            RequestError: `UPLOAD_UNKNOWN`, `UPLOAD_OVER` or another.
        """
        await self._ask_server(lambda request_id: cancel(request_id, upload_id))

    async def dismiss(
        self, upload_id: str | None = None, *, cursors: Sequence[str] | None = None, up_to: str | None = None
    ) -> None:
        """Show something no more, on any device: an upload that has ended, or messages: up to 100 by cursor, or all
        up to a cursor. All devices receive `dismissed` or `marks`.

        Raises:
            InvalidMessage: not exactly one of them is given, or it is not valid.
            RequestError: `UPLOAD_RUNNING` or another.
        """
        await self._ask_server(lambda request_id: dismiss(request_id, upload_id, cursors, up_to, None))

    async def clear_finished(self, up_to_version: int | None = None) -> None:
        """Show no upload more that has ended, on any device. All devices receive `dismissed` for each.

        `up_to_version`: those whose state is of at most this version. None: all whose states have come so far.
        """
        version = self._machine.version if up_to_version is None else up_to_version
        if version:
            await self._ask_server(lambda request_id: dismiss(request_id, None, None, None, version))

    async def history(self, *, before: str | None = None, limit: int | None = None) -> HistoryPage:
        """Read up to 100 messages of the user's log, the newest first: those before a cursor, or the newest."""
        result = await self._ask_server(lambda request_id: history(request_id, before, limit))
        return read_history(result)

    def topic(self, name: str, *, start_from: StartFrom | None = None) -> Topic:
        """Return a topic to follow: its messages come while its block is entered.

        It goes on from its cursor in the option `cursors`, if that has one; else it begins with `start_from`, or as the
        client does. A client follows a topic once at a time, and as many topics as the server allows (100).

        Raises:
            InvalidMessage: `name` is no name of a topic: 1 to 256 bytes without white space, `*`, `{` and `}`.
            ConfigError: `start_from` is neither "now" nor "oldest".

        Example:
            async with client.topic("moc:1:comments", start_from="oldest") as topic:
                async for message in topic:
                    print(message.data)
        """
        start_from = self._start_from if start_from is None else _one_of("start_from", start_from, _STARTS)
        return Topic(self._shell, require_topic("topic", name), START if start_from == "oldest" else None)

    def wake(self) -> None:
        """Probe the connection now, or connect now: the network may be another one. A sleep is noticed without this."""
        self._shell.wake()

    async def close(self) -> None:
        """Close for good. Messages that have been received can still be iterated over."""
        await self._shell.close()

    async def _ask_server(
        self, encode: Callable[[str], bytes], timeout_seconds: float = REQUEST_TIMEOUT_SECONDS
    ) -> Any:
        return await self._shell.ask(encode, timeout_seconds)

    async def __aenter__(self) -> Self:
        if self.state.status != "idle":
            raise RuntimeError("a Client is entered once; make another")
        self._shell.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        if self.state.status == "idle":
            raise RuntimeError("a Client is iterated over within `async with client:`")
        self._shell.inboxes.iterate()
        return self

    async def __anext__(self) -> ReceivedMessage:
        self._shell.inboxes.iterate()
        message = await self._shell.inboxes.user.get()
        if message is not None:
            return message
        self._shell.check_end()
        raise StopAsyncIteration


def _one_of(name: str, value: T, allowed: Sequence[T]) -> T:
    if value not in allowed:
        raise ConfigError(f"{name}: got {value!r}; allowed: {', '.join(map(str, allowed))}")
    return value
