"""Everything that tellwire raises.

    TellwireError
    ├── InvalidMessage       a message, a target or an argument is not what it must be
    ├── MessageTooBig        a message is over 128 KiB; nothing was sent
    ├── ConfigError          a setting is missing or not what it must be
    ├── TokenRefused         a token does not open a connection
    │   ├── TokenMissing
    │   ├── TokenInvalid
    │   ├── TokenExpired
    │   └── TokenOfAnotherUser
    ├── ConnectionUnknown    a client speaks on a connection that nobody knows (any more)
    ├── KeysUnavailable      the identity provider's keys cannot be had just now
    ├── GatewayError         a publish did not get through to the gateway
    │   ├── GatewayUnreachable
    │   ├── GatewayRefused
    │   ├── AwsUnreachable   DynamoDB or API Gateway did not answer, or not in time, however often they were asked
    │   └── AwsRefused       they answered, and said no
    ├── HistoryUnavailable   what was said cannot be kept or read just now
    ├── ClosedForGood        the gateway closed a connection and wants nobody back (`tellwire.client`)
    └── UploadFailed         raise it inside `track_upload` to choose the words the user sees

Each class knows its answer: `code` for the wire, `http_status` for HTTP, `close_code` for a WebSocket, `retryable` for
the caller. Messages say what, what was given and what is allowed; none of them holds a token, a key or a path.
"""

from typing import ClassVar

_SHOWN_CHARACTERS = 80


def shown(value: object) -> str:
    """Return `value` as an error shows it: its repr, cut to a readable length."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"


class TellwireError(Exception):
    """The base of all errors here."""

    code: ClassVar[str] = "INTERNAL_ERROR"
    http_status: ClassVar[int] = 500
    close_code: ClassVar[int] = 1011
    retryable: ClassVar[bool] = False


class InvalidMessage(TellwireError, ValueError):
    """A field of a message, a target or an argument is not what it must be. Nothing was sent."""

    code = "INVALID_MESSAGE"
    http_status = 400
    close_code = 4400

    def __init__(self, field: str, given: object, allowed: str) -> None:
        super().__init__(f"{field}: got {shown(given)}; allowed: {allowed}")
        self.field = field
        self.given = given
        self.allowed = allowed


class MessageTooBig(TellwireError, ValueError):
    """A message is bigger than API Gateway carries. Nothing was sent."""

    code = "MESSAGE_TOO_BIG"
    http_status = 413
    close_code = 1009

    def __init__(self, size_bytes: int, max_bytes: int) -> None:
        super().__init__(f"message: got {size_bytes:,} bytes; allowed: at most {max_bytes:,} bytes")
        self.size_bytes = size_bytes
        self.max_bytes = max_bytes


class ConfigError(TellwireError, ValueError):
    """A setting is missing or not what it must be."""

    code = "CONFIG_ERROR"


class TokenRefused(TellwireError):
    """A token does not open a connection."""

    code = "TOKEN_REFUSED"
    http_status = 401
    close_code = 4401


class TokenMissing(TokenRefused):
    """The handshake brought no token."""

    code = "TOKEN_MISSING"

    def __init__(self) -> None:
        super().__init__("No token: send ?token=<jwt> or the subprotocols tellwire.v1, token.<jwt>")


class TokenInvalid(TokenRefused):
    """The token is not one of ours. `reason` is safe to show: it never quotes the token."""

    code = "TOKEN_INVALID"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The token is not valid: {reason}")
        self.reason = reason


class TokenExpired(TokenRefused):
    """The token was good once. A client asks for a new one and comes back."""

    code = "TOKEN_EXPIRED"

    def __init__(self) -> None:
        super().__init__("The token has expired")


class TokenOfAnotherUser(TokenRefused):
    """A connection was to live on by the token of another user. A client makes a connection of its own for that."""

    code = "TOKEN_OF_ANOTHER_USER"
    http_status = 403
    close_code = 4403

    def __init__(self) -> None:
        super().__init__("The token is another user's")


class ConnectionUnknown(TellwireError):
    """A client speaks on a connection that was never stored, or was forgotten. It connects again."""

    code = "CONNECTION_UNKNOWN"
    http_status = 410
    close_code = 1012
    retryable = True

    def __init__(self) -> None:
        super().__init__("This connection is not known here; connect again")


class KeysUnavailable(TellwireError):
    """The identity provider's keys cannot be had just now; the token was neither accepted nor refused."""

    code = "KEYS_UNAVAILABLE"
    http_status = 503
    close_code = 1013
    retryable = True

    def __init__(self) -> None:
        super().__init__("The keys that verify tokens cannot be fetched just now; try again in a few seconds")


class GatewayError(TellwireError):
    """A publish did not get through to the gateway."""

    code = "GATEWAY_ERROR"


class GatewayUnreachable(GatewayError):
    """The gateway did not answer, or not as it should. Unless `not_sent`, the message may have gone out."""

    code = "GATEWAY_UNREACHABLE"
    http_status = 502
    retryable = True

    def __init__(self, url: str, reason: str, *, not_sent: bool = False) -> None:
        super().__init__(f"The gateway at {url} did not take the message: {reason}")
        self.url = url
        self.reason = reason
        self.not_sent = not_sent


class GatewayRefused(GatewayError):
    """The gateway answered, and said no."""

    code = "GATEWAY_REFUSED"

    def __init__(self, status: int, refusal: str, message: str) -> None:
        super().__init__(f"The gateway refused the message ({status} {refusal}): {message}")
        self.status = status
        self.refusal = refusal


class AwsUnreachable(GatewayError):
    """An AWS service did not answer, or was too busy, or there was no time left to ask. `action` is what was asked."""

    code = "AWS_UNREACHABLE"
    http_status = 502
    retryable = True

    def __init__(self, action: str, reason: str) -> None:
        super().__init__(f"{action}: no answer: {reason}")
        self.action = action
        self.reason = reason


class AwsRefused(GatewayError):
    """An AWS service answered, and said no. `error_type` is its name for that, such as `AccessDeniedException`."""

    code = "AWS_REFUSED"

    def __init__(self, action: str, status: int, error_type: str, message: str) -> None:
        super().__init__(f"{action}: refused ({status} {error_type}): {message}")
        self.action = action
        self.status = status
        self.error_type = error_type


class HistoryUnavailable(TellwireError):
    """What was said cannot be kept, or read, just now. A message that cannot be kept is not delivered either."""

    code = "HISTORY_UNAVAILABLE"
    http_status = 503
    close_code = 1013
    retryable = True

    def __init__(self, reason: str) -> None:
        super().__init__(f"The history is out of order: {reason}")
        self.reason = reason


class UploadFailed(TellwireError):
    """Raise it inside `track_upload` when the user should read why.

    Any other exception tells the user only that the file could not be processed, since its text may hold what is not
    theirs to see. This one's `code` and `message` are shown as they are.

    Example:
        raise UploadFailed("NO_HEADER", "The first line must name the columns: part, colour, quantity.")
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.upload_code = code
        self.message = message


class UploadCancelled(TellwireError):
    """A device has cancelled the upload: stop. `track_upload` says so in the last state, and lets it go on its way.

    `Upload.count` raises it. A worker may raise it, too: then it is the one who cancels.
    """

    code = "UPLOAD_CANCELLED"

    def __init__(self) -> None:
        super().__init__("The upload was cancelled")


class UploadUnknown(TellwireError):
    """There is no upload of this id: it began too long ago, or was never heard of."""

    code = "UPLOAD_UNKNOWN"
    http_status = 404

    def __init__(self, upload_id: str) -> None:
        super().__init__(f"upload: got {shown(upload_id)}; allowed: one that was heard of in the last 24 hours")


class RowErrorsUnknown(TellwireError):
    """There is no list of rows that an upload left out: it left out none, or too long ago."""

    code = "ROW_ERRORS_UNKNOWN"
    http_status = 404

    def __init__(self, upload_id: str) -> None:
        super().__init__(f"upload: got {shown(upload_id)}; allowed: one that left out rows in the last 24 hours")


class UploadOver(TellwireError):
    """An upload that has ended cannot be cancelled."""

    code = "UPLOAD_OVER"
    http_status = 409

    def __init__(self, status: str) -> None:
        super().__init__(f"The upload cannot be cancelled: it is {status}")
