"""The functions that producers call: a message and its target go in, a `Delivery` comes out.

The functions use the engine that the environment names. A program with several gateways, or with none (a test), makes
its own `Broadcaster` and calls it, or uses `with use_broadcaster(mine):`.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tellwire.messages import Message
from tellwire.model import Delivery, Target
from tellwire.ports import Carrier, RowErrorSink
from tellwire.producer import default_carrier
from tellwire.publication import Publication
from tellwire.row_errors import RowErrorChunk


class Broadcaster:
    """A sender of messages over one carrier. Each is checked and encoded once, before anything is sent.

    `row_errors` stores the row errors of jobs; None: the carrier stores them, if it can.
    """

    def __init__(self, carrier: Carrier, row_errors: RowErrorSink | None = None) -> None:
        self._carrier = carrier
        self._row_errors = row_errors or (carrier if isinstance(carrier, RowErrorSink) else None)

    async def broadcast(self, target: Target, message: Message) -> Delivery:
        """Send `message` to every connection of `target`. A dead device never stops the others.

        Raises:
            InvalidMessage: the target or the message is not valid. Nothing was sent.
            MessageTooBig: over 128 KiB. Nothing was sent.
            PublishError: the message was not published, or the outcome is not known.
        """
        return await self._carrier.deliver(Publication.of(target, message))

    async def add_row_errors(self, chunk: RowErrorChunk) -> bool:
        """Add a chunk to the list of row errors that a user can download. False: no such lists are kept.

        Raises:
            PublishError: the chunk was not stored, or the outcome is not known.
        """
        if self._row_errors is None:
            return False
        await self._row_errors.add_row_errors(chunk)
        return True

    async def broadcast_to_user(self, user_id: str, message: Message) -> Delivery:
        """Send to every device of a user. See `broadcast`."""
        return await self.broadcast(Target(user=user_id), message)

    async def broadcast_to_connection(self, connection_id: str, message: Message) -> Delivery:
        """Send to one connection. See `broadcast`."""
        return await self.broadcast(Target(connection=connection_id), message)

    async def broadcast_to_connections(self, connection_ids: Iterable[str], message: Message) -> Delivery:
        """Send to each of these connections once. See `broadcast`."""
        return await self.broadcast(Target(connections=_ids(connection_ids)), message)

    async def broadcast_to_all(self, message: Message) -> Delivery:
        """Send to every connection. See `broadcast`."""
        return await self.broadcast(Target(all=True), message)


_current: ContextVar[Broadcaster] = ContextVar("tellwire_broadcaster")


def current_broadcaster() -> Broadcaster:
    """Return the broadcaster that `use_broadcaster` set, or the environment's.

    Raises:
        ConfigError: neither names a gateway.
    """
    chosen = _current.get(None)
    return chosen if chosen is not None else Broadcaster(default_carrier())


@contextmanager
def use_broadcaster(broadcaster: Broadcaster) -> Iterator[Broadcaster]:
    """Send through `broadcaster` in this block, and in tasks started in it."""
    token = _current.set(broadcaster)
    try:
        yield broadcaster
    finally:
        _current.reset(token)


async def broadcast_to_user(user_id: str, message: Message) -> Delivery:
    """Send `message` to every device of a user.

    Returns how many connections got it, were gone, or failed; `Delivery()` when the user has none.

    Raises:
        InvalidMessage: `user_id` is empty, or not a message. Nothing was sent.
        MessageTooBig: over 128 KiB. Nothing was sent.
        ConfigError: the environment names no gateway.
        PublishError: the message was not published, or the outcome is not known.

    Example:
        await broadcast_to_user("user-1", create_notification_message("Done", "10,000 parts", "success"))
    """
    return await current_broadcaster().broadcast_to_user(user_id, message)


async def broadcast_to_connection(connection_id: str, message: Message) -> Delivery:
    """Send `message` to one connection. Raises the same errors as `broadcast_to_user`."""
    return await current_broadcaster().broadcast_to_connection(connection_id, message)


async def broadcast_to_connections(connection_ids: Iterable[str], message: Message) -> Delivery:
    """Send `message` to each of these connections once. Raises the same errors as `broadcast_to_user`."""
    return await current_broadcaster().broadcast_to_connections(connection_ids, message)


async def broadcast_to_all(message: Message) -> Delivery:
    """Send `message` to every connection. Raises the same errors as `broadcast_to_user`."""
    return await current_broadcaster().broadcast_to_all(message)


def _ids(connection_ids: Iterable[str]) -> tuple[str, ...]:
    # A string is an iterable of letters, not of ids. It is passed on as it is, so that the target's check refuses it.
    return connection_ids if isinstance(connection_ids, str) else tuple(connection_ids)  # type: ignore[return-value]
