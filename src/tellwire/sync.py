"""The API for synchronous code: Lambda handlers, scripts, threads, Django views.

    from tellwire.sync import broadcast_to_user, create_notification_message, track_upload

All of it runs on one event loop in one background thread per process, started by the first call; connections to the
gateway stay open between calls. Any number of threads or greenlets (gevent, eventlet) may call it, and exit handlers. A
process that was frozen, as a Lambda is between two events, continues. A forked child has a loop and connections of its
own.
"""

# ruff: noqa: F822 - some of the names come from `__getattr__`

import importlib
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator
from types import TracebackType
from typing import Any, SupportsIndex, TypeVar

from tellwire import progress, queued
from tellwire._version import __version__
from tellwire.background import is_on_background_loop
from tellwire.background import run as run_here
from tellwire.background import start as start_here
from tellwire.broadcast import Broadcaster, attempts_of_process, current_broadcaster, use_broadcaster
from tellwire.errors import (
    AwsRefused,
    AwsUnreachable,
    CannotRunHere,
    ConfigError,
    GatewayRefused,
    GatewayUnreachable,
    HistoryUnavailable,
    IdentityUnavailable,
    InvalidMessage,
    KeysUnavailable,
    MessageTooBig,
    NotAllowed,
    NotSignedIn,
    PublishError,
    TellwireError,
    TokenExpired,
    TokenInvalid,
    TokenMissing,
    TokenRefused,
    TooManyEscalations,
    UploadCancelled,
    UploadFailed,
    UploadWillRetry,
)
from tellwire.limits import QUEUED_LEASE_SECONDS
from tellwire.messages import (
    Message,
    Severity,
    create_error_message,
    create_message,
    create_notification_message,
    create_state_message,
    create_upload_progress_message,
)
from tellwire.model import ConnectionInfo, Delivery, Identity, Sender, Target
from tellwire.ports import Authenticator, Carrier, Clock, NullObserver, Observer, Published
from tellwire.publication import Publication
from tellwire.stream import Replay

__all__ = [
    "Authenticator",
    "AwsRefused",
    "AwsUnreachable",
    "Broadcaster",
    "CannotRunHere",
    "Carrier",
    "Clock",
    "ConfigError",
    "ConnectionInfo",
    "Delivery",
    "Engine",
    "GatewayRefused",
    "GatewayUnreachable",
    "HandshakeRequest",
    "HistoryUnavailable",
    "HttpCarrier",
    "Identity",
    "IdentityUnavailable",
    "InvalidMessage",
    "KeysUnavailable",
    "Message",
    "MessageTooBig",
    "Node",
    "NotAllowed",
    "NotSignedIn",
    "NullObserver",
    "Observer",
    "Publication",
    "PublishError",
    "Published",
    "RedisProducer",
    "Replay",
    "Sender",
    "Settings",
    "Severity",
    "Target",
    "TellwireError",
    "TokenExpired",
    "TokenInvalid",
    "TokenMissing",
    "TokenRefused",
    "TooManyEscalations",
    "Upload",
    "UploadCancelled",
    "UploadFailed",
    "UploadWillRetry",
    "__version__",
    "broadcast_to_all",
    "broadcast_to_connection",
    "broadcast_to_connections",
    "broadcast_to_topic",
    "broadcast_to_user",
    "create_error_message",
    "create_message",
    "create_notification_message",
    "create_state_message",
    "create_upload_progress_message",
    "is_online",
    "mint_token",
    "open_engine",
    "queue_upload",
    "tellwire_app",
    "track_upload",
    "try_broadcast_to_all",
    "try_broadcast_to_connection",
    "try_broadcast_to_connections",
    "try_broadcast_to_topic",
    "try_broadcast_to_user",
    "use_broadcaster",
]

T = TypeVar("T")


def broadcast_to_user(user_id: str, message: Message, *, ttl_seconds: float | None = None) -> Delivery:
    """Send `message` to every device of a user. See `tellwire.broadcast_to_user`."""
    return run_here(current_broadcaster().broadcast_to_user(user_id, message, ttl_seconds=ttl_seconds))


def broadcast_to_topic(topic: str, message: Message, *, ttl_seconds: float | None = None) -> Delivery:
    """Send `message` to every subscriber of a topic. See `tellwire.broadcast_to_topic`."""
    return run_here(current_broadcaster().broadcast_to_topic(topic, message, ttl_seconds=ttl_seconds))


def broadcast_to_connection(connection_id: str, message: Message) -> Delivery:
    """Send `message` to one connection. See `tellwire.broadcast_to_connection`."""
    return run_here(current_broadcaster().broadcast_to_connection(connection_id, message))


def broadcast_to_connections(connection_ids: Iterable[str], message: Message) -> Delivery:
    """Send `message` to each of these connections once. See `tellwire.broadcast_to_connections`."""
    return run_here(current_broadcaster().broadcast_to_connections(connection_ids, message))


def broadcast_to_all(message: Message) -> Delivery:
    """Send `message` to every connection. See `tellwire.broadcast_to_all`."""
    return run_here(current_broadcaster().broadcast_to_all(message))


def is_online(user_id: str) -> bool:
    """Return True if a user has a live connection. See `tellwire.is_online`."""
    return run_here(current_broadcaster().is_online(user_id))


def try_broadcast_to_user(user_id: str, message: Message, *, ttl_seconds: float | None = None) -> Delivery | None:
    """Send `message` to every device of a user, and never raise. See `tellwire.try_broadcast_to_user`."""
    return _tried(lambda broadcaster: broadcaster.try_broadcast_to_user(user_id, message, ttl_seconds=ttl_seconds))


def try_broadcast_to_topic(topic: str, message: Message, *, ttl_seconds: float | None = None) -> Delivery | None:
    """Send `message` to every subscriber of a topic, and never raise. See `tellwire.try_broadcast_to_user`."""
    return _tried(lambda broadcaster: broadcaster.try_broadcast_to_topic(topic, message, ttl_seconds=ttl_seconds))


def try_broadcast_to_connection(connection_id: str, message: Message) -> Delivery | None:
    """Send `message` to one connection, and never raise. See `tellwire.try_broadcast_to_user`."""
    return _tried(lambda broadcaster: broadcaster.try_broadcast_to_connection(connection_id, message))


def try_broadcast_to_connections(connection_ids: Iterable[str], message: Message) -> Delivery | None:
    """Send `message` to each of these connections once, and never raise. See `tellwire.try_broadcast_to_user`."""
    return _tried(lambda broadcaster: broadcaster.try_broadcast_to_connections(connection_ids, message))


def try_broadcast_to_all(message: Message) -> Delivery | None:
    """Send `message` to every connection, and never raise. See `tellwire.try_broadcast_to_user`."""
    return _tried(lambda broadcaster: broadcaster.try_broadcast_to_all(message))


def _tried(publish: Callable[[Broadcaster], Coroutine[Any, Any, Delivery | None]]) -> Delivery | None:
    try:
        return run_here(publish(current_broadcaster()))
    except Exception as error:  # noqa: BLE001 - no gateway is configured, or this thread cannot wait
        attempts_of_process().failed(error)
        return None


def queue_upload(
    user_id: str,
    upload_id: str,
    file_name: str,
    *,
    run: str | None = None,
    message: str = "Waiting…",
    lease_seconds: float = QUEUED_LEASE_SECONDS,
    broadcaster: Broadcaster | None = None,
) -> str:
    """Show a user an upload that waits for a worker, and return the name of its run. See `tellwire.queue_upload`."""
    return run_here(
        queued.queue_upload(
            user_id,
            upload_id,
            file_name,
            run=run,
            message=message,
            lease_seconds=lease_seconds,
            broadcaster=broadcaster or current_broadcaster(),
        )
    )


class Upload:
    """An upload in progress, for synchronous code. Made by `track_upload`; use it from any thread."""

    def __init__(self, upload: progress.Upload) -> None:
        self._upload = upload

    @property
    def rows(self) -> int:
        """Rows done so far."""
        return self._upload.rows

    @property
    def sent(self) -> int:
        """Messages that were published."""
        return self._upload.sent

    @property
    def failures(self) -> int:
        """Messages that were not."""
        return self._upload.failures

    @property
    def cancelled(self) -> bool:
        """True if a device has cancelled it. See `tellwire.progress.Upload.cancelled`."""
        return self._upload.cancelled

    @property
    def superseded(self) -> bool:
        """True if another run of the same upload has begun: the user sees that one, and nothing of this job."""
        return self._upload.superseded

    def raise_if_cancelled(self) -> None:
        """Raise `UploadCancelled` if a device has cancelled it."""
        self._upload.raise_if_cancelled()

    @property
    def summary(self) -> str | None:
        """The text of the final state. None: it is made from the number of rows."""
        return self._upload.summary

    @summary.setter
    def summary(self, text: str | None) -> None:
        self._upload.summary = text

    def update(
        self,
        *,
        rows: SupportsIndex | None = None,
        bytes_read: SupportsIndex | None = None,
        message: str | None = None,
        total_rows: SupportsIndex | None = None,
    ) -> None:
        """Update the totals. See `tellwire.progress.Upload.update`."""
        self._upload.update(rows=rows, bytes_read=bytes_read, message=message, total_rows=total_rows)

    def row_error(self, row: object, code: object, message: object) -> None:
        """Report a row that is left out. See `tellwire.progress.Upload.row_error`."""
        self._upload.row_error(row, code, message)

    def count(self, rows: Iterable[T]) -> Iterator[T]:
        """Yield `rows`, and count each as done when the next one is requested.

        Raises:
            UploadCancelled: a device has cancelled the upload.
            CannotRunHere: in a child process.

        Example:
            for row in upload.count(csv.DictReader(file)):
                save(row)
        """
        upload = self._upload
        upload._require_own_process()
        for row in rows:
            yield row
            upload._state.count_row()
            upload.raise_if_cancelled()
            upload._offer_if_due()


class track_upload(progress.TrackUpload):  # noqa: N801 - used like a function
    """Show a user the progress of an upload while the block runs. The arguments are `tellwire.track_upload`'s.

    Example:
        with track_upload("user-1", "moc-1", "parts.csv", total_rows=10_000) as upload:
            for row in upload.count(rows):
                save(row)
    """

    def __enter__(self) -> Upload:
        upload = self._open()
        try:
            run_here(upload._begin())
            return Upload(upload)
        except BaseException as error:
            self._is_open = False
            # Ctrl-C, a time limit of Celery or a timeout of gevent may come after it has begun.
            start_here(upload._abandoned(error))
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        if sys.is_finalizing():
            return  # a generator that nobody closed: its lease tells the user
        try:
            end = self._upload._end(error)
            if is_on_background_loop():
                # A generator that the garbage collector closes may end on any thread, and nobody may wait on this one.
                start_here(end)
            else:
                run_here(end)
        except BaseException:
            start_here(self._upload._end(error))
            raise


def __getattr__(name: str) -> Any:
    # The names that `tellwire` imports on first use. Loaded by name, since a producer imports nothing of a server.
    if name in __all__:
        return getattr(importlib.import_module("tellwire"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
