"""The items of the history table: reading and writing DynamoDB's form. Pure.

partition key   streamKey   `user:<id>`
sort key        sk          head           the last issued offset: `epoch`, `offset`, and its time (`storedAt`)
                            log#<offset>   a message of the log, or a hole: an offset without one
                            state#<key>    the newest state of a key
                            id#<id>        the offset of a message with an id of its producer
index           leasedUploads      the uploads that have a lease, and no others; its partition key is constant
attributes      expiresAt          epoch seconds; DynamoDB deletes the item later
                storedAt           epoch seconds; readers ignore items that are too old and not deleted yet
                previousIssuedAt   the time at which the offset before this one was issued
                writeId            new for every write: a retry recognises a write whose response was lost
"""

from hashlib import sha256
from typing import Any, Final

from msgspec import Struct

from tellwire.aws_api.dynamodb import Item
from tellwire.publication import StreamKey, stream_target
from tellwire.stream import Entry

LEASED_UPLOADS: Final = "leasedUploads"
"""The index, and its partition key: constant while an upload runs, so that its updates do not write the index."""

PARTITION_KEY: Final = "streamKey"
SORT_KEY: Final = "sk"

HEAD: Final = "head"
AFTER_STATES: Final = "state$"
"""A sort key after those of all states: `$` is the character after `#`."""

_LOG: Final = "log#"
_STATE: Final = "state#"

# A sort key has up to 1,024 bytes.
_MOST_KEY_BYTES: Final = 900


class Head(Struct, frozen=True):
    """The end of a log: the last issued offset and its time; 0 if there is none."""

    epoch: str
    offset: int
    issued_at: float


class Row(Struct, frozen=True):
    """An item of the log. `entry` is None in a hole; `previous_issued_at` is 0 if no offset below it is empty."""

    offset: int
    stored_at: float
    previous_issued_at: float
    entry: Entry | None


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
    return _STATE + _short(key)


def id_key(message_id: str) -> str:
    """Return the sort key of a producer's id."""
    return f"id#{_short(message_id)}"


def is_log(item: Item) -> bool:
    """Return True for an item of the log, False for a state."""
    return str(item["sk"]["S"]).startswith(_LOG)


def read_head(item: Item) -> Head:
    """Read the head; one without an offset has issued none."""
    return Head(item["epoch"]["S"], int(_float(item, "offset")), _float(item, "storedAt"))


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
    stream = StreamKey(item["streamKey"]["S"])
    return Entry(
        stream_target(stream),
        stream,
        item["id"]["S"],
        item["type"]["S"],
        item["payload"]["S"].encode(),
        _float(item, "publishedAt"),
        _optional(item, "key", "S"),
        _optional(item, "status", "S"),
        _optional_float(item, "run"),
        _optional_float(item, "leaseSeconds"),
        number=number,
        stored_at=_float(item, "storedAt"),
    )


def write_message(entry: Entry, previous_issued_at: float) -> dict[str, Any]:
    """Return the attributes of a message of the log."""
    return {**_attributes(entry), "previousIssuedAt": number(previous_issued_at)}


def write_state(entry: Entry) -> dict[str, Any]:
    """Return the attributes of a state."""
    optional = {
        "status": entry.status and text(entry.status),
        "run": None if entry.run is None else number(entry.run),
        "leaseSeconds": None if entry.lease_seconds is None else number(entry.lease_seconds),
        LEASED_UPLOADS: None if entry.lease_expires_at is None else text("yes"),
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
        "id": text(entry.id),
        "type": text(entry.type),
        "payload": text(entry.payload.decode()),
        "storedAt": number(entry.stored_at),
        "publishedAt": number(entry.published_at),
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
