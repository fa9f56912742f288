"""The states of an upload that the server itself publishes: stalled, failed, cancelled. Pure.

    running ─▶ the lease expires ─▶ stalled ─▶ a second lease expires ─▶ failed, and an `error`
       └─▶ a device cancels it ─▶ cancelled

Each is the upload's last state with another status. The worker's own states still count: a stalled upload continues
with its next update, and a worker's terminal status replaces the server's.
"""

from collections.abc import Iterator
from hashlib import sha256
from typing import Final, NamedTuple

from msgspec import Struct, json, structs

from tellwire import wire
from tellwire.entry import Entry
from tellwire.errors import UploadOver, UploadRunning
from tellwire.limits import MAX_RUNNING_UPLOADS
from tellwire.messages import UploadProgress, UploadProgressMessage, UploadStatus, create_error_message
from tellwire.model import new_message_id, timestamp
from tellwire.parts import Part, ended, missing_parts, whole, with_part
from tellwire.publication import DISMISSED, Publication, is_own_state

UPLOAD_LOST: Final = "UPLOAD_LOST"
"""The code of the `error` for an upload whose lease has expired."""

TOO_MANY_UPLOADS: Final = "TOO_MANY_UPLOADS"
"""The code of the `error` for an upload that is not kept, because too many of this user are running."""


TOO_MANY_STATES: Final = "TOO_MANY_STATES"
"""The code of the `error` for a state of an own type that is not kept, because its stream has too many."""

# Of two times in epoch seconds, and of their difference.
_TOLERANCE_SECONDS: Final = 0.001


class _Words(NamedTuple):
    """The words for an upload that is silent: `since` for one lease, and `lost` after two."""

    since: str
    lost: str


_SILENT: Final = _Words("No word from its worker for", "its worker fell silent")
_WAITING: Final = {
    "queued": _Words("It has waited for a worker for", "no worker began it"),
    "retrying": _Words("It has waited for another attempt for", "no other attempt began"),
}


class _Upload(Struct):
    data: UploadProgress


_upload: Final = json.Decoder(_Upload)


def on_lease_expired(entry: Entry, silent_seconds: float, now: float) -> Iterator[Publication]:
    """Yield the publications about an upload whose worker is silent: its state, and the error if it has failed.

    None, as long as its lease lasts. `silent_seconds` is the time since its state was kept; `now` dates the error. The
    state names the version it was made from, so it is not kept if the worker has published in the meantime; the error
    is to be published only if the state before it was kept.
    """
    lease_seconds = entry.silence_seconds
    if lease_seconds is None or silent_seconds < lease_seconds:
        return
    verdict = _verdict_on_parts(entry, silent_seconds) if entry.parts else _verdict(entry, silent_seconds)
    yield _changed(entry, verdict.status, verdict.text, now, replaces=entry.number, parts=verdict.parts)
    if verdict.status == "stalled":
        return
    data = _upload.decode(entry.payload).data
    details = {"uploadId": data.upload_id, "fileName": data.file_name}
    lost = _SILENT.lost if entry.parts else _words(entry).lost
    error = create_error_message(UPLOAD_LOST, f"{data.file_name} was lost: {lost}", details)
    yield Publication.of(entry.target, structs.replace(error, timestamp=timestamp(now)))


class _Verdict(NamedTuple):
    status: UploadStatus
    text: str
    parts: tuple[Part, ...] = ()


def _verdict(entry: Entry, silent_seconds: float) -> _Verdict:
    lease_seconds = entry.lease_seconds
    if lease_seconds is None or entry.status == "stalled" or silent_seconds >= 2 * lease_seconds:
        lost = _words(entry).lost
        return _Verdict("failed", f"{lost[0].upper()}{lost[1:]}")
    return _Verdict("stalled", f"{_words(entry).since} {_seconds(lease_seconds)}")


def _words(entry: Entry) -> _Words:
    """Return the words for the silence of an upload's worker, or for a worker that has not begun."""
    if entry.status != "stalled":
        return _WAITING.get(entry.status or "", _SILENT)
    shown = _upload.decode(entry.payload).data.message
    return next((words for words in _WAITING.values() if shown.startswith(words.since)), _SILENT)


def _verdict_on_parts(entry: Entry, silent_seconds: float) -> _Verdict:
    """Return the verdict on the parts whose worker is silent, or on those that have not begun."""
    at = entry.stored_at + silent_seconds + _TOLERANCE_SECONDS
    silent = [part for part in entry.parts if not part.is_final and part.expires_at <= at]
    stalled = [
        part
        for part in silent
        if part.lease_seconds is not None and part.status != "stalled" and part.stored_at + 2 * part.lease_seconds > at
    ]
    parts = entry.parts
    if silent and len(stalled) == len(silent):
        for part in stalled:
            parts = with_part(parts, structs.replace(part, status="stalled"))
        first = stalled[0]
        silence = _seconds(first.lease_seconds or 0)
        return _Verdict("stalled", f"No word from the worker of part {first.number} for {silence}", parts)
    lost = [part for part in silent if part not in stalled] or missing_parts(parts, at)
    for part in lost:
        parts = with_part(parts, structs.replace(part, status="failed"))
    return _Verdict("failed", f"The worker of part {lost[0].number} fell silent", parts)


def _seconds(seconds: float) -> str:
    if seconds >= 120:
        return f"{seconds / 60:.0f} minutes"
    return "a second" if seconds == 1 else f"{seconds:g} seconds"


def no_room(publication: Publication) -> Publication:
    """Return the `error` about an upload, or a state of an own type, that has no room. Its id is that of the run, so a
    user gets it once.
    """
    if is_own_state(publication.key):
        text = f"A state of {publication.type} is not shown here: there are {MAX_RUNNING_UPLOADS:,} states already"
        error = create_error_message(TOO_MANY_STATES, text)
        name = sha256((publication.key or "").encode()).hexdigest()
        return Publication.of(publication.target, structs.replace(error, id=f"too-many-states:{name}"))
    data = _upload.decode(publication.payload).data
    text = f"{data.file_name} is not shown here: {MAX_RUNNING_UPLOADS:,} uploads are running already"
    error = create_error_message(TOO_MANY_UPLOADS, text, {"uploadId": data.upload_id, "fileName": data.file_name})
    name = sha256(f"{publication.key}\n{publication.run}".encode()).hexdigest()
    return Publication.of(publication.target, structs.replace(error, id=f"too-many-uploads:{name}"))


def cancelled(entry: Entry, now: float) -> Publication:
    """Return the state of an upload that a device has cancelled.

    Raises:
        UploadOver: it has ended already.
    """
    if entry.is_final:
        raise UploadOver(entry.status or "complete")
    return _changed(entry, "cancelled", "Cancelled", now, parts=ended(entry.parts, "cancelled"))


def dismissed(entry: Entry, now: float) -> Publication:
    """Return the state of an ended upload that the user wants to see no more.

    It takes the place of the upload's last one, and of no other: not of a new run.

    Raises:
        UploadRunning: it has not ended.
    """
    if not entry.is_final:
        raise UploadRunning(entry.status or "running")
    key = entry.key or ""
    message_id = new_message_id()
    payload = wire.encode(wire.DismissedMessage(wire.Dismissed(key), timestamp(now), message_id))
    return Publication(
        entry.target,
        entry.stream,
        message_id,
        DISMISSED,
        payload,
        entry.published_at,
        key,
        DISMISSED,
        entry.run,
        replaces=entry.number,
        past_runs=entry.past_runs,
    )


def _changed(
    entry: Entry,
    status: UploadStatus,
    text: str,
    now: float,
    replaces: int | None = None,
    parts: tuple[Part, ...] = (),
) -> Publication:
    last = _upload.decode(entry.payload).data
    whole_of_parts = whole(last, parts) if parts else last
    lease = last.lease_seconds if status == "stalled" else None
    data = structs.replace(whole_of_parts, status=status, message=text, lease_seconds=lease)
    publication = Publication.of(entry.target, UploadProgressMessage(data, timestamp(now)))
    # The worker's clock orders the states of a run, so this one has the time of the state it replaces.
    return structs.replace(
        publication,
        published_at=entry.published_at,
        replaces=replaces,
        past_runs=entry.past_runs,
        parts=parts,
    )
