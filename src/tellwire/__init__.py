"""tellwire: tell your users, live.

Push progress, notifications and errors from Python to every device of a user.

    from tellwire import broadcast_to_user, create_notification_message, track_upload

The same names for synchronous code are in `tellwire.sync`.
"""

from tellwire._version import __version__
from tellwire.broadcast import (
    Broadcaster,
    broadcast_to_all,
    broadcast_to_connection,
    broadcast_to_connections,
    broadcast_to_user,
    use_broadcaster,
)
from tellwire.errors import (
    ConfigError,
    GatewayRefused,
    GatewayUnreachable,
    InvalidMessage,
    MessageTooBig,
    PublishError,
    TellwireError,
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
from tellwire.model import Delivery
from tellwire.progress import track_upload

__all__ = [
    "Broadcaster",
    "ConfigError",
    "Delivery",
    "GatewayRefused",
    "GatewayUnreachable",
    "InvalidMessage",
    "Message",
    "MessageTooBig",
    "PublishError",
    "Severity",
    "TellwireError",
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
    "track_upload",
    "use_broadcaster",
]
