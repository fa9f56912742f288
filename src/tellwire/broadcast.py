"""The functions that producers call: a message and its target go in, a `Delivery` comes out.

The functions use the engine that the environment names. A program that talks to several gateways, or to none (a test),
makes its own `Broadcaster` and either calls it or says `with use_broadcaster(mine):`.
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
    """Sends messages over one carrier. Each is encoded once, and checked before anything is sent.

    `row_errors` takes the rows that jobs left out; without it the carrier does, if it can.
    """

    def __init__(self, carrier: Carrier, row_errors: RowErrorSink | None = None) -> None:
        self._carrier = carrier
        self._row_errors = row_errors or (carrier if isinstance(carrier, RowErrorSink) else None)

    async def broadcast(self, target: Target, message: Message) -> Delivery:
        """Send `message` to every connection of `target`. A dead device never stops the others.

        Raises:
            InvalidMessage: the target or the message is not what it must be. Nothing was sent.
            MessageTooBig: over 128 KiB. Nothing was sent.
            PublishError: it did not get through.
        """
        return await self._carrier.deliver(Publication.of(target, message))

    async def add_row_errors(self, chunk: RowErrorChunk) -> bool:
        """Add rows that a job left out to the list that its user can download. False: no such lists are kept.

        Raises:
            PublishError: it did not get through.
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
        """Send to every connection there is. See `broadcast`."""
        return await self.broadcast(Target(all=True), message)


_current: ContextVar[Broadcaster] = ContextVar("tellwire_broadcaster")


def current_broadcaster() -> Broadcaster:
    """Return the broadcaster that `use_broadcaster` set, or the environment's.

    Raises:
        ConfigError: there is neither.
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
        PublishError: the message did not get through.

    Example:
        await broadcast_to_user("user-1", create_notification_message("Done", "10,000 parts", "success"))
    """
    return await current_broadcaster().broadcast_to_user(user_id, message)


async def broadcast_to_connection(connection_id: str, message: Message) -> Delivery:
    """Send `message` to one connection. Raises what `broadcast_to_user` does."""
    return await current_broadcaster().broadcast_to_connection(connection_id, message)


async def broadcast_to_connections(connection_ids: Iterable[str], message: Message) -> Delivery:
    """Send `message` to each of these connections once. Raises what `broadcast_to_user` does."""
    return await current_broadcaster().broadcast_to_connections(connection_ids, message)


async def broadcast_to_all(message: Message) -> Delivery:
    """Send `message` to every connection. Raises what `broadcast_to_user` does."""
    return await current_broadcaster().broadcast_to_all(message)


def _ids(connection_ids: Iterable[str]) -> tuple[str, ...]:
    # A lone string is an iterable of letters, none of which is a connection; let the check of the target say so.
    return connection_ids if isinstance(connection_ids, str) else tuple(connection_ids)  # type: ignore[return-value]
