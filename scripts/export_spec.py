"""Write `spec/` from the code: JSON Schema, golden messages and requests, the table of errors, the OpenAPI document.

    python -m scripts.export_spec           write
    python -m scripts.export_spec --check   fail if a file differs from the code

The golden files are read by the tests of every language: each is one message, byte for byte as it travels.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from tellwire import errors, wire
from tellwire.gateway.http_api import describe
from tellwire.gateway.request_rates import RequestRates
from tellwire.messages import (
    KNOWN_TYPES,
    CustomMessage,
    Error,
    ErrorMessage,
    Message,
    Notification,
    NotificationMessage,
    UploadProgress,
    UploadProgressMessage,
    encode_message,
)

SPEC = Path(__file__).parent.parent / "spec"
_AT = "2026-11-23T09:18:54.123Z"
_LATER = "2026-11-23T10:18:54.000Z"
_ID = "t5f1d7c0a9b3e4c2d8f6a1b0c"
_EPOCH = "4cBx0wY2"
_CURSOR = f"{_EPOCH}:42"
_TOPIC = "moc:1:comments"
_STREAM = f"topic:{_TOPIC}"
_TOPIC_EPOCH = "9aQz3kT1"

GOLDEN: dict[str, Message] = {
    "upload_progress": UploadProgressMessage(
        UploadProgress(
            upload_id="moc-1",
            file_name="parts-list.csv",
            progress=42.5,
            message="Row 4,250 of 10,000",
            current_row=4250,
            total_rows=10_000,
            status="running",
        ),
        _AT,
        _ID,
    ),
    "upload_progress_minimal": UploadProgressMessage(
        UploadProgress(upload_id="moc-1", file_name="parts-list.csv", progress=0, message="Starting CSV parsing..."),
        _AT,
        _ID,
    ),
    "upload_progress_complete": UploadProgressMessage(
        UploadProgress(
            upload_id="moc-1",
            file_name="parts-list.csv",
            progress=100,
            message="Complete: 10,000 rows",
            current_row=10_000,
            total_rows=10_000,
            status="complete",
        ),
        _AT,
        _ID,
    ),
    "upload_progress_failed": UploadProgressMessage(
        UploadProgress(
            upload_id="moc-1",
            file_name="Stückliste „neu“.csv",
            progress=12,
            message="Failed after 1,200 rows",
            current_row=1200,
            status="failed",
        ),
        _AT,
        _ID,
    ),
    "notification": NotificationMessage(
        Notification(
            title="Upload Complete",
            message="Your file has been uploaded successfully",
            severity="success",
            action_url="/mocs/moc-1",
            action_label="View MOC",
        ),
        _AT,
        _ID,
    ),
    "notification_minimal": NotificationMessage(
        Notification(title="Upload Failed", message="Unable to process your file. 🧱", severity="error"), _AT, _ID
    ),
    "error": ErrorMessage(
        Error(code="BAD_ROWS", message="12 rows could not be read", details={"rows": [3, 99], "more": True}), _AT, _ID
    ),
    "error_minimal": ErrorMessage(Error(code="UPLOAD_FAILED", message="parts.csv could not be processed"), _AT, _ID),
    "custom": CustomMessage("comment_added", {"mocId": "moc-1", "text": "Nice!", "likes": None}, _AT, _ID),
}


def _golden_messages() -> Iterator[tuple[str, bytes]]:
    """Yield every message that a server sends, published ones first."""
    published = {name: encode_message(message) for name, message in GOLDEN.items()}
    yield from published.items()
    notification = wire.in_log(published["notification"], _EPOCH, 42)
    progress = wire.as_state(published["upload_progress"], "upload:moc-1", 7)
    seen = wire.encode(wire.SeenMessage(wire.Seen(_CURSOR), _AT, f"seen:{_CURSOR}"))
    yield "notification_in_log", notification
    yield "upload_progress_as_state", progress
    yield "seen", wire.as_state(seen, "seen", 3)
    marks = wire.encode(wire.MarksMessage(wire.Marks(_EPOCH, [[1, 40], [42, 42]], [[1, 12]]), _AT, _ID))
    yield "marks", wire.as_state(marks, "marks", 4)
    dismissed = wire.encode(wire.DismissedMessage(wire.Dismissed("upload:moc-1"), _AT, _ID))
    yield "dismissed", wire.as_state(dismissed, "upload:moc-1", 8)
    head = wire.Welcome("nBUGZLR2Hhyb5qM=", "user-1", _CURSOR, True, _LATER, 25, limits=RequestRates().on_the_wire)
    without_history = msgspec.structs.replace(head, cursor="", heartbeat_seconds=240, limits=msgspec.UNSET)
    pages = {
        "welcome": _page(head, [notification], [progress]),
        "welcome_first_page": _page(head, [notification], [], last=False),
        "welcome_without_history": _page(without_history, [], []),
    }
    for name, page in pages.items():
        yield name, wire.encode(wire.WelcomeMessage(page, _AT))
    yield "auth_ok", wire.encode(wire.AuthOkMessage(wire.AuthOk(_LATER), _AT))
    yield "ok", wire.encode(wire.OkMessage(wire.Ok("7"), _AT))
    result = msgspec.Raw(published["custom"])
    yield "ok_with_an_answer", wire.encode(wire.OkMessage(wire.Ok("7", result), _AT))
    older = msgspec.Raw(wire.encode(wire.HistoryResult(_array_of([notification]), more=True)))
    yield "ok_of_history", wire.encode(wire.OkMessage(wire.Ok("7", older), _AT))
    refused = ErrorMessage(Error(code="UPLOAD_UNKNOWN", message="no upload has the id 'moc-1'", id="7"), _AT, _ID)
    yield "error_of_a_request", encode_message(refused)
    yield "pong", wire.encode(wire.PongMessage(timestamp=_AT))
    ends = {_TOPIC: wire.TopicEnd(f"{_TOPIC_EPOCH}:6", 3), "moc:2:comments": wire.TopicEnd()}
    yield "pong_with_topics", wire.encode(wire.PongMessage(wire.Pong(_CURSOR, 7, ends), _AT))
    yield from _golden_messages_of_topics(published)


def _golden_messages_of_topics(published: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    comment = wire.of_topic(published["custom"], _TOPIC, "user-2")
    yield "custom_of_a_topic", wire.in_log(comment, _TOPIC_EPOCH, 6)
    yield "custom_of_a_topic_not_kept", wire.of_topic(published["custom"], "cursors")
    progress = wire.as_state(wire.of_topic(published["upload_progress"], _TOPIC), "upload:moc-1", 3)
    yield "upload_progress_of_a_topic", progress
    head = wire.Subscribed(_TOPIC, f"{_TOPIC_EPOCH}:6", True)
    whole = msgspec.structs.replace(head, messages=_array_of([wire.in_log(comment, _TOPIC_EPOCH, 6)]))
    whole = msgspec.structs.replace(whole, state=_array_of([progress]))
    yield "subscribed", wire.encode(wire.SubscribedMessage(whole, _AT))
    first = msgspec.structs.replace(whole, state=_array_of([]), last=False)
    yield "subscribed_first_page", wire.encode(wire.SubscribedMessage(first, _AT))
    yield "subscribed_without_history", wire.encode(wire.SubscribedMessage(wire.Subscribed("cursors", "", True), _AT))
    yield "unsubscribed", wire.encode(wire.UnsubscribedMessage(wire.Unsubscribed(_TOPIC), _AT))
    ann = wire.Member("user-1", msgspec.Raw(b'{"name":"Ann"}'))
    members = wire.Presence(_TOPIC, 2, [ann, wire.Member("user-2")])
    yield "presence", wire.encode(wire.PresenceMessage(members, _AT))
    yield "presence_of_many", wire.encode(wire.PresenceMessage(wire.Presence(_TOPIC, 1017), _AT))
    yield "join", wire.encode(wire.JoinMessage(wire.Join(_TOPIC, "user-1", 2, ann.info), _AT))
    yield "join_without_info", wire.encode(wire.JoinMessage(wire.Join(_TOPIC, "user-2", 2), _AT))
    yield "leave", wire.encode(wire.LeaveMessage(wire.Leave(_TOPIC, "user-2", 1), _AT))
    forbidden = errors.TopicForbidden(_TOPIC)
    withdrawn = wire.Unsubscribed(_TOPIC, forbidden.code, str(forbidden))
    yield "unsubscribed_by_the_server", wire.encode(wire.UnsubscribedMessage(withdrawn, _AT))
    refused = Error(code=forbidden.code, message=str(forbidden), id="7", topic=_TOPIC)
    yield "error_of_a_topic", encode_message(ErrorMessage(refused, _AT, _ID))


def _array_of(payloads: Sequence[bytes]) -> msgspec.Raw:
    return msgspec.Raw(b"[%b]" % b",".join(payloads))


def _page(head: wire.Welcome, messages: list[bytes], states: list[bytes], *, last: bool = True) -> wire.Welcome:
    return msgspec.structs.replace(head, messages=_array_of(messages), state=_array_of(states), last=last)


GOLDEN_REQUESTS: dict[str, wire.Request] = {
    "ping": wire.PingRequest(),
    "ping_with_id": wire.PingRequest(id="1"),
    "auth": wire.AuthRequest("<jwt>"),
    "hello": wire.HelloRequest(_CURSOR),
    "hello_first": wire.HelloRequest(),
    "hello_from_the_oldest": wire.HelloRequest("0"),
    "hello_cursors": wire.HelloRequest(cursors={"user": _CURSOR}),
    "hello_topics": wire.HelloRequest(
        cursors={"user": _CURSOR, _STREAM: f"{_TOPIC_EPOCH}:5", "topic:moc:2:comments": ""}, versions={_STREAM: 2}
    ),
    "subscribe": wire.SubscribeRequest(_TOPIC),
    "subscribe_again": wire.SubscribeRequest(_TOPIC, f"{_TOPIC_EPOCH}:5", 2, "7"),
    "unsubscribe": wire.UnsubscribeRequest(_TOPIC),
    "unsubscribe_with_id": wire.UnsubscribeRequest(_TOPIC, "7"),
    "presence": wire.PresenceRequest(_TOPIC, "7"),
    "publish": wire.PublishRequest(_TOPIC, wire.ClientMessage("comment_added", {"text": "Nice!"}), "7"),
    "ack": wire.AckRequest(_CURSOR),
    "cancel": wire.CancelRequest("moc-1"),
    "cancel_with_id": wire.CancelRequest("moc-1", "7"),
    "read": wire.ReadRequest([_CURSOR]),
    "read_all": wire.ReadRequest(up_to=_CURSOR, id="7"),
    "dismiss": wire.DismissRequest("upload:moc-1"),
    "dismiss_ended": wire.DismissRequest(ended_up_to=7, id="7"),
    "dismiss_messages": wire.DismissRequest(cursors=[_CURSOR], id="7"),
    "dismiss_all_messages": wire.DismissRequest(up_to=_CURSOR, id="7"),
    "history": wire.HistoryRequest("7"),
    "history_before": wire.HistoryRequest("7", limit=50, before=_CURSOR),
    "history_of_a_topic": wire.HistoryRequest("7", _STREAM),
}

# Raised in the program that publishes or listens, and never sent to a client.
NOT_ON_THE_WIRE = frozenset(
    {"ConfigError", "GatewayError", "PublishError", "GatewayUnreachable", "GatewayRefused", "AwsUnreachable"}
    | {"AwsRefused", "UploadFailed", "UploadWillRetry", "CannotRunHere", "UploadCancelled", "ClosedForGood"}
)


def documents() -> dict[Path, bytes]:
    """Return every generated file of `spec/` with its content."""
    generated = {SPEC / "messages" / f"{name}.json": text for name, text in _golden_messages()}
    for name, request in GOLDEN_REQUESTS.items():
        generated[SPEC / "requests" / f"{name}.json"] = wire.encode(request)
    generated[SPEC / "wire.schema.json"] = _pretty(_schema())
    generated[SPEC / "errors.json"] = _pretty(error_table())
    generated[SPEC / "openapi.json"] = _pretty(describe())
    return generated


# --- errors -----------------------------------------------------------------------------------------------------------


def error_table() -> list[dict[str, Any]]:
    """Return the properties of every error class that can reach a client, by code."""
    classes = [each for each in _classes(errors.TellwireError) if each.__name__ not in NOT_ON_THE_WIRE]
    return [
        {
            "code": each.code,
            "http_status": each.http_status,
            "close_code": each.close_code,
            "retryable": each.retryable,
        }
        for each in sorted(classes, key=lambda each: each.code)
    ]


def _classes(base: type[errors.TellwireError]) -> Iterator[type[errors.TellwireError]]:
    if base.__module__ == errors.__name__:
        yield base
    for each in base.__subclasses__():
        yield from _classes(each)


# --- the schema -------------------------------------------------------------------------------------------------------

PUBLISHED = (UploadProgressMessage, NotificationMessage, ErrorMessage, CustomMessage)
_IN_A_STREAM = (*PUBLISHED, wire.SeenMessage, wire.MarksMessage, wire.DismissedMessage)
# A publisher may leave out `timestamp` and `id`; a message on its way to a device always has them.
_ALWAYS = {"type", "data", "timestamp", "id"}


def _schema() -> dict[str, Any]:
    server, requests = wire.ServerMessage.__args__, wire.Request.__args__
    sent = (*PUBLISHED, *server)
    asked = (*requests, wire.CustomRequest)
    _, schemas = msgspec.json.schema_components(
        (*sent, *asked, wire.Positioned, wire.HistoryResult), ref_template="#/$defs/{name}"
    )
    for kind in _structs():
        if kind.__name__ in schemas:
            _complete(kind, schemas[kind.__name__])
    for kind in _IN_A_STREAM:
        _put_in_a_stream(schemas[kind.__name__])
    _restrict_requests(schemas)
    schemas |= {
        "PublishedMessage": _any_of(PUBLISHED, "A message that somebody published."),
        "ServerMessage": _any_of((*PUBLISHED, *server), "Every message that a server of this version sends."),
        "ClientRequest": _any_of(requests, "Every request that a server of this version does, beside custom ones."),
        "ReservedType": {
            "description": "The types of the protocol itself, those of later versions included.",
            "enum": sorted(wire.RESERVED_TYPES),
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tellwire wire protocol",
        "description": "Clients ignore fields and types that are not here: they are of a later version.",
        "anyOf": [{"$ref": "#/$defs/ServerMessage"}, {"$ref": "#/$defs/ClientRequest"}],
        "$defs": schemas,
    }


def _structs() -> Iterator[type[Struct]]:
    """Yield every struct that the wire consists of, with those that are only fields of others."""
    found: dict[type[Struct], None] = {}
    waiting: list[type[Struct]] = list(Struct.__subclasses__())
    while waiting:
        each = waiting.pop()
        if each not in found:
            found[each] = None
            waiting += each.__subclasses__()
    yield from (each for each in found if each.__module__ in _MODULES)


_MODULES = ("tellwire.wire", "tellwire.messages", "tellwire.row_errors")


def _complete(kind: type[Struct], schema: dict[str, Any]) -> None:
    """Complete a schema of msgspec: names on the wire, required fields, and no additional fields."""
    if "description" in schema:
        schema["description"] = _with_wire_names(schema["description"])
    is_request = kind.__name__.endswith("Request")
    if not is_request:
        schema["additionalProperties"] = False
    if kind.__module__ == wire.__name__ and not kind.__struct_config__.omit_defaults and not is_request:
        fields = msgspec.structs.fields(kind)
        optional = {each.encode_name for each in fields if each.default is UNSET}
        schema["required"] = [name for name in schema["properties"] if name not in optional]
    for each in schema.get("properties", {}).values():
        # Nothing is filled in by whoever reads: a default is what the field means when it is not there.
        each.pop("default", None)


def _put_in_a_stream(schema: dict[str, Any]) -> None:
    schema["allOf"] = [{"$ref": "#/$defs/Positioned"}]
    schema["required"] = [name for name in schema["properties"] if name in _ALWAYS]
    del schema["additionalProperties"]
    schema["unevaluatedProperties"] = False


def _restrict_requests(schemas: dict[str, Any]) -> None:
    positioned = schemas["Positioned"]
    del positioned["additionalProperties"]  # it is a part of others
    positioned["dependentRequired"] = {"key": ["version"], "version": ["key"]}
    positioned["not"] = {"required": ["cursor", "key"]}
    schemas["HelloRequest"]["not"] = {"required": ["cursor", "cursors"]}
    schemas["ReadRequest"]["anyOf"] = [{"required": [name]} for name in ("cursors", "upTo")]
    one_of = ("key", "endedUpTo", "cursors", "upTo")
    schemas["DismissRequest"]["oneOf"] = [{"required": [name]} for name in one_of]
    reserved = {"enum": sorted(wire.RESERVED_TYPES | KNOWN_TYPES)}
    for name in ("CustomRequest", "ClientMessage"):
        schemas[name]["properties"]["type"]["not"] = reserved


def _any_of(kinds: Iterable[type[Struct]], description: str) -> dict[str, Any]:
    return {"description": description, "anyOf": [{"$ref": f"#/$defs/{each.__name__}"} for each in kinds]}


_SNAKE = re.compile(r"`([a-z]+(?:_[a-z]+)+)`")


def _with_wire_names(text: str) -> str:
    """Return a docstring with the names of fields as they are on the wire."""
    names = {
        each.name: each.encode_name
        for kind in _structs()
        for each in msgspec.structs.fields(kind)
        if each.name != each.encode_name
    }
    return _SNAKE.sub(lambda match: f"`{names.get(match[1], match[1])}`", text)


def _pretty(document: dict[str, Any] | list[dict[str, Any]]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=2) + b"\n"


def main(arguments: list[str]) -> int:
    """Write the files, or with --check compare them."""
    stale = [path for path, content in documents().items() if not path.exists() or path.read_bytes() != content]
    if "--check" in arguments:
        for path in stale:
            print(f"{path.relative_to(SPEC.parent)} differs from the code: run `make spec`", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(documents()[path])
        print(path.relative_to(SPEC.parent))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
