"""The items of the history table: reading and writing DynamoDB's form. Pure.

partition key   streamKey   `user:<id>`; a digest, if that is long: then `stream` has the name
sort key        sk          head           the last issued offset: `epoch`, `offset`, and its time (`storedAt`); the
                                           time at which the log began (`beganAt`), and the newest `version` of a state
                                           that ends, begins or interrupts an upload
                            log#<offset>   a message of the log, or a hole: an offset without one
                            state#<key>    the newest state of a key
                            id#<id>        the offset of a message with an id of its producer
                            waiting        of a stream of escalations: how many `waiting` there are
                            asked#<id>     a request of a client that has begun, and its `answer` if it has ended
index           leasedUploads      the uploads that have a lease, and escalations; its partition key is constant
attributes      expiresAt          epoch seconds; DynamoDB deletes the item later
                storedAt           epoch seconds; readers ignore items that are too old and not deleted yet
                previousIssuedAt   the time at which the offset before this one was issued
                writeId            new for every write: a retry recognises a write whose response was lost
"""

from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec import Struct

from tellwire.aws_api.dynamodb import Item
from tellwire.entry import Entry
from tellwire.parts import Part
from tellwire.publication import StreamKey, stream_target

LEASED_UPLOADS: Final = "leasedUploads"
"""The index, and its partition key: constant while an upload runs, so that its updates do not write the index."""

LEASE_EXPIRES_AT: Final = "leaseExpiresAt"
"""The attribute of an upload that runs: epoch seconds. It is not in the index, which each renewal would write."""

PARTITION_KEY: Final = "streamKey"
SORT_KEY: Final = "sk"

HEAD: Final = "head"
WAITING: Final = "waiting"
BEFORE_REQUESTS: Final = "asked#"
AFTER_REQUESTS: Final = "asked$"
BEFORE_STATES: Final = "state#"
AFTER_STATES: Final = "state$"
"""A sort key after those of all states: `$` is the character after `#`."""

_parts: Final = msgspec.json.Decoder(tuple[Part, ...])
_runs: Final = msgspec.json.Decoder(dict[str, str])

_LOG: Final = "log#"

# A sort key has up to 1,024 bytes.
_MOST_KEY_BYTES: Final = 900

# No stream is named so.
_LONG: Final = "sha256#"


class Head(Struct, frozen=True):
    """The end of a log: the last issued offset and its time; 0 if there is none. `version` is that of the newest state
    that was noted here.
    """

    epoch: str
    offset: int
    issued_at: float
    began_at: float = 0.0
    version: int = 0


class Row(Struct, frozen=True):
    """An item of the log. `entry` is None in a hole; `previous_issued_at` is 0 if no offset below it is empty."""

    offset: int
    stored_at: float
    previous_issued_at: float
    entry: Entry | None


def partition_key(stream: StreamKey) -> str:
    """Return the partition key of a stream: its name, or a digest of a name too long for the index."""
    encoded = stream.encode()
    return stream if len(encoded) <= _MOST_KEY_BYTES else f"{_LONG}{sha256(encoded).hexdigest()}"


def text(value: str) -> dict[str, str]:
    """Return a string in DynamoDB's form."""
    return {"S": value}


def number(value: float) -> dict[str, str]:
    """Return a number in DynamoDB's form."""
    return {"N": repr(value)}


def log_key(offset: int) -> str:
    """Return the sort key of an offset: its text order is the order of offsets."""
    return f"{_LOG}{offset:015}"


def state_key(key: str) -> str:
    """Return the sort key of a key's state."""
    return BEFORE_STATES + _short(key)


def id_key(message_id: str) -> str:
    """Return the sort key of a producer's id."""
    return f"id#{_short(message_id)}"


def request_key(request_id: str) -> str:
    """Return the sort key of a request. It is not between those of log and states, which are read together."""
    return BEFORE_REQUESTS + _short(request_id)


def is_log(item: Item) -> bool:
    """Return True for an item of the log, False for a state."""
    return str(item["sk"]["S"]).startswith(_LOG)


def read_head(item: Item) -> Head:
    """Read the head; one without an offset has issued none."""
    return Head(
        item["epoch"]["S"],
        int(_float(item, "offset")),
        _float(item, "storedAt"),
        _float(item, "beganAt"),
        int(_optional(item, "version", "N") or 0),
    )


def read_row(item: Item) -> Row:
    """Read an item of the log."""
    offset = int(item["sk"]["S"].removeprefix(_LOG))
    entry = read_entry(item, offset) if "payload" in item else None
    return Row(offset, _float(item, "storedAt"), _float(item, "previousIssuedAt"), entry)


def read_state(item: Item) -> Entry:
    """Read a state."""
    return read_entry(item, int(item["version"]["N"]))


def read_entry(item: Item, number: int) -> Entry:
    """Read an entry with this number."""
    stream = StreamKey(item.get("stream", item["streamKey"])["S"])
    return Entry(
        stream_target(stream),
        stream,
        item["id"]["S"],
        item["type"]["S"],
        item["payload"]["S"].encode(),
        _float(item, "publishedAt"),
        _optional(item, "key", "S"),
        _optional(item, "status", "S"),
        _optional(item, "run", "S"),
        _optional_float(item, "leaseSeconds"),
        ttl_seconds=_optional_float(item, "ttlSeconds"),
        parts=_parts.decode(item["parts"]["S"]) if "parts" in item else (),
        past_runs=_runs.decode(item["pastRuns"]["S"]) if "pastRuns" in item else {},
        number=number,
        stored_at=_float(item, "storedAt"),
    )


def write_message(entry: Entry, previous_issued_at: float) -> dict[str, Any]:
    """Return the attributes of a message of the log."""
    return {**_attributes(entry), "previousIssuedAt": number(previous_issued_at)}


def write_state(entry: Entry) -> dict[str, Any]:
    """Return the attributes of a state."""
    optional: dict[str, Any] = {
        "status": entry.status and text(entry.status),
        "run": entry.run and text(entry.run),
        "parts": entry.parts and text(msgspec.json.encode(entry.parts).decode()),
        # A text, as a map of DynamoDB has no order, and only the last runs are remembered.
        "pastRuns": entry.past_runs and text(msgspec.json.encode(dict(entry.past_runs)).decode()),
        "leaseSeconds": None if entry.lease_seconds is None else number(entry.lease_seconds),
        LEASED_UPLOADS: None if entry.lease_expires_at is None else text("yes"),
        LEASE_EXPIRES_AT: None if entry.lease_expires_at is None else number(entry.lease_expires_at),
    }
    return {
        **_attributes(entry),
        "key": text(entry.key or ""),
        "version": number(entry.number),
        "isFinal": {"BOOL": entry.is_final},
        **{name: value for name, value in optional.items() if value},
    }


def _attributes(entry: Entry) -> dict[str, Any]:
    return {
        **(
            {}
            if entry.stream is None or partition_key(entry.stream) == entry.stream
            else {"stream": text(entry.stream)}
        ),
        "id": text(entry.id),
        "type": text(entry.type),
        "payload": text(entry.payload.decode()),
        "storedAt": number(entry.stored_at),
        "publishedAt": number(entry.published_at),
        **({} if entry.ttl_seconds is None else {"ttlSeconds": number(entry.ttl_seconds)}),
    }


def _short(name: str) -> str:
    encoded = name.encode()
    return name if len(encoded) <= _MOST_KEY_BYTES else f"sha256:{sha256(encoded).hexdigest()}"


def _float(item: Item, name: str) -> float:
    return float(item[name]["N"]) if name in item else 0.0


def _optional(item: Item, name: str, kind: str) -> Any:
    return item[name][kind] if name in item else None


def _optional_float(item: Item, name: str) -> float | None:
    return float(item[name]["N"]) if name in item else None
