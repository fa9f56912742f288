"""Messages: their fields, their allowed values, and their encoding.

A message is `{type, data, timestamp}` as in the usage guide, and an `id` beside them. Three types are known
(`upload_progress`, `notification`, `error`); any other name makes a custom message with data of your own.

In: the `create_*_message` functions, or published JSON. Out: a frozen struct, and the bytes that every device gets.

Rules:
- A message is checked when it is made, so every message that exists can be sent.
- Without an `id` it gets a new one each time it is sent. With an `id` of its own it is published once.
- It is encoded once for all devices, and refused over 128 KiB before anything is sent.
- Names on the wire are camelCase; Python's are snake_case.
"""

import functools
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Final, Generic, Literal, TypeAlias, TypeVar, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from tellwire.decode_errors import describe
from tellwire.errors import InvalidMessage, MessageTooBig
from tellwire.limits import MAX_LEASE_SECONDS, MAX_MESSAGE_BYTES, MIN_LEASE_SECONDS
from tellwire.model import new_message_id, timestamp
from tellwire.row_errors import RowErrors
from tellwire.wire import RESERVED_TYPES, TIMESTAMP_PATTERN, Timestamp

Severity = Literal["info", "success", "warning", "error"]
UploadStatus = Literal["queued", "running", "retrying", "stalled", "complete", "failed", "cancelled"]
TERMINAL_STATUSES: Final = frozenset({"complete", "failed", "cancelled"})
"""The statuses that end a run of an upload."""

KNOWN_TYPES: Final = frozenset({"upload_progress", "notification", "error"})

_TYPE_PATTERN: Final = r"^[A-Za-z][A-Za-z0-9_.:-]{0,63}$"
# Without flags, so that the same text is right in the JSON Schema.
_URL_PATTERN: Final = r"^([hH][tT][tT][pP][sS]?://[^/\\]|/(?![/\\]))[^\x00-\x20\x7f\\]*$"

_TYPE = re.compile(_TYPE_PATTERN)
_TIMESTAMP = re.compile(TIMESTAMP_PATTERN)
_URL = re.compile(_URL_PATTERN)
_SEVERITIES = frozenset(get_args(Severity))
_STATUSES = frozenset(get_args(UploadStatus))

ENUMERATED: Final = {"severity": _SEVERITIES, "status": _STATUSES}
"""The fields with a fixed set of values, by name."""

# The JSON Schema has the bounds, for other languages. The checks below enforce them, because msgspec's own errors do
# not name the given value.
Text = Annotated[str, Meta(extra_json_schema={"minLength": 1, "pattern": r"\S"})]
Count = Annotated[int, Meta(extra_json_schema={"minimum": 0})]
Lease = Annotated[int | float, Meta(extra_json_schema={"minimum": MIN_LEASE_SECONDS, "maximum": MAX_LEASE_SECONDS})]
Percent = Annotated[int | float, Meta(extra_json_schema={"minimum": 0, "maximum": 100})]
ActionUrl = Annotated[str, Meta(extra_json_schema={"pattern": _URL_PATTERN})]
CustomType = Annotated[
    str, Meta(extra_json_schema={"pattern": _TYPE_PATTERN, "not": {"enum": sorted(KNOWN_TYPES | RESERVED_TYPES)}})
]


class UploadProgress(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """The progress of an upload. `progress` is 0–100; rows are counted from 1.

    `track_upload` adds more fields. `status`: complete, failed and cancelled end a run of the upload. `started_at`
    (RFC 3339) tells one run from another. `lease_seconds` is the silence after which the upload counts as stalled.
    `row_errors` are the rows that were left out, by cause.
    """

    upload_id: Text
    file_name: Text
    progress: Percent
    message: str
    current_row: Count | None = None
    total_rows: Count | None = None
    status: UploadStatus | None = None
    started_at: Timestamp | None = None
    lease_seconds: Lease | None = None
    row_errors: RowErrors | None = None

    def __post_init__(self) -> None:
        _require_text("data.uploadId", self.upload_id)
        _require_text("data.fileName", self.file_name)
        _require_string("data.message", self.message)
        _require_percent("data.progress", self.progress)
        if self.current_row is not None:
            require_count("data.currentRow", self.current_row)
        if self.total_rows is not None:
            require_count("data.totalRows", self.total_rows)
        if self.status is not None:
            _require_one_of("data.status", self.status, _STATUSES)
        if self.started_at is not None:
            _require_timestamp("data.startedAt", self.started_at)
        if self.lease_seconds is not None:
            require_lease("data.leaseSeconds", self.lease_seconds)


class Notification(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """A notification for the user. `action_url` is http(s) or a path on the page's own site."""

    title: Text
    message: str
    severity: Severity
    action_url: ActionUrl | None = None
    action_label: Text | None = None

    def __post_init__(self) -> None:
        _require_text("data.title", self.title)
        _require_string("data.message", self.message)
        _require_one_of("data.severity", self.severity, _SEVERITIES)
        if self.action_url is not None:
            _require_url("data.actionUrl", self.action_url)
        if self.action_label is not None:
            _require_text("data.actionLabel", self.action_label)


class Error(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """An error for the user. `code` is for programs, `message` for people, `details` any JSON."""

    code: Text
    message: str
    details: Any = None

    def __post_init__(self) -> None:
        _require_text("data.code", self.code)
        _require_string("data.message", self.message)


class UploadProgressMessage(Struct, frozen=True, tag_field="type", tag="upload_progress", forbid_unknown_fields=True):
    data: UploadProgress
    timestamp: Timestamp = field(default_factory=timestamp)
    id: Text | UnsetType = UNSET

    def __post_init__(self) -> None:
        _require_envelope(self.timestamp, self.id)


class NotificationMessage(Struct, frozen=True, tag_field="type", tag="notification", forbid_unknown_fields=True):
    data: Notification
    timestamp: Timestamp = field(default_factory=timestamp)
    id: Text | UnsetType = UNSET

    def __post_init__(self) -> None:
        _require_envelope(self.timestamp, self.id)


class ErrorMessage(Struct, frozen=True, tag_field="type", tag="error", forbid_unknown_fields=True):
    data: Error
    timestamp: Timestamp = field(default_factory=timestamp)
    id: Text | UnsetType = UNSET

    def __post_init__(self) -> None:
        _require_envelope(self.timestamp, self.id)


class CustomMessage(Struct, frozen=True, forbid_unknown_fields=True):
    """A message of your own type. `data` is any JSON."""

    type: CustomType
    data: Any
    timestamp: Timestamp = field(default_factory=timestamp)
    id: Text | UnsetType = UNSET

    def __post_init__(self) -> None:
        if not isinstance(self.type, str) or not _TYPE.fullmatch(self.type):
            raise InvalidMessage("type", self.type, "a letter, then up to 63 of letters, digits and _ . : -")
        if self.type in RESERVED_TYPES:
            raise InvalidMessage("type", self.type, f"any but the protocol's own: {', '.join(sorted(RESERVED_TYPES))}")
        if self.type in KNOWN_TYPES:
            raise InvalidMessage("type", self.type, f"a type of your own; {self.type} has create_{self.type}_message")
        _require_envelope(self.timestamp, self.id)


KnownMessage: TypeAlias = UploadProgressMessage | NotificationMessage | ErrorMessage
Message: TypeAlias = KnownMessage | CustomMessage

_CLASSES: Final = (UploadProgressMessage, NotificationMessage, ErrorMessage, CustomMessage)
_TYPE_OF: Final[dict[type[KnownMessage], str]] = {
    each: str(each.__struct_config__.tag) for each in (UploadProgressMessage, NotificationMessage, ErrorMessage)
}


# --- create -----------------------------------------------------------------------------------------------------------


def create_upload_progress_message(
    upload_id: str,
    file_name: str,
    progress: float,
    message: str,
    current_row: int | None = None,
    total_rows: int | None = None,
) -> UploadProgressMessage:
    """Make an `upload_progress` message.

    Raises:
        InvalidMessage: `progress` is not a number from 0 to 100, an id is empty, a row count is negative.

    Example:
        create_upload_progress_message("moc-1", "parts.csv", 50, "Parsing row 5000…", 5_000, 10_000)
    """
    return UploadProgressMessage(
        UploadProgress(
            upload_id=upload_id,
            file_name=file_name,
            progress=progress,
            message=message,
            current_row=current_row,
            total_rows=total_rows,
        )
    )


def create_notification_message(
    title: str,
    message: str,
    severity: Severity,
    action_url: str | None = None,
    action_label: str | None = None,
) -> NotificationMessage:
    """Make a `notification` message.

    Raises:
        InvalidMessage: `severity` is not info, success, warning or error; `title` is empty; `action_url` is neither
            http(s) nor a path that starts with one `/`.

    Example:
        create_notification_message("Upload complete", "10,000 parts", "success", "/mocs/1", "View")
    """
    return NotificationMessage(
        Notification(title=title, message=message, severity=severity, action_url=action_url, action_label=action_label)
    )


def create_error_message(code: str, message: str, details: Any = None) -> ErrorMessage:
    """Make an `error` message. `details` is anything JSON can carry.

    Raises:
        InvalidMessage: `code` is empty.

    Example:
        create_error_message("BAD_ROWS", "12 rows could not be read", {"rows": [3, 99]})
    """
    return ErrorMessage(Error(code=code, message=message, details=details))


def create_message(message_type: str, data: Any) -> CustomMessage:
    """Make a message of your own type.

    Raises:
        InvalidMessage: `message_type` is not a valid name, or is a type of the protocol or of another function.

    Example:
        create_message("comment_added", {"mocId": "1", "text": "Nice!"})
    """
    return CustomMessage(message_type, data)


# --- bytes -----------------------------------------------------------------------------------------------------------

_encoder: Final = msgspec.json.Encoder()


def encode_message(message: Message) -> bytes:
    """Return the message as the JSON text every device gets, in UTF-8.

    Raises:
        InvalidMessage: not a message, or its data holds something JSON cannot carry.
        MessageTooBig: over 128 KiB.
    """
    return encode_with_id(message)[1]


def type_of(message: Message) -> str:
    """Return the message's type, as it stands on the wire."""
    return message.type if isinstance(message, CustomMessage) else _TYPE_OF[type(message)]


def encode_with_id(message: Message) -> tuple[str, bytes]:
    """Return the message's id, a new one if it has none, and its JSON. Raises the same errors as `encode_message`."""
    if not isinstance(message, _CLASSES):
        raise InvalidMessage("message", message, "what a create_…_message function made")
    try:
        payload = _encoder.encode(message)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidMessage("data", message.data, f"what JSON can carry ({error})") from error
    message_id = message.id
    if message_id is UNSET:
        message_id = new_message_id()
        payload = b'%b,"id":"%b"}' % (payload[:-1], message_id.encode())
    if len(payload) > MAX_MESSAGE_BYTES:
        raise MessageTooBig(len(payload), MAX_MESSAGE_BYTES)
    return message_id, payload


Known = TypeVar("Known")
Custom = TypeVar("Custom")


class MessageDecoder(Generic[Known, Custom]):
    """A decoder of JSON that is a message, or holds one: as `known` for a known type, otherwise as `custom`.

    The known types are one tagged union and take one pass; a custom type takes two.
    """

    def __init__(self, known: type[Known] | Any, custom: type[Custom]) -> None:
        self._known: msgspec.json.Decoder[Known] = msgspec.json.Decoder(known)
        self._custom: msgspec.json.Decoder[Custom] = msgspec.json.Decoder(custom)

    def decode(self, payload: bytes) -> Known | Custom:
        """Decode it. A missing `timestamp` is filled in.

        Raises:
            InvalidMessage: it is not valid.
        """
        try:
            try:
                return self._known.decode(payload)
            except msgspec.ValidationError as error:
                if not str(error).endswith(".type`"):
                    raise
            return self._custom.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise describe(payload, error, ENUMERATED) from error


_messages: Final = MessageDecoder[KnownMessage, CustomMessage](KnownMessage, CustomMessage)


def decode_message(payload: bytes) -> Message:
    """Decode a published message. A missing `timestamp` is filled in.

    Raises:
        InvalidMessage: it is not a message.
    """
    return _messages.decode(payload)


# --- checks ----------------------------------------------------------------------------------------------------------


def require_count(name: str, value: object) -> None:
    """Raise `InvalidMessage` unless `value` is a whole number, 0 or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidMessage(name, value, "a whole number, 0 or more")


def require_lease(name: str, value: object) -> None:
    """Raise `InvalidMessage` unless `value` is a lease in seconds."""
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not MIN_LEASE_SECONDS <= value <= MAX_LEASE_SECONDS
    ):
        raise InvalidMessage(name, value, f"a number of seconds from {MIN_LEASE_SECONDS} to {MAX_LEASE_SECONDS:,}")


def _require_envelope(sent_at: object, message_id: object) -> None:
    _require_timestamp("timestamp", sent_at)
    if message_id is not UNSET:
        _require_text("id", message_id)


def _require_timestamp(name: str, value: object) -> None:
    if not isinstance(value, str) or epoch_seconds(value) is None:
        raise InvalidMessage(name, value, "an RFC 3339 time such as 2026-11-23T09:18:54.123Z")


# Called twice for each publication, and a burst of messages has the same few timestamps.
@functools.lru_cache(maxsize=1024)
def epoch_seconds(time: str) -> float | None:
    """Return an RFC 3339 time in UTC as epoch seconds; None if it has another form, or the day does not exist."""
    try:
        return datetime.fromisoformat(time).timestamp() if _TIMESTAMP.fullmatch(time) else None
    except ValueError:
        return None


def _require_string(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidMessage(name, value, "a string")


def _require_text(name: str, value: object) -> None:
    if not isinstance(value, str) or not value or value.isspace():
        raise InvalidMessage(name, value, "a non-empty string")


def _require_percent(name: str, value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 100:
        raise InvalidMessage(name, value, "a number from 0 to 100")


def _require_one_of(name: str, value: object, choices: frozenset[str]) -> None:
    if not isinstance(value, str) or value not in choices:
        raise InvalidMessage(name, value, _listed(choices))


def _require_url(name: str, value: object) -> None:
    if not isinstance(value, str) or not _URL.fullmatch(value):
        raise InvalidMessage(name, value, "an http:// or https:// address, or a path that starts with one /")


def _listed(choices: Iterable[str]) -> str:
    return ", ".join(sorted(choices))
