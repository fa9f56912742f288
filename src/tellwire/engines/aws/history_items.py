"""The items of the table of what was said, in DynamoDB's form and in ours. Pure.

partition key   userId
sort key        place       head           the last offset that was given out: `epoch`, `offset`, and when (`at`)
                            log#<offset>   a message of the log, or a hole: a place without one
                            state#<key>    the newest state of a key
                            id#<id>        the offset of a message whose producer chose its id
index           running     userId and place of the uploads that may lapse, and of no others
attributes      expiresAt   epoch seconds; DynamoDB deletes the item some day later
                at          epoch seconds; whoever reads judges by it, whatever DynamoDB has not deleted yet
                before      when the offset before this one was given out
                by          another one for every write: one whose answer was lost knows itself
"""

from hashlib import sha256
from typing import Any, Final

from msgspec import Struct

from tellwire.aws_api.dynamodb import Item
from tellwire.stream import Entry

RUNNING: Final = "running"
"""The index, and its partition key: constant while an upload runs, so that its updates do not write the index."""

HEAD: Final = "head"
AFTER_STATES: Final = "state$"
"""A place after those of all states: `$` is the character after `#`."""

_LOG: Final = "log#"
_STATE: Final = "state#"

# A sort key has up to 1,024 bytes.
_MOST_KEY_BYTES: Final = 900


class Head(Struct, frozen=True):
    """The last offset that was given out, and when: 0 if none was."""

    epoch: str
    offset: int
    at: float


class Row(Struct, frozen=True):
    """What is in a place of the log. `entry` is None in a hole, and `before` 0 if what is below it was judged, too."""

    offset: int
    at: float
    before: float
    entry: Entry | None


def text(value: str) -> dict[str, str]:
    """Return a text as DynamoDB has it."""
    return {"S": value}


def number(value: float) -> dict[str, str]:
    """Return a number as DynamoDB has it."""
    return {"N": repr(value)}


def log_place(offset: int) -> str:
    """Return the place of a message of the log: as texts they are in the order of offsets."""
    return f"{_LOG}{offset:015}"


def state_place(key: str) -> str:
    """Return the place of a key's state."""
    return _STATE + _short(key)


def id_place(message_id: str) -> str:
    """Return the place of an id."""
    return f"id#{_short(message_id)}"


def is_log(item: Item) -> bool:
    """Tell a place of the log from a state."""
    return str(item["place"]["S"]).startswith(_LOG)


def read_head(item: Item) -> Head:
    """Read the head; one without an offset has given out none."""
    return Head(item["epoch"]["S"], int(_float(item, "offset")), _float(item, "at"))


def read_row(item: Item) -> Row:
    """Read an item of the log."""
    offset = int(item["place"]["S"].removeprefix(_LOG))
    entry = read_entry(item, offset) if "payload" in item else None
    return Row(offset, _float(item, "at"), _float(item, "before"), entry)


def read_state(item: Item) -> Entry:
    """Read a state."""
    return read_entry(item, int(item["version"]["N"]))


def read_entry(item: Item, place: int) -> Entry:
    """Read a message that is in this place."""
    return Entry(
        item["id"]["S"],
        place,
        item["payload"]["S"].encode(),
        _float(item, "at"),
        _float(item, "saidAt"),
        _optional(item, "key", "S"),
        _optional(item, "status", "S"),
        _optional_float(item, "run"),
        _optional_float(item, "leaseSeconds"),
    )


def write_message(entry: Entry, before: float) -> dict[str, Any]:
    """Return the attributes of a message of the log."""
    return {**_attributes(entry), "before": number(before)}


def write_state(entry: Entry) -> dict[str, Any]:
    """Return the attributes of a state."""
    optional = {
        "status": entry.status and text(entry.status),
        "run": None if entry.run is None else number(entry.run),
        "leaseSeconds": None if entry.lease_seconds is None else number(entry.lease_seconds),
        RUNNING: None if entry.lapses_at is None else text("yes"),
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
        "payload": text(entry.payload.decode()),
        "at": number(entry.at),
        "saidAt": number(entry.said_at),
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
