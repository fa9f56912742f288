"""tellwire: tell your users, live.

Push progress, notifications and errors from Python to every device of a user.

    from tellwire import broadcast_to_user, create_notification_message, track_upload

The same names for synchronous code are in `tellwire.sync`. Names in `__all__` are public, here and in `tellwire.sync`,
`tellwire.client`, `tellwire.testing`, `tellwire.aws`, `tellwire.aws.handlers` and `tellwire.infra`; no others are.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

from tellwire._version import __version__
from tellwire.broadcast import (
    Broadcaster,
    broadcast_to_all,
    broadcast_to_connection,
    broadcast_to_connections,
    broadcast_to_topic,
    broadcast_to_user,
    is_online,
    try_broadcast_to_all,
    try_broadcast_to_connection,
    try_broadcast_to_connections,
    try_broadcast_to_topic,
    try_broadcast_to_user,
    use_broadcaster,
)
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
from tellwire.progress import Upload, track_upload
from tellwire.publication import Publication
from tellwire.queued import queue_upload
from tellwire.stream import Replay

if TYPE_CHECKING:
    from tellwire.asgi.application import tellwire_app
    from tellwire.auth.mint import mint_token
    from tellwire.auth.request import HandshakeRequest
    from tellwire.carriers.http import HttpCarrier
    from tellwire.config import Settings
    from tellwire.engine import Engine
    from tellwire.engines.redis.producer import RedisProducer
    from tellwire.engines.registry import open_engine
    from tellwire.gateway.node import Node

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

_LAZY: Final = {
    "Engine": ("tellwire.engine", ""),
    "HandshakeRequest": ("tellwire.auth.request", "gateway"),
    "HttpCarrier": ("tellwire.carriers.http", ""),
    "Node": ("tellwire.gateway.node", "gateway"),
    "RedisProducer": ("tellwire.engines.redis.producer", "redis"),
    "Settings": ("tellwire.config", ""),
    "mint_token": ("tellwire.auth.mint", ""),
    "open_engine": ("tellwire.engines.registry", "gateway"),
    "tellwire_app": ("tellwire.asgi.application", "gateway"),
}
"""Names that a producer seldom needs, with their module and the extra it is installed with: imported when asked for."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, extra = _LAZY[name]
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if not extra or (error.name or "").startswith("tellwire"):
            raise
        message = f"tellwire.{name} needs {error.name}: pip install 'tellwire[{extra}]'"
        raise ModuleNotFoundError(message, name=error.name) from error
