"""What the server itself says of an upload: that it has stalled, failed or been cancelled. Pure.

    running ─▶ silent for its lease ─▶ stalled ─▶ silent for as long again ─▶ failed, and an `error` that says so
       └─▶ a device cancels it ─▶ cancelled

The server's word looks like the upload's last, with another status. It never stands in the way of the worker's own: a
stalled upload goes on with its next update, and a last word is heard even after the server's.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from tellwire.errors import UploadOver
from tellwire.messages import (
    UploadProgressMessage,
    UploadStatus,
    create_error_message,
    decode_message,
    encode_message,
)
from tellwire.model import timestamp
from tellwire.stream import Entry, Said

UPLOAD_LOST: Final = "UPLOAD_LOST"


def lapsed(entry: Entry, now: float) -> Iterator[Said]:
    """Yield what is to be said of an upload whose worker is silent: the state, and the error if it has failed.

    Nothing, as long as its lease lasts. Each says which state it was made of, so it comes to nothing if the worker is
    heard of meanwhile; the error is to be said only if the state before it was taken.
    """
    if entry.lapses_at is None or entry.lease_seconds is None or now < entry.lapses_at:
        return
    if entry.status != "stalled" and now < entry.lapses_at + entry.lease_seconds:
        seconds = "a second" if entry.lease_seconds == 1 else f"{entry.lease_seconds:g} seconds"
        yield _changed(entry, "stalled", f"No word from its worker for {seconds}", now, replaces=entry.number)
        return
    yield _changed(entry, "failed", "Its worker fell silent", now, replaces=entry.number)
    data = _read(entry).data
    details = {"uploadId": data.upload_id, "fileName": data.file_name}
    error = create_error_message(UPLOAD_LOST, f"{data.file_name} was lost: its worker fell silent", details)
    yield Said.read(encode_message(msgspec.structs.replace(error, timestamp=timestamp(now))))


def cancelled(entry: Entry, now: float) -> Said:
    """Return the state of an upload that a device has cancelled.

    Raises:
        UploadOver: it has ended already.
    """
    if entry.is_final:
        raise UploadOver(entry.status or "complete")
    return _changed(entry, "cancelled", "Cancelled", now)


def _changed(entry: Entry, status: UploadStatus, words: str, now: float, replaces: int | None = None) -> Said:
    last = _read(entry)
    lease = last.data.lease_seconds if status == "stalled" else None
    data = msgspec.structs.replace(last.data, status=status, message=words, lease_seconds=lease)
    payload = encode_message(UploadProgressMessage(data, timestamp(now)))
    # In the order of the worker's words it stands where the last one did, whatever the clocks say.
    return msgspec.structs.replace(Said.read(payload), said_at=entry.said_at, replaces=replaces)


def _read(entry: Entry) -> UploadProgressMessage:
    # What was kept has its place at the end, which a message that is published has not.
    envelope = msgspec.json.decode(entry.payload, type=dict[str, msgspec.Raw])
    message = decode_message(msgspec.json.encode({name: envelope[name] for name in ("type", "data", "timestamp")}))
    assert isinstance(message, UploadProgressMessage)  # noqa: S101 - the entry has an upload's key
    return message
