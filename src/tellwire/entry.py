"""Entries: publications in their stream, with an offset or a version. Pure."""

from typing import Final

from tellwire import wire
from tellwire.limits import MAX_LEASE_SECONDS
from tellwire.parts import next_expiry
from tellwire.publication import Publication

ESCALATION: Final = "escalation"
"""The type of the state of an escalation, which waits for a time. See `escalation`."""


class Entry(Publication, frozen=True, gc=False, kw_only=True):
    """A publication in its stream. `number` is its offset or version, and part of `payload`; `stored_at` is the time at
    which it was kept, in epoch seconds.
    """

    number: int
    stored_at: float

    @property
    def silence_seconds(self) -> float | None:
        """The silence after which an upload's lease expires; None if it has ended, or is no upload.

        An upload without a lease of its own has one of a day.
        """
        if self.status is None or self.is_final:
            return None
        if self.parts:
            return max(0.0, next_expiry(self.parts) - self.stored_at)
        return MAX_LEASE_SECONDS if self.lease_seconds is None else self.lease_seconds

    @property
    def lease_expires_at(self) -> float | None:
        """The expiry of an upload's lease in epoch seconds; None if it has ended, or is no upload."""
        seconds = self.silence_seconds
        return None if seconds is None else self.stored_at + seconds

    @property
    def waits_until(self) -> float | None:
        """The expiry in epoch seconds of a state that waits for a time, and not for a worker: no pause of the server
        prolongs it. None: it is no such state.
        """
        return self.lease_expires_at if self.type == ESCALATION else None

    def is_expired(self, now: float) -> bool:
        """Return True if its time to live has passed."""
        return self.ttl_seconds is not None and now >= self.stored_at + self.ttl_seconds


def with_offset(publication: Publication, now: float, epoch: str, offset: int) -> Entry:
    """Return a publication with its offset in the log."""
    return _entry(publication, wire.in_log(publication.payload, epoch, offset), offset, now)


def with_version(publication: Publication, now: float, version: int) -> Entry:
    """Return a publication with its version among the states."""
    return _entry(publication, wire.as_state(publication.payload, publication.key or "", version), version, now)


def _entry(of: Publication, payload: bytes, number: int, now: float) -> Entry:
    return Entry(
        of.target,
        of.stream,
        of.id,
        of.type,
        payload,
        of.published_at,
        of.key,
        of.status,
        of.run,
        of.lease_seconds,
        of.begins_run,
        of.replaces,
        of.ttl_seconds,
        of.trace_context,
        of.past_runs,
        parts=of.parts,
        number=number,
        stored_at=now,
    )
