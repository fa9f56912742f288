"""Messages: their fields, their allowed values, and their encoding.

A message is `{type, data, timestamp}` as in the usage guide, and an `id` beside them. Three types are known
(`upload_progress`, `notification`, `error`); any other name makes a custom message with data of your own.

In: the `create_*_message` functions, or published JSON. Out: a frozen struct, and the bytes that every device gets.

Rules:
- A message is checked when it is made, so every message that exists can be sent. Its words are repaired: they become
  plain `str`, and U+FFFD stands for what UTF-8 cannot carry. Ids become plain `str`, and two of them never become one.
- Without an `id` it gets a new one each time it is sent. With an `id` of its own it is published once.
- It is encoded once for all devices, and refused over 128 KiB before anything is sent.
- Names on the wire are camelCase; Python's are snake_case.
"""

import re
from collections.abc import Mapping
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    Literal,
    SupportsFloat,
    SupportsIndex,
    TypeAlias,
    TypeVar,
    cast,
    get_args,
)

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field
from msgspec.structs import force_setattr, replace

from tellwire.decode_errors import DECODE_ERRORS, describe
from tellwire.errors import InvalidMessage, MessageTooBig
from tellwire.fields import (
    URL_PATTERN,
    keep,
    keep_count,
    keep_id,
    keep_one_of,
    keep_text,
    keep_timestamp,
    keep_url,
    keep_words,
    plain_count,
    plain_escalation_wait,
    plain_lease,
    plain_percent,
)
from tellwire.half_pairs import decode_half_pairs, half_pairs_in
from tellwire.limits import (
    MAX_ESCALATION_SECONDS,
    MAX_FILE_NAME_CHARACTERS,
    MAX_LEASE_SECONDS,
    MAX_MESSAGE_BYTES,
    MAX_MESSAGE_ID_BYTES,
    MAX_REQUEST_ID_CHARACTERS,
    MAX_RUN_BYTES,
    MAX_STATE_KEY_BYTES,
    MAX_UPLOAD_ID_BYTES,
    MIN_LEASE_SECONDS,
)
from tellwire.model import new_message_id, timestamp
from tellwire.own_data import plain_value, repaired_data, require_finite, require_shallow
from tellwire.row_errors import Count, RowErrors
from tellwire.text import (
    PART_PATTERN,
    TARGET_NAME_PATTERN,
    TARGET_NAME_WORDS,
    plain,
    require_part,
    shortened,
    string_of,
)
from tellwire.wire import RESERVED_TYPES, Timestamp

Severity = Literal["info", "success", "warning", "error"]
UploadStatus = Literal["queued", "running", "retrying", "stalled", "complete", "failed", "cancelled"]
TERMINAL_STATUSES: Final = frozenset({"complete", "failed", "cancelled"})
"""The statuses that end a run of an upload."""

KNOWN_TYPES: Final = frozenset({"upload_progress", "notification", "error"})

_TYPE_PATTERN: Final = r"^[A-Za-z][A-Za-z0-9_.:-]{0,63}$"


_TYPE = re.compile(_TYPE_PATTERN)
_TARGET_NAME = re.compile(TARGET_NAME_PATTERN.replace("$", r"\Z"))
_SEVERITIES = frozenset(get_args(Severity))
_STATUSES = frozenset(get_args(UploadStatus))

ENUMERATED: Final = {"severity": _SEVERITIES, "status": _STATUSES}
"""The fields with a fixed set of values, by name."""

# The JSON Schema has the bounds, for other languages. The checks below enforce them, because msgspec's own errors do
# not name the given value.
Text = Annotated[str, Meta(extra_json_schema={"minLength": 1, "pattern": r"\S"})]
UploadPart = Annotated[str, Meta(extra_json_schema={"pattern": PART_PATTERN})]
Lease = Annotated[int | float, Meta(extra_json_schema={"minimum": MIN_LEASE_SECONDS, "maximum": MAX_LEASE_SECONDS})]
Percent = Annotated[int | float, Meta(extra_json_schema={"minimum": 0, "maximum": 100})]
Wait = Annotated[int | float, Meta(extra_json_schema={"minimum": MIN_LEASE_SECONDS, "maximum": MAX_ESCALATION_SECONDS})]
TargetName = Annotated[str, Meta(extra_json_schema={"pattern": TARGET_NAME_PATTERN})]
ActionUrl = Annotated[str, Meta(extra_json_schema={"pattern": URL_PATTERN})]
CustomType = Annotated[
    str, Meta(extra_json_schema={"pattern": _TYPE_PATTERN, "not": {"enum": sorted(KNOWN_TYPES | RESERVED_TYPES)}})
]


class UploadProgress(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """The progress of an upload. `progress` is 0–100; rows are counted from 1.

    `track_upload` adds more fields. `status`: complete, failed and cancelled end a run of the upload. Another `run`
    begins a new one; without it, another `started_at` (RFC 3339) does. `part` (3/8) is that of a worker that shares the
    upload with others, under one `run`: the server adds the parts up. `lease_seconds` is the silence after which the
    upload counts as stalled. `row_errors` are the rows that were left out, by cause.
    """

    upload_id: Text
    file_name: Text
    progress: Percent
    message: str
    current_row: Count | None = None
    total_rows: Count | None = None
    status: UploadStatus | None = None
    run: Text | None = None
    part: UploadPart | None = None
    started_at: Timestamp | None = None
    lease_seconds: Lease | None = None
    row_errors: RowErrors | None = None

    def __post_init__(self) -> None:
        keep_id(self, "upload_id", "data.uploadId", MAX_UPLOAD_ID_BYTES)
        _keep_file_name(self)
        keep_words(self, "message", "data.message")
        if type(self.progress) not in (int, float) or not 0 <= self.progress <= 100:
            force_setattr(self, "progress", plain_percent("data.progress", self.progress))
        if self.current_row is not None:
            keep_count(self, "current_row", "data.currentRow")
        if self.total_rows is not None:
            keep_count(self, "total_rows", "data.totalRows")
        if self.status is not None:
            keep_one_of(self, "status", "data.status", _STATUSES)
        if self.run is not None or self.part is not None:
            _keep_run(self)
        if self.started_at is not None:
            keep_timestamp(self, "started_at", "data.startedAt")
        if self.lease_seconds is not None:
            keep(self, "lease_seconds", self.lease_seconds, plain_lease("data.leaseSeconds", self.lease_seconds))


class Notification(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """A notification for the user. `action_url` is http(s) or a path on the page's own site."""

    title: Text
    message: str
    severity: Severity
    action_url: ActionUrl | None = None
    action_label: Text | None = None

    def __post_init__(self) -> None:
        keep_text(self, "title", "data.title")
        keep_words(self, "message", "data.message")
        keep_one_of(self, "severity", "data.severity", _SEVERITIES)
        if self.action_url is not None:
            keep_url(self, "action_url", "data.actionUrl")
        if self.action_label is not None:
            keep_text(self, "action_label", "data.actionLabel")


class Error(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """An error for the user. `code` is for programs, `message` for people, `details` any JSON.

    `id` is that of the request that it answers, `topic` the topic that it is about: only servers set them.
    """

    code: Text
    message: str
    details: Any = None
    id: Annotated[str, Meta(min_length=1, max_length=MAX_REQUEST_ID_CHARACTERS)] | UnsetType = UNSET
    topic: Text | UnsetType = UNSET

    def __post_init__(self) -> None:
        keep_text(self, "code", "data.code")
        keep_words(self, "message", "data.message")


class UploadProgressMessage(Struct, frozen=True, tag_field="type", tag="upload_progress", forbid_unknown_fields=True):
    data: UploadProgress
    timestamp: Timestamp = field(default_factory=timestamp)
    id: Text | UnsetType = UNSET

    def __post_init__(self) -> None:
        _keep_envelope(self)


class NotificationMessage(Struct, frozen=True, tag_field="type", tag="notification", forbid_unknown_fields=True):
    data: Notification
    timestamp: Timestamp = field(default_factory=timestamp)
    id: Text | UnsetType = UNSET

    def __post_init__(self) -> None:
        _keep_envelope(self)


class ErrorMessage(Struct, frozen=True, tag_field="type", tag="error", forbid_unknown_fields=True):
    data: Error
    timestamp: Timestamp = field(default_factory=timestamp)
    id: Text | UnsetType = UNSET

    def __post_init__(self) -> None:
        _keep_envelope(self)


class CustomMessage(Struct, frozen=True, forbid_unknown_fields=True):
    """A message of your own type. `data` is any JSON."""

    type: CustomType
    data: Any
    timestamp: Timestamp = field(default_factory=timestamp)
    id: Text | UnsetType = UNSET

    def __post_init__(self) -> None:
        text = string_of(self.type)
        if text is None or not _TYPE.fullmatch(text):
            raise InvalidMessage("type", self.type, "a letter, then up to 63 of letters, digits and _ . : -")
        keep(self, "type", self.type, text)
        if self.type in RESERVED_TYPES:
            raise InvalidMessage("type", self.type, f"any but the protocol's own: {', '.join(sorted(RESERVED_TYPES))}")
        if self.type in KNOWN_TYPES:
            raise InvalidMessage("type", self.type, f"a type of your own; {self.type} has create_{self.type}_message")
        _keep_envelope(self)


class StateMessage(CustomMessage, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A state of your own type: of a `key` only the newest counts. `data` None removes it.

    The key is not part of the message on the wire: the stream adds it, with the type.
    """

    key: Text

    def __post_init__(self) -> None:
        super().__post_init__()
        keep_id(self, "key", "key", MAX_STATE_KEY_BYTES)

    def without_key(self) -> CustomMessage:
        """Return the message as devices get it before the stream adds its position."""
        return CustomMessage(self.type, self.data, self.timestamp, self.id)


class Escalation(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The escalation of a notification: if no device has acknowledged it after this time, the `target` of this name in
    the settings is called, once.
    """

    after_seconds: Wait
    target: TargetName

    def __post_init__(self) -> None:
        keep(
            self,
            "after_seconds",
            self.after_seconds,
            plain_escalation_wait("escalate.afterSeconds", self.after_seconds),
        )
        target = string_of(self.target)
        if target is None or not _TARGET_NAME.match(target):
            raise InvalidMessage("escalate.target", self.target, TARGET_NAME_WORDS)
        keep(self, "target", self.target, target)


class EscalatedNotificationMessage(
    NotificationMessage, frozen=True, tag_field="type", tag="notification", forbid_unknown_fields=True, kw_only=True
):
    """A notification that is escalated. Devices get it without `escalate`."""

    escalate: Escalation

    @property
    def plain(self) -> NotificationMessage:
        """The notification as devices get it."""
        return NotificationMessage(self.data, self.timestamp, self.id)


KnownMessage: TypeAlias = UploadProgressMessage | NotificationMessage | ErrorMessage
Message: TypeAlias = KnownMessage | CustomMessage

_CLASSES: Final = (UploadProgressMessage, NotificationMessage, ErrorMessage, CustomMessage)
# Their data was not checked when they were made.
_OF_ANY_DATA: Final = (CustomMessage, ErrorMessage)
_TYPE_OF: Final[dict[type[KnownMessage], str]] = {
    each: str(each.__struct_config__.tag) for each in (UploadProgressMessage, NotificationMessage, ErrorMessage)
}


# --- create -----------------------------------------------------------------------------------------------------------


def create_upload_progress_message(
    upload_id: str,
    file_name: str,
    progress: SupportsFloat,
    message: str,
    current_row: SupportsIndex | None = None,
    total_rows: SupportsIndex | None = None,
) -> UploadProgressMessage:
    """Make an `upload_progress` message. Numbers may be of another library, such as NumPy's.

    Raises:
        InvalidMessage: `progress` is not a number from 0 to 100, an id is empty, a row count is negative.

    Example:
        create_upload_progress_message("moc-1", "parts.csv", 50, "Parsing row 5000…", 5_000, 10_000)
    """
    return UploadProgressMessage(
        UploadProgress(
            upload_id=upload_id,
            file_name=file_name,
            progress=plain_percent("data.progress", progress),
            message=message,
            current_row=None if current_row is None else plain_count("data.currentRow", current_row),
            total_rows=None if total_rows is None else plain_count("data.totalRows", total_rows),
        )
    )


def create_notification_message(
    title: str,
    message: str,
    severity: Severity,
    action_url: str | None = None,
    action_label: str | None = None,
    *,
    escalate: Mapping[str, Any] | None = None,
) -> NotificationMessage:
    """Make a `notification` message.

    With `escalate`, such as `{"after_seconds": 60, "target": "mail"}`, the gateway calls a target of its settings if no
    device has acknowledged the notification after this time. It is for a user, and not for a topic or a connection.

    Raises:
        InvalidMessage: `severity` is not info, success, warning or error; `title` is empty; `action_url` is neither
            http(s) nor a path that starts with one `/`; `escalate` has other keys, or a value that is not valid.

    Example:
        create_notification_message("Upload complete", "10,000 parts", "success", "/mocs/1", "View")
    """
    data = Notification(
        title=title, message=message, severity=severity, action_url=action_url, action_label=action_label
    )
    if escalate is None:
        return NotificationMessage(data)
    return EscalatedNotificationMessage(data, escalate=_escalation(escalate))


def _escalation(given: Mapping[str, Any]) -> Escalation:
    fields = Escalation.__struct_fields__
    if not isinstance(given, Mapping) or set(given) != set(fields):
        raise InvalidMessage("escalate", given, f"a dict with {' and '.join(fields)}")
    return Escalation(**given)


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


def create_state_message(message_type: str, key: str, data: Any) -> StateMessage:
    """Make a state of your own type, such as a counter, or who edits a part: of its `key` only the newest counts.

    Whoever connects later gets it, too. `data` None removes it. It is for a user or a topic. Published with
    `ttl_seconds`, it is removed when that time has passed without another one of its key; otherwise after a day.

    Raises:
        InvalidMessage: `message_type` is not a valid name, or is a type of the protocol or of another function; or
            `key` is empty or over 256 bytes.

    Example:
        await broadcast_to_topic("moc:1", create_state_message("editing", "part-3", {"by": "Ada"}), ttl_seconds=30)
    """
    return StateMessage(message_type, data, key=key)


# --- bytes -----------------------------------------------------------------------------------------------------------

_encoder: Final = msgspec.json.Encoder(enc_hook=plain_value)


def encode_message(message: Message) -> bytes:
    """Return the message as the JSON text every device gets, in UTF-8.

    Raises:
        InvalidMessage: not a message, or its data holds something JSON cannot carry.
        MessageTooBig: over 128 KiB.
    """
    return encode_with_id(message.plain if isinstance(message, EscalatedNotificationMessage) else message)[1]


def type_of(message: Message) -> str:
    """Return the message's type, as it stands on the wire."""
    return message.type if isinstance(message, CustomMessage) else _TYPE_OF[type(message)]


def encode_with_id(message: Message) -> tuple[str, bytes]:
    """Return the message's id, a new one if it has none, and its JSON. Raises the same errors as `encode_message`."""
    if not isinstance(message, _CLASSES):
        raise InvalidMessage("message", message, "what a create_…_message function made")
    try:
        payload = _encoder.encode(message)
    except UnicodeEncodeError:
        payload = _encode_repaired(message)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _not_json(message, error) from error
    message_id = message.id
    if message_id is UNSET:
        message_id = new_message_id()
        payload = b'%b,"id":"%b"}' % (payload[:-1], message_id.encode())
    if len(payload) > MAX_MESSAGE_BYTES:
        raise MessageTooBig(len(payload), MAX_MESSAGE_BYTES)
    if isinstance(message, _OF_ANY_DATA):
        if b"null" in payload:
            require_finite("data", message.data)
        require_shallow("data", payload)
    return message_id, payload


def _encode_repaired(message: Message) -> bytes:
    """Encode a message whose data holds text that UTF-8 cannot carry."""
    try:
        return _encoder.encode(_with_repaired_data(message))
    except InvalidMessage:
        raise
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _not_json(message, error) from error


def _not_json(message: Message, error: Exception) -> InvalidMessage:
    return InvalidMessage("data", message.data, f"what JSON can carry ({error})")


def _with_repaired_data(message: Message) -> Message:
    match message:
        case CustomMessage():
            return replace(message, data=repaired_data("data", message.data))
        case ErrorMessage():
            details = repaired_data("data.details", message.data.details)
            return replace(message, data=replace(message.data, details=details))
        case _:
            return message


Known = TypeVar("Known")
Custom = TypeVar("Custom")


class MessageDecoder(Generic[Known, Custom]):
    """A decoder of JSON that is a message, or holds one: as `known` for a known type, otherwise as `custom`.

    The known types are one tagged union and take one pass; a custom type takes two. JSON of other languages may escape
    half a surrogate pair, such as `\\udce9`; such a text is repaired like all others.
    """

    def __init__(self, known: type[Known] | Any, custom: type[Custom]) -> None:
        self._types = (known, custom)
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
        except msgspec.ValidationError as error:
            raise describe(payload, error, ENUMERATED) from error
        except DECODE_ERRORS as error:
            if not half_pairs_in(payload):
                raise describe(payload, error, ENUMERATED) from error
            return self._decode_half_pairs(payload)

    def _decode_half_pairs(self, payload: bytes) -> Known | Custom:
        known, custom = self._types
        value = decode_half_pairs(payload)
        try:
            try:
                return cast("Known", msgspec.convert(value, known))
            except (msgspec.ValidationError, UnicodeEncodeError) as error:
                # A type that is no text is none of the known ones.
                if isinstance(error, msgspec.ValidationError) and not str(error).endswith(".type`"):
                    raise
            return msgspec.convert(value, custom)
        except (msgspec.ValidationError, UnicodeEncodeError, RecursionError) as error:
            readable = _encoder.encode(repaired_data("message", value))
            raise describe(readable, error, ENUMERATED) from error


# --- checks ----------------------------------------------------------------------------------------------------------


def _keep_envelope(message: "Message") -> None:
    keep_timestamp(message, "timestamp", "timestamp")
    if message.id is not UNSET:
        keep_id(message, "id", "id", MAX_MESSAGE_ID_BYTES)


def _keep_file_name(progress: UploadProgress) -> None:
    keep_text(progress, "file_name", "data.fileName")
    if len(progress.file_name) > MAX_FILE_NAME_CHARACTERS:
        # The server repeats it in states and errors of its own, which must fit into a message, too.
        force_setattr(progress, "file_name", shortened(progress.file_name, MAX_FILE_NAME_CHARACTERS))


def _keep_run(upload: UploadProgress) -> None:
    if upload.part is not None:
        require_part("data.part", upload.part)
        keep(upload, "part", upload.part, plain(upload.part))
    if upload.run is None:
        raise InvalidMessage("data.run", None, "the name of the run, which all its parts share")
    keep_id(upload, "run", "data.run", MAX_RUN_BYTES)
