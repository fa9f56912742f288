"""The states of an upload that the server itself publishes: stalled, failed, cancelled. Pure.

    running ─▶ the lease expires ─▶ stalled ─▶ a second lease expires ─▶ failed, and an `error`
       └─▶ a device cancels it ─▶ cancelled

Each is the upload's last state with another status. The worker's own states still count: a stalled upload continues
with its next update, and a worker's terminal status replaces the server's.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct, json, structs

from tellwire.errors import UploadOver
from tellwire.messages import UploadProgress, UploadProgressMessage, UploadStatus, create_error_message
from tellwire.model import timestamp
from tellwire.publication import Publication
from tellwire.stream import Entry

UPLOAD_LOST: Final = "UPLOAD_LOST"
"""The code of the `error` for an upload whose lease has expired."""


class _Upload(Struct):
    data: UploadProgress


_upload: Final = json.Decoder(_Upload)


def on_lease_expired(entry: Entry, now: float) -> Iterator[Publication]:
    """Yield the publications about an upload whose worker is silent: its state, and the error if it has failed.

    None, as long as its lease lasts. The state names the version it was made from, so it is not kept if the worker has
    published in the meantime; the error is to be published only if the state before it was kept.
    """
    expires_at = entry.lease_expires_at
    if expires_at is None or entry.lease_seconds is None or now < expires_at:
        return
    if entry.status != "stalled" and now < expires_at + entry.lease_seconds:
        seconds = "a second" if entry.lease_seconds == 1 else f"{entry.lease_seconds:g} seconds"
        yield _changed(entry, "stalled", f"No word from its worker for {seconds}", now, replaces=entry.number)
        return
    yield _changed(entry, "failed", "Its worker fell silent", now, replaces=entry.number)
    data = _upload.decode(entry.payload).data
    details = {"uploadId": data.upload_id, "fileName": data.file_name}
    error = create_error_message(UPLOAD_LOST, f"{data.file_name} was lost: its worker fell silent", details)
    yield Publication.of(entry.target, structs.replace(error, timestamp=timestamp(now)))


def cancelled(entry: Entry, now: float) -> Publication:
    """Return the state of an upload that a device has cancelled.

    Raises:
        UploadOver: it has ended already.
    """
    if entry.is_final:
        raise UploadOver(entry.status or "complete")
    return _changed(entry, "cancelled", "Cancelled", now)


def _changed(entry: Entry, status: UploadStatus, text: str, now: float, replaces: int | None = None) -> Publication:
    last = _upload.decode(entry.payload).data
    lease = last.lease_seconds if status == "stalled" else None
    data = structs.replace(last, status=status, message=text, lease_seconds=lease)
    publication = Publication.of(entry.target, UploadProgressMessage(data, timestamp(now)))
    # The worker's clock orders the states of a run, so this one has the time of the state it replaces.
    return structs.replace(publication, published_at=entry.published_at, replaces=replaces)
