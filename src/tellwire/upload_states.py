"""The state that follows another one of the same key, or none. Pure.

    another run        begins, and supersedes the known one, by its arrival: clocks do not matter
    a superseded run   is late, whatever its worker says
    the same run       a final state follows all others, and only another final one follows it. Two states that arrive
                       within ten seconds are in the order of their producer's time, others in that of their arrival

    a part             is late beside its own last state only; the whole is made anew of all parts

    an own type        its states are in the order of their producers' times within ten seconds, others in that of their
                       arrival; a removal is no end

A publication without a run belongs to the known one. After a final state, a first one (progress 0) begins a new run. A
run that has failed may begin again under its own name, as a task that is tried again does.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct, json, structs

from tellwire.entry import Entry
from tellwire.limits import PAST_RUNS, REORDER_SECONDS
from tellwire.messages import UploadProgress, UploadProgressMessage
from tellwire.parts import Part, whole, with_part
from tellwire.publication import DISMISSED, OWN_STATUSES, Publication


class _Message(Struct):
    """An encoded state of an upload. One of a topic has the topic's name beside these."""

    data: UploadProgress
    timestamp: str
    id: str


_message: Final = json.Decoder(_Message)


def successor(publication: Publication, known: Entry | None, now: float) -> Publication | None:
    """Return the publication as it follows the known state of its key; None if it is late."""
    if known is not None and _simply_follows(publication, known):
        return publication
    if publication.replaces is not None:
        is_made_of_known = publication.replaces == (known.number if known else 0)
        return _continued(publication, known) if is_made_of_known else None
    if known is None:
        return publication if publication.part is None else _with_part(publication, publication.part, (), now)
    if publication.run in known.past_runs:
        return None
    if _begins(publication, known):
        begun = structs.replace(publication, past_runs=_past_runs(known))
        return begun if begun.part is None else _with_part(begun, begun.part, (), now)
    if publication.part is not None:
        if _is_late_part(publication.part, known, now):
            return None
        return _with_part(_continued(publication, known), publication.part, known.parts, now)
    return None if _is_late(publication, known, now) else _continued(publication, known)


def _simply_follows(publication: Publication, known: Entry) -> bool:
    """Return True for the next state of a run, as nearly all are; False: it is to be looked at."""
    return (
        publication.run == known.run
        and publication.published_at >= known.published_at
        and not known.past_runs
        and not known.parts
        and publication.part is None
        and publication.replaces is None
        and not known.is_final
    )


def is_superseded(publication: Publication, known: Entry) -> bool:
    """Return True if another run than the publication's has begun."""
    return publication.run is not None and publication.run != known.run


def _begins(publication: Publication, known: Entry) -> bool:
    if publication.run is not None and publication.run != known.run:
        return True
    return publication.begins_run and known.is_final and (publication.run is None or known.run is None)


def _is_late(publication: Publication, known: Entry, now: float) -> bool:
    if publication.status in OWN_STATUSES:
        # It may come again after it was removed, and a removal overtakes nothing.
        return publication.published_at < known.published_at and now - known.stored_at <= REORDER_SECONDS
    if publication.is_final and not known.is_final:
        return False
    if known.parts and not publication.is_final and not publication.parts:
        return True  # the whole is made of its parts
    begins_again = publication.begins_run and known.status in ("failed", DISMISSED)
    if known.is_final and not publication.is_final and not begins_again:
        return True
    is_upload = publication.status is not None
    arrived_apart = is_upload and now - known.stored_at > REORDER_SECONDS
    return publication.published_at < known.published_at and not arrived_apart


def _is_late_part(part: Part, known: Entry, now: float) -> bool:
    """Return True if a part is out of date beside its own last state: of the other parts it knows nothing."""
    before = next((each for each in known.parts if each.number == part.number), None)
    if before is None:
        return known.is_final and not known.parts
    if part.is_final != before.is_final:
        return not part.is_final and not (part.begins and before.status == "failed")
    if part.published_at == before.published_at and part.status == before.status:
        return part.progress <= before.progress  # the same one again
    return part.published_at < before.published_at and now - before.stored_at <= REORDER_SECONDS


def _with_part(publication: Publication, part: Part, parts: tuple[Part, ...], now: float) -> Publication:
    """Return the publication of the whole, after this part's state."""
    together = with_part(parts, structs.replace(part, stored_at=now))
    message = _message.decode(publication.payload)
    state = UploadProgressMessage(whole(message.data, together), message.timestamp, message.id)
    made = Publication.of(publication.target, state)
    return structs.replace(
        made,
        run=publication.run,
        past_runs=publication.past_runs,
        parts=together,
        ttl_seconds=publication.ttl_seconds,
        trace_context=publication.trace_context,
    )


def _continued(publication: Publication, known: Entry | None) -> Publication:
    """Return a publication of the known run: it keeps the run's name, and the names of those before."""
    if known is None or (publication.run == known.run and not known.past_runs):
        return publication
    return structs.replace(publication, run=publication.run or known.run, past_runs=known.past_runs)


def _past_runs(known: Entry) -> Mapping[str, str]:
    """Return the superseded runs with their last statuses, the known one among them."""
    if known.run is None:
        return known.past_runs
    runs = {**known.past_runs, known.run: known.status or ""}
    return dict(list(runs.items())[-PAST_RUNS:])
