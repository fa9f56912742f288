"""Every error that tellwire raises.

    TellwireError
    ├── InvalidMessage          a message, a target or an argument is not valid
    │   └── MessageRefused      the project's own server has refused a client's message
    ├── MessageTooBig           a message is over 128 KiB
    ├── ConfigError             a setting is missing or not valid
    ├── PublishError            a message was not published, or the outcome is not known
    │   ├── GatewayUnreachable  the gateway did not answer, or its answer is not a gateway's
    │   ├── GatewayRefused      the gateway refused the message
    │   ├── AwsUnreachable      DynamoDB or API Gateway did not answer, or not in time
    │   ├── AwsRefused          DynamoDB or API Gateway refused the request
    │   ├── TooManyEscalations  too many notifications of a user wait to be escalated
    │   └── HistoryUnavailable  the history cannot be written or read just now
    ├── TokenRefused            a token does not open a connection
    │   ├── TokenMissing
    │   ├── TokenInvalid
    │   ├── TokenExpired
    │   ├── NotSignedIn         the project's own way to know users knows nobody in the request
    │   └── TokenOfAnotherUser
    ├── NotAllowed              the project's own way to know users says that this one may not connect
    ├── IdentityUnavailable     nobody knows, just now, who makes the request
    ├── UserShutOut             a user, or a token of theirs, is shut out until a time
    ├── KeysUnavailable         the identity provider's keys cannot be fetched just now
    ├── ConnectionUnknown       a message on a connection that is not stored (any more)
    ├── TopicForbidden          a topic that this user may not subscribe to, or publish to
    ├── TopicRightsUnavailable  nobody knows, just now, what a user may do with a topic
    ├── TopicNotSubscribed      a request about a topic that the connection is not subscribed to
    ├── PresenceOff             nobody is told who is in this topic
    ├── TooManySubscriptions    more topics than a connection may follow
    ├── RequestsLimited         more requests than a connection may make
    ├── RequestRunning          a repeated request that is being handled elsewhere
    ├── HistoryMissing          a request that needs a history, to a server without one
    ├── UploadFailed            raised inside `track_upload`, with the text that the user sees
    ├── UploadWillRetry         raised inside `track_upload`: the job will be tried again
    ├── UploadCancelled         a device has cancelled the upload: stop
    ├── UploadUnknown           no upload has this id
    ├── UploadRunning           an upload that has not ended cannot be dismissed
    ├── UploadOver              an upload that has ended cannot be cancelled
    ├── RowErrorsUnknown        an upload has no list of row errors
    ├── CannotRunHere           a call that cannot work on this thread, event loop or process
    └── ClosedForGood           the server closed the connection for good (`tellwire.client`)

Each class knows its answer: `code` for the wire, `http_status` for HTTP, `close_code` for a WebSocket, `retryable` for
the caller. A message names the field, the given value and the allowed values; it never holds a token, a key or a path.
All of them survive `pickle` with every field, so a process pool can raise them.
"""

from datetime import UTC, datetime
from typing import Any, ClassVar

from tellwire.limits import QUEUED_LEASE_SECONDS

_SHOWN_CHARACTERS = 80
_SIMPLE = frozenset({str, bytes, int, float, bool})


def shown(value: object) -> str:
    """Return `value` as an error shows it: its repr, cut to a readable length."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - whatever an object's own code raises
        return f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"


def code_of(error: BaseException) -> str:
    """Return the code of an error of tellwire; `INTERNAL_ERROR` for any other."""
    return error.code if isinstance(error, TellwireError) else TellwireError.code


class TellwireError(Exception):
    """The base class of all errors of tellwire."""

    code: ClassVar[str] = "INTERNAL_ERROR"
    http_status: ClassVar[int] = 500
    close_code: ClassVar[int] = 1011
    retryable: ClassVar[bool] = False

    def __reduce__(self) -> tuple[Any, ...]:
        # By default an exception is pickled as its class and its text; our constructors take other arguments.
        fields = {name: _picklable(value) for name, value in vars(self).items()}
        return _restored, (type(self), tuple(_picklable(value) for value in self.args), fields)


class InvalidMessage(TellwireError, ValueError):
    """A field of a message, a target or an argument is not valid. Nothing was sent."""

    code = "INVALID_MESSAGE"
    http_status = 400

    def __init__(self, field: str, given: object, allowed: str) -> None:
        super().__init__(f"{field}: got {shown(given)}; allowed: {allowed}")
        self.field = field
        self.given = given
        self.allowed = allowed


class MessageRefused(InvalidMessage):
    """The project's own server has refused a client's message, with a text for the client."""

    code = "MESSAGE_REFUSED"

    def __init__(self, text: str) -> None:
        Exception.__init__(self, text)
        self.field = "message"
        self.given = None
        self.allowed = text


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
    """A setting is missing or not valid."""

    code = "CONFIG_ERROR"


class PublishError(TellwireError):
    """A message was not published, or the outcome is not known. `retryable`: another attempt may succeed."""

    code = "PUBLISH_FAILED"
    http_status = 502


class GatewayUnreachable(PublishError):
    """The gateway did not answer, or its answer is not a gateway's. Unless `not_sent`, it may have published."""

    code = "GATEWAY_UNREACHABLE"
    retryable = True

    def __init__(self, url: str, reason: str, *, not_sent: bool = False) -> None:
        super().__init__(f"The gateway at {url} did not take the message: {reason}")
        self.url = url
        self.reason = reason
        self.not_sent = not_sent


class GatewayRefused(PublishError):
    """The gateway refused the message. `refusal` is its code; `UNKNOWN`: another server or a proxy answered for it."""

    code = "GATEWAY_REFUSED"
    BY_ANOTHER: ClassVar[str] = "UNKNOWN"
    REDIRECTED: ClassVar[str] = "REDIRECTED"

    def __init__(self, status: int, refusal: str, message: str) -> None:
        super().__init__(f"The gateway refused the message ({status} {refusal}): {message}")
        self.status = status
        self.refusal = refusal

    @property
    def is_of_gateway(self) -> bool:
        """True for an answer of the gateway itself, false for one of another server or a proxy."""
        return self.refusal not in (self.BY_ANOTHER, self.REDIRECTED)


class AwsUnreachable(PublishError):
    """An AWS service did not answer or was too busy, or no time was left. `action` is the call, as "DynamoDB Query"."""

    code = "AWS_UNREACHABLE"
    retryable = True

    def __init__(self, action: str, reason: str) -> None:
        super().__init__(f"{action}: no answer: {reason}")
        self.action = action
        self.reason = reason


class AwsRefused(PublishError):
    """An AWS service refused a request. `error_type` is its name for the reason, such as `AccessDeniedException`."""

    code = "AWS_REFUSED"

    def __init__(self, action: str, status: int, error_type: str, message: str) -> None:
        super().__init__(f"{action}: refused ({status} {error_type}): {message}")
        self.action = action
        self.status = status
        self.error_type = error_type


class HistoryUnavailable(PublishError):
    """The history cannot be written or read just now. A message that cannot be kept is not delivered either."""

    code = "HISTORY_UNAVAILABLE"
    http_status = 503
    close_code = 1013
    retryable = True

    def __init__(self, reason: str) -> None:
        super().__init__(f"The history is not available: {reason}")
        self.reason = reason


class TooManyEscalations(PublishError):
    """A user has too many notifications that wait to be escalated. This one was neither kept nor delivered."""

    code = "TOO_MANY_ESCALATIONS"
    http_status = 409

    def __init__(self, at_most: int) -> None:
        super().__init__(f"escalate: {at_most} notifications of this user wait to be acknowledged; allowed: {at_most}")
        self.at_most = at_most


class TokenRefused(TellwireError):
    """A token does not open a connection."""

    code = "TOKEN_REFUSED"
    http_status = 401
    close_code = 4401


class TokenMissing(TokenRefused):
    """The handshake brought no token."""

    code = "TOKEN_MISSING"

    def __init__(
        self,
        allowed: str = "the subprotocols tellwire.v1, token.<jwt>; or Authorization: Bearer <jwt>; or ?token=<jwt>",
    ) -> None:
        super().__init__(f"No token: send {allowed}")


class TokenInvalid(TokenRefused):
    """The token is malformed, or not signed by a trusted key. `reason` never quotes it, so it is safe to show."""

    code = "TOKEN_INVALID"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The token is not valid: {reason}")
        self.reason = reason


class TokenExpired(TokenRefused):
    """The token has expired. A client gets a new one and connects again."""

    code = "TOKEN_EXPIRED"

    def __init__(self) -> None:
        super().__init__("The token has expired")


class NotSignedIn(TokenRefused):
    """The project's own way to know users (`identify`, the connect webhook) knows nobody in the request."""

    code = "NOT_SIGNED_IN"

    def __init__(self) -> None:
        super().__init__("Nobody is signed in with this request")


class NotAllowed(TellwireError):
    """The project's own way to know users says that this one may not connect."""

    code = "NOT_ALLOWED"
    http_status = 403
    close_code = 4403

    def __init__(self, reason: str = "This user may not connect") -> None:
        super().__init__(reason)
        self.reason = reason


class IdentityUnavailable(TellwireError):
    """Nobody knows, just now, who makes the request; it was neither accepted nor refused."""

    code = "IDENTITY_UNAVAILABLE"
    http_status = 503
    close_code = 1013
    retryable = True

    def __init__(self) -> None:
        super().__init__("Who you are cannot be checked just now; try again in a few seconds")


class TokenOfAnotherUser(TokenRefused):
    """A connection was renewed with the token of another user. That user needs a connection of their own."""

    code = "TOKEN_OF_ANOTHER_USER"
    http_status = 403
    close_code = 4403

    def __init__(self) -> None:
        super().__init__("The token is another user's")


class UserShutOut(TellwireError):
    """A user, or a token of theirs, is shut out until a time. `until` is in epoch seconds; `reason` is for the user."""

    code = "USER_SHUT_OUT"
    http_status = 403
    close_code = 4403

    def __init__(self, until: float, reason: str = "") -> None:
        moment = datetime.fromtimestamp(until, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        super().__init__(f"Shut out until {moment}" + (f": {reason}" if reason else ""))
        self.until = until
        self.reason = reason


class KeysUnavailable(TellwireError):
    """The identity provider's keys cannot be fetched just now; the token was neither accepted nor refused."""

    code = "KEYS_UNAVAILABLE"
    http_status = 503
    close_code = 1013
    retryable = True

    def __init__(self) -> None:
        super().__init__("The keys that verify tokens cannot be fetched just now; try again in a few seconds")


class ConnectionUnknown(TellwireError):
    """A message on a connection that was never stored, or was removed. The client connects again."""

    code = "CONNECTION_UNKNOWN"
    http_status = 410
    close_code = 1012
    retryable = True

    def __init__(self) -> None:
        super().__init__("This connection is not known here; connect again")


class TopicForbidden(TellwireError):
    """The user may not do this with the topic. The connection stays open."""

    code = "TOPIC_FORBIDDEN"
    http_status = 403

    def __init__(self, topic: str, reason: str = "this user has no right to it") -> None:
        super().__init__(f"topic: got {shown(topic)}; {reason}")
        self.topic = topic
        self.reason = reason


class TopicRightsUnavailable(TellwireError):
    """Nobody knows, just now, whether the user may do this with the topic, so it was not done."""

    code = "TOPIC_RIGHTS_UNAVAILABLE"
    http_status = 503
    retryable = True

    def __init__(self, topic: str) -> None:
        super().__init__(
            f"The rights to the topic {shown(topic)} cannot be checked just now; try again in a few seconds"
        )
        self.topic = topic


class TopicNotSubscribed(TellwireError):
    """The request is for connections that are subscribed to the topic, and this one is not. It stays open."""

    code = "TOPIC_NOT_SUBSCRIBED"
    http_status = 409

    def __init__(self, topic: str) -> None:
        super().__init__(f"topic: got {shown(topic)}; allowed: one that the connection is subscribed to")
        self.topic = topic


class PresenceOff(TellwireError):
    """Nobody is told who is in this topic: its rule says so, or the server has no presence of topics."""

    code = "PRESENCE_OFF"
    http_status = 409

    def __init__(self, topic: str) -> None:
        super().__init__(
            f'topic: got {shown(topic)}; allowed: one with a rule in TELLWIRE_TOPICS that has "presence": true'
        )
        self.topic = topic


class TooManySubscriptions(TellwireError):
    """The connection is subscribed to as many topics as it may. Those stay."""

    code = "TOO_MANY_SUBSCRIPTIONS"
    http_status = 429

    def __init__(self, at_most: int) -> None:
        super().__init__(f"Too many topics; allowed on one connection: {at_most:,}. Unsubscribe from others first")
        self.at_most = at_most


class RequestsLimited(TellwireError):
    """More requests than a connection may make. A connection that continues is closed. `allowed` says how many."""

    code = "TOO_MANY_REQUESTS"
    http_status = 429
    close_code = 4429
    retryable = True

    def __init__(self, allowed: str) -> None:
        super().__init__(f"Too many requests; allowed on one connection: {allowed}")
        self.allowed = allowed


class RequestRunning(TellwireError):
    """A request with this id is being handled, on another connection or node. Repeating it later brings its answer."""

    code = "REQUEST_RUNNING"
    http_status = 409
    retryable = True

    def __init__(self) -> None:
        super().__init__("This request is being handled; repeat it for its answer")


class HistoryMissing(TellwireError):
    """A request that needs a history, to a server without one."""

    code = "HISTORY_MISSING"
    http_status = 501

    def __init__(self) -> None:
        super().__init__("Uploads cannot be cancelled here: the server keeps no history")


class UploadFailed(TellwireError):
    """The failure of an upload, raised inside `track_upload` with a text for the user.

    `code` and `message` are shown as they are. The text of any other exception may hold secrets, so the user only reads
    that the file could not be processed.

    Example:
        raise UploadFailed("NO_HEADER", "The first line must name the columns: part, colour, quantity.")
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.upload_code = code
        self.message = message


class UploadWillRetry(TellwireError):
    """Raise it inside `track_upload` when the job will be tried again: the user sees that, and no error.

    `message` is for the user; None: a default text. If nothing is heard of the next attempt within `within_seconds`,
    the upload stalls, and then fails.

    Example:
        except ConnectionError as error:
            raise UploadWillRetry("The shop does not answer", within_seconds=300) from error
    """

    code = "UPLOAD_WILL_RETRY"

    def __init__(self, message: str | None = None, within_seconds: float = QUEUED_LEASE_SECONDS) -> None:
        super().__init__(message or "The upload is tried again")
        self.message = message
        self.within_seconds = within_seconds


class UploadCancelled(TellwireError):
    """A device has cancelled the upload, so the job must stop. `track_upload` sends the final state and re-raises it.

    `Upload.count` raises it. A worker may raise it, too, to cancel the upload itself.
    """

    code = "UPLOAD_CANCELLED"

    def __init__(self) -> None:
        super().__init__("The upload was cancelled")


class UploadUnknown(TellwireError):
    """No upload has this id: it never began, or too long ago."""

    code = "UPLOAD_UNKNOWN"
    http_status = 404

    def __init__(self, upload_id: str) -> None:
        super().__init__(f"upload: got {shown(upload_id)}; allowed: an upload of the last 24 hours")


class RowErrorsUnknown(TellwireError):
    """The upload has no list of row errors: it had none, or too long ago."""

    code = "ROW_ERRORS_UNKNOWN"
    http_status = 404

    def __init__(self, upload_id: str) -> None:
        super().__init__(f"upload: got {shown(upload_id)}; allowed: one that left out rows in the last 24 hours")


class UploadRunning(TellwireError):
    """An upload that has not ended cannot be dismissed."""

    code = "UPLOAD_RUNNING"
    http_status = 409

    def __init__(self, status: str) -> None:
        super().__init__(f"This upload cannot be dismissed: it is {status}; cancel it first")
        self.status = status


class UploadOver(TellwireError):
    """An upload that has ended cannot be cancelled."""

    code = "UPLOAD_OVER"
    http_status = 409

    def __init__(self, status: str) -> None:
        super().__init__(f"The upload cannot be cancelled: it is {status}")


class CannotRunHere(TellwireError, RuntimeError):
    """A call that cannot work on this thread, event loop or process. Nothing was sent."""

    code = "CANNOT_RUN_HERE"


NEEDS_ASYNCIO = (
    "tellwire's coroutines need an event loop of asyncio: in trio, call tellwire.sync in a thread, with "
    "trio.to_thread.run_sync"
)


def _restored(cls: type[TellwireError], args: tuple[Any, ...], fields: dict[str, Any]) -> TellwireError:
    error = cls.__new__(cls, *args)
    error.args = args
    vars(error).update(fields)
    return error


def _picklable(value: Any) -> Any:
    """Return `value`, or its repr if it does not survive `pickle`: an error may hold any object as the given value."""
    if value is None or type(value) in _SIMPLE:
        return value
    import pickle

    try:
        # A process pool stops for good at an object that can be written and not read.
        pickle.loads(pickle.dumps(value))  # noqa: S301 - made one line above
    except Exception:  # noqa: BLE001 - whatever an object's own code raises
        return shown(value)
    return value
