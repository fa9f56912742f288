"""States of the project's own types: a counter, who edits this. Pure.

    broadcast ─▶ current ─▶ another one of its key takes its place
                    └─▶ its time to live passes, or its data is None ─▶ removed

A state is in the lane of uploads: the same numbers, bounds and leases, so its time to live ends like the lease of a
worker that fell silent. Its key in the stream has its type, so two types never meet.
"""

from msgspec import structs

from tellwire.entry import Entry
from tellwire.messages import StateMessage
from tellwire.model import timestamp
from tellwire.publication import CURRENT, Publication, given_key


def on_state_expired(entry: Entry, silent_seconds: float, now: float) -> Publication | None:
    """Return the removal of a state whose time to live has passed; None: it has not, or it is removed already.

    It takes the place of that state alone, not of one that came in the meantime.
    """
    seconds = entry.silence_seconds
    if entry.status != CURRENT or seconds is None or silent_seconds < seconds:
        return None
    key = given_key(entry.type, entry.key or "")
    removal = Publication.of(entry.target, StateMessage(entry.type, None, timestamp(now), key=key))
    return structs.replace(removal, published_at=entry.published_at, replaces=entry.number)
