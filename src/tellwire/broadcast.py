"""The functions that producers call: a message and its target go in, a `Delivery` comes out.

`broadcast_to_…` raise what went wrong. `try_broadcast_to_…` never raise: a program that only tells somebody something
goes on without it.

The functions use the engine that the environment names. A program with several gateways, or with none (a test), makes
its own `Broadcaster` and calls it, or uses `with use_broadcaster(mine):`.
"""

import functools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tellwire.attempts import Attempts
from tellwire.choice import Choice
from tellwire.errors import InvalidMessage
from tellwire.limits import MAX_USER_ID_BYTES
from tellwire.messages import Message
from tellwire.model import Delivery, Target, given
from tellwire.ports import Carrier, RowErrorSink
from tellwire.producer import default_carrier
from tellwire.publication import Publication
from tellwire.row_errors import RowErrorChunk
from tellwire.text import require_id
from tellwire.tracing import broadcast_span, is_traced


class Broadcaster:
    """A sender of messages over one carrier. Each is checked and encoded once, before anything is sent.

    `row_errors` stores the row errors of jobs; None: the carrier stores them, if it can. `attempts` counts the failures
    of the `try_` forms; None: this broadcaster has its own.
    """

    def __init__(
        self, carrier: Carrier, row_errors: RowErrorSink | None = None, *, attempts: Attempts | None = None
    ) -> None:
        self._carrier = carrier
        self._attempts = attempts or Attempts()
        self._row_errors = row_errors or (carrier if isinstance(carrier, RowErrorSink) else None)

    async def broadcast(self, target: Target, message: Message, *, ttl_seconds: float | None = None) -> Delivery:
        """Send `message` to every connection of `target`. A dead device never stops the others.

        `ttl_seconds` is its time to live: a device that comes back later does not get it. None: as long as the history
        keeps it.

        Raises:
            InvalidMessage: the target or the message is not valid. Nothing was sent.
            MessageTooBig: over 128 KiB. Nothing was sent.
            PublishError: the message was not published, or the outcome is not known.
        """
        publication = Publication.of(target, message, ttl_seconds)
        if not is_traced():
            return await self._carrier.deliver(publication)
        with broadcast_span(publication) as traced:
            return await self._carrier.deliver(traced)

    async def add_row_errors(self, chunk: RowErrorChunk) -> bool:
        """Add a chunk to the list of row errors that a user can download. False: no such lists are kept.

        Raises:
            PublishError: the chunk was not stored, or the outcome is not known.
        """
        if self._row_errors is None:
            return False
        await self._row_errors.add_row_errors(chunk)
        return True

    async def broadcast_to_user(self, user_id: str, message: Message, *, ttl_seconds: float | None = None) -> Delivery:
        """Send to every device of a user. See `broadcast`."""
        return await self.broadcast(Target(user=given("target.user", user_id)), message, ttl_seconds=ttl_seconds)

    async def broadcast_to_topic(self, topic: str, message: Message, *, ttl_seconds: float | None = None) -> Delivery:
        """Send to every connection that is subscribed to a topic. See `tellwire.broadcast_to_topic`."""
        return await self.broadcast(Target(topic=given("target.topic", topic)), message, ttl_seconds=ttl_seconds)

    async def broadcast_to_connection(self, connection_id: str, message: Message) -> Delivery:
        """Send to one connection. See `broadcast`."""
        return await self.broadcast(Target(connection=given("target.connection", connection_id)), message)

    async def broadcast_to_connections(self, connection_ids: Iterable[str], message: Message) -> Delivery:
        """Send to each of these connections once. See `broadcast`."""
        return await self.broadcast(Target(connections=_ids(connection_ids)), message)

    async def broadcast_to_all(self, message: Message) -> Delivery:
        """Send to every connection. See `broadcast`."""
        return await self.broadcast(Target(all=True), message)

    async def is_online(self, user_id: str) -> bool:
        """Return True if a user has a live connection. See `tellwire.is_online`."""
        user_id = require_id("user_id", given("user_id", user_id), MAX_USER_ID_BYTES)
        from tellwire.broker import count_connections  # other calls of producers need none of it

        return await count_connections(self._carrier, user_id) > 0

    @property
    def failures(self) -> int:
        """Messages that the `try_` forms could not publish."""
        return self._attempts.failures

    async def try_broadcast_to_user(
        self, user_id: str, message: Message, *, ttl_seconds: float | None = None
    ) -> Delivery | None:
        """Send to every device of a user, without raising. See `tellwire.try_broadcast_to_user`."""
        return await self._attempts.outcome(self.broadcast_to_user(user_id, message, ttl_seconds=ttl_seconds))

    async def try_broadcast_to_topic(
        self, topic: str, message: Message, *, ttl_seconds: float | None = None
    ) -> Delivery | None:
        """Send to every subscriber of a topic, without raising. See `tellwire.try_broadcast_to_user`."""
        return await self._attempts.outcome(self.broadcast_to_topic(topic, message, ttl_seconds=ttl_seconds))

    async def try_broadcast_to_connection(self, connection_id: str, message: Message) -> Delivery | None:
        """Send to one connection, without raising. See `tellwire.try_broadcast_to_user`."""
        return await self._attempts.outcome(self.broadcast_to_connection(connection_id, message))

    async def try_broadcast_to_connections(self, connection_ids: Iterable[str], message: Message) -> Delivery | None:
        """Send to each of these connections once, without raising. See `tellwire.try_broadcast_to_user`."""
        return await self._attempts.outcome(self.broadcast_to_connections(connection_ids, message))

    async def try_broadcast_to_all(self, message: Message) -> Delivery | None:
        """Send to every connection, without raising. See `tellwire.try_broadcast_to_user`."""
        return await self._attempts.outcome(self.broadcast_to_all(message))


_choice: Choice[Broadcaster] = Choice(
    "tellwire_broadcaster",
    "pass the broadcaster on, as in track_upload(…, broadcaster=eu) or eu.broadcast_to_user(…), use asyncio.to_thread, "
    "or open a use_broadcaster block in the thread itself",
)


def current_broadcaster() -> Broadcaster:
    """Return the broadcaster that `use_broadcaster` set, or the environment's.

    Raises:
        ConfigError: neither names a gateway, or blocks with different broadcasters are open and none is this thread's.
    """
    chosen = _choice.current()
    return chosen if chosen is not None else Broadcaster(default_carrier(), attempts=attempts_of_process())


@functools.cache
def attempts_of_process() -> Attempts:
    """Return the attempts over the environment's broadcaster, also those that came to none."""
    return Attempts()


@contextmanager
def use_broadcaster(broadcaster: Broadcaster, *, other_threads: bool = True) -> Iterator[Broadcaster]:
    """Send through `broadcaster` in this block, in tasks started in it, and in other threads while it is open.

    Other threads, of a pool or a scheduler, inherit nothing from the code that gives them work. So while one
    broadcaster is in use, each thread that has not chosen for itself uses it; while several are, such a thread gets
    `ConfigError`.
    With `other_threads=False` the block is for its own code alone: for a server that chooses in each request.

    Example:
        with use_broadcaster(Broadcaster(MemoryCarrier())), ThreadPoolExecutor() as pool:
            pool.submit(import_file)
    """
    with _choice.use(broadcaster, other_threads=other_threads):
        yield broadcaster


async def broadcast_to_user(user_id: str, message: Message, *, ttl_seconds: float | None = None) -> Delivery:
    """Send `message` to every device of a user.

    Returns how many connections got it, were gone, or failed; `Delivery()` when the user has none. `ttl_seconds` is its
    time to live: a device that comes back later does not get it. None: as long as the history keeps it.

    Raises:
        InvalidMessage: `user_id` is empty, not a message, or `ttl_seconds` is not above 0. Nothing was sent.
        MessageTooBig: over 128 KiB. Nothing was sent.
        ConfigError: the environment names no gateway.
        PublishError: the message was not published, or the outcome is not known.

    Example:
        await broadcast_to_user("user-1", create_notification_message("Done", "10,000 parts", "success"))
    """
    return await current_broadcaster().broadcast_to_user(user_id, message, ttl_seconds=ttl_seconds)


async def broadcast_to_topic(topic: str, message: Message, *, ttl_seconds: float | None = None) -> Delivery:
    """Send `message` to every connection that is subscribed to a topic, such as `moc:1:comments`.

    Whether it is kept for those that come back, the rules of topics say (`TELLWIRE_TOPICS`); without a rule it is kept
    as a user's messages are. A topic needs no creation. Raises the same errors as `broadcast_to_user`.

    Example:
        await broadcast_to_topic("moc:1:comments", create_message("comment_added", {"text": "Nice!"}))
    """
    return await current_broadcaster().broadcast_to_topic(topic, message, ttl_seconds=ttl_seconds)


async def broadcast_to_connection(connection_id: str, message: Message) -> Delivery:
    """Send `message` to one connection. Raises the same errors as `broadcast_to_user`."""
    return await current_broadcaster().broadcast_to_connection(connection_id, message)


async def broadcast_to_connections(connection_ids: Iterable[str], message: Message) -> Delivery:
    """Send `message` to each of these connections once. Raises the same errors as `broadcast_to_user`."""
    return await current_broadcaster().broadcast_to_connections(connection_ids, message)


async def broadcast_to_all(message: Message) -> Delivery:
    """Send `message` to every connection. Raises the same errors as `broadcast_to_user`."""
    return await current_broadcaster().broadcast_to_all(message)


async def is_online(user_id: str) -> bool:
    """Return True if a user has a live connection, on any node: a page or an app of theirs is open.

    It is the answer of a moment. A device that has lost its network counts for up to a minute more; on AWS, until API
    Gateway has noticed.

    Raises:
        InvalidMessage: `user_id` is no user's id.
        ConfigError: the environment names no gateway.
        PublishError: nobody knows, just now.

    Example:
        if not await is_online("user-1"):
            send_mail(...)
    """
    return await current_broadcaster().is_online(user_id)


async def try_broadcast_to_user(user_id: str, message: Message, *, ttl_seconds: float | None = None) -> Delivery | None:
    """Send `message` to every device of a user, and never raise: for a program that goes on without it.

    Returns the delivery. None: the message was not published, or the outcome is not known. Failures are counted, and
    the first of each kind is logged (`tellwire.broadcast`), until a message is published again.

    Example:
        await try_broadcast_to_user("user-1", create_notification_message("Done", "10,000 parts", "success"))
    """
    broadcaster = _current_or_none()
    if broadcaster is None:
        return None
    return await broadcaster.try_broadcast_to_user(user_id, message, ttl_seconds=ttl_seconds)


async def try_broadcast_to_topic(topic: str, message: Message, *, ttl_seconds: float | None = None) -> Delivery | None:
    """Send `message` to every subscriber of a topic, and never raise. See `try_broadcast_to_user`."""
    broadcaster = _current_or_none()
    if broadcaster is None:
        return None
    return await broadcaster.try_broadcast_to_topic(topic, message, ttl_seconds=ttl_seconds)


async def try_broadcast_to_connection(connection_id: str, message: Message) -> Delivery | None:
    """Send `message` to one connection, and never raise. See `try_broadcast_to_user`."""
    broadcaster = _current_or_none()
    return None if broadcaster is None else await broadcaster.try_broadcast_to_connection(connection_id, message)


async def try_broadcast_to_connections(connection_ids: Iterable[str], message: Message) -> Delivery | None:
    """Send `message` to each of these connections once, and never raise. See `try_broadcast_to_user`."""
    broadcaster = _current_or_none()
    return None if broadcaster is None else await broadcaster.try_broadcast_to_connections(connection_ids, message)


async def try_broadcast_to_all(message: Message) -> Delivery | None:
    """Send `message` to every connection, and never raise. See `try_broadcast_to_user`."""
    broadcaster = _current_or_none()
    return None if broadcaster is None else await broadcaster.try_broadcast_to_all(message)


def _current_or_none() -> Broadcaster | None:
    try:
        return current_broadcaster()
    except Exception as error:  # noqa: BLE001 - a program that goes on without its messages needs no gateway
        attempts_of_process().failed(error)
        return None


def _ids(connection_ids: Iterable[str]) -> tuple[str, ...]:
    # A string is an iterable of letters, not of ids.
    if isinstance(connection_ids, str) or not isinstance(connection_ids, Iterable):
        raise InvalidMessage("target.connections", connection_ids, "a list of non-empty strings")
    return tuple(connection_ids)
