"""The API for synchronous code: Lambda handlers, scripts, threads, Django views.

    from tellwire.sync import broadcast_to_user, create_notification_message, track_upload

All of it runs on one event loop in one background thread per process, started by the first call; connections to the
gateway stay open between calls. Any number of threads may call it. A process that was frozen, as a Lambda is between
two events, continues. Fork before the first call: threads do not survive a fork.
"""

# ruff: noqa: F822 - four of the names come from `__getattr__`

import asyncio
import importlib
import threading
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, TypeVar

from tellwire import progress
from tellwire._version import __version__
from tellwire.background import background_loop, run
from tellwire.broadcast import Broadcaster, current_broadcaster, use_broadcaster
from tellwire.errors import (
    AwsRefused,
    AwsUnreachable,
    ConfigError,
    GatewayRefused,
    GatewayUnreachable,
    HistoryUnavailable,
    InvalidMessage,
    KeysUnavailable,
    MessageTooBig,
    PublishError,
    TellwireError,
    TokenExpired,
    TokenInvalid,
    TokenMissing,
    TokenRefused,
    UploadCancelled,
    UploadFailed,
)
from tellwire.messages import (
    Message,
    Severity,
    create_error_message,
    create_message,
    create_notification_message,
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
    "Carrier",
    "Clock",
    "ConfigError",
    "ConnectionInfo",
    "Delivery",
    "Engine",
    "GatewayRefused",
    "GatewayUnreachable",
    "HistoryUnavailable",
    "HttpCarrier",
    "Identity",
    "InvalidMessage",
    "KeysUnavailable",
    "Message",
    "MessageTooBig",
    "Node",
    "NullObserver",
    "Observer",
    "Publication",
    "PublishError",
    "Published",
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
    "Upload",
    "UploadCancelled",
    "UploadFailed",
    "__version__",
    "broadcast_to_all",
    "broadcast_to_connection",
    "broadcast_to_connections",
    "broadcast_to_user",
    "create_error_message",
    "create_message",
    "create_notification_message",
    "create_upload_progress_message",
    "mint_token",
    "open_engine",
    "track_upload",
    "use_broadcaster",
]

T = TypeVar("T")


def broadcast_to_user(user_id: str, message: Message) -> Delivery:
    """Send `message` to every device of a user. See `tellwire.broadcast_to_user`."""
    return run(current_broadcaster().broadcast_to_user(user_id, message))


def broadcast_to_connection(connection_id: str, message: Message) -> Delivery:
    """Send `message` to one connection. See `tellwire.broadcast_to_connection`."""
    return run(current_broadcaster().broadcast_to_connection(connection_id, message))


def broadcast_to_connections(connection_ids: Iterable[str], message: Message) -> Delivery:
    """Send `message` to each of these connections once. See `tellwire.broadcast_to_connections`."""
    return run(current_broadcaster().broadcast_to_connections(connection_ids, message))


def broadcast_to_all(message: Message) -> Delivery:
    """Send `message` to every connection. See `tellwire.broadcast_to_all`."""
    return run(current_broadcaster().broadcast_to_all(message))


class Upload:
    """An upload in progress, for synchronous code. Made by `track_upload`; use it from any thread."""

    def __init__(self, upload: progress.Upload, loop: asyncio.AbstractEventLoop) -> None:
        self._upload = upload
        self._loop = loop
        # Two threads that update at once must not replace a newer count with an older one.
        self._updating = threading.Lock()

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

    def update(self, *, rows: int | None = None, bytes_read: int | None = None, message: str | None = None) -> None:
        """Update the totals. See `tellwire.progress.Upload.update`."""
        with self._updating:
            self._upload._state.update(rows, bytes_read, message)
        self._send_if_due()

    def row_error(self, row: int, code: str, message: str) -> None:
        """Report a row that is left out. See `tellwire.progress.Upload.row_error`."""
        self._upload.row_error(row, code, message)

    def count(self, rows: Iterable[T]) -> Iterator[T]:
        """Yield `rows`, and count each as done when the next one is requested.

        Raises:
            UploadCancelled: a device has cancelled the upload.

        Example:
            for row in upload.count(csv.DictReader(file)):
                save(row)
        """
        state = self._upload._state
        for row in rows:
            yield row
            state.rows += 1
            self._upload.raise_if_cancelled()
            self._send_if_due()

    def _send_if_due(self) -> None:
        if self._upload._take_due():
            self._loop.call_soon_threadsafe(self._upload._offer)


class track_upload(progress.TrackUpload):  # noqa: N801 - used like a function
    """Show a user the progress of an upload while the block runs. The arguments are `tellwire.track_upload`'s.

    Example:
        with track_upload("user-1", "moc-1", "parts.csv", total_rows=10_000) as upload:
            for row in upload.count(rows):
                save(row)
    """

    def __enter__(self) -> Upload:
        run(self._upload._begin())
        return Upload(self._upload, background_loop())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        run(self._upload._end(error))


def __getattr__(name: str) -> Any:
    # The names that `tellwire` imports on first use. Loaded by name, since a producer imports nothing of a server.
    if name in __all__:
        return getattr(importlib.import_module("tellwire"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
