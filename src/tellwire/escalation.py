"""Escalations: a notification that nobody has acknowledged in time is handed to a target of the settings. Pure.

    waiting ─▶ its time comes ─▶ acknowledged? ─▶ cancelled
                                  └ no ─▶ calling ─▶ called: complete │ refused, or away for a day: failed
                                            └ away, or the node died: its lease expires ─▶ acknowledged? …

Each is a state `escalation:<message id>` in a stream of its own, `escalations:<user id>`, to which no connection is
subscribed. The first one is kept together with the notification, both or none. It has the notification as it was
published, so that it does not matter how long the log keeps it, and its cursor, to compare it with what the user has
seen. `calling` names the version that it was made of: of two nodes that notice the same expiry one keeps it, and calls.
"""

from collections.abc import Collection
from hashlib import sha256
from typing import Final

import msgspec
from msgspec import Struct, structs

from tellwire import wire
from tellwire.entry import ESCALATION, Entry
from tellwire.errors import InvalidMessage
from tellwire.limits import (
    ESCALATION_CALL_SECONDS,
    ESCALATION_FIRST_WAIT_SECONDS,
    ESCALATION_LONGEST_WAIT_SECONDS,
    ESCALATION_TRIED_SECONDS,
    MAX_ESCALATION_SECONDS,
)
from tellwire.marks import marks_of
from tellwire.messages import Escalation
from tellwire.model import new_message_id, timestamp
from tellwire.position import Position
from tellwire.publication import Publication, escalation_stream

WAITING: Final = "waiting"
CALLING: Final = "calling"
COMPLETE: Final = "complete"
CANCELLED: Final = "cancelled"
FAILED: Final = "failed"

_GROWTH: Final = 4


class EscalationRules(Struct, frozen=True):
    """The escalations that a server allows: to targets of these names (None: it does not know them), after the age of
    its history at most.
    """

    targets: frozenset[str] | None = None
    longest_seconds: float = MAX_ESCALATION_SECONDS

    def check(self, escalation: Escalation) -> None:
        """Check an escalation.

        Raises:
            InvalidMessage: there is no such target, or the history forgets before what the user has seen.
        """
        targets = self.targets
        if targets is not None and escalation.target not in targets:
            names = ", ".join(sorted(targets)) or "none, as TELLWIRE_WEBHOOKS is not set"
            raise InvalidMessage("escalate.target", escalation.target, names)
        if escalation.after_seconds > self.longest_seconds:
            allowed = f"at most {self.longest_seconds:,.0f} seconds, the age of the history"
            raise InvalidMessage("escalate.afterSeconds", escalation.after_seconds, allowed)


class Escalated(Struct, frozen=True, rename="camel"):
    """The data of a state: the notification as it was published, and how often its target was called.

    `due_at` is the time, in epoch seconds, at which its target was to be called; 0 while it waits.
    """

    message: msgspec.Raw
    published_at: str
    after_seconds: float
    target: str
    attempt: int = 0
    due_at: float = 0.0


class _Ended(Struct, frozen=True, rename="camel"):
    """The data of a state that has ended: nobody needs the message any more."""

    target: str
    attempt: int


class _State(Struct):
    data: Escalated
    cursor: str = ""


class _SeenState(Struct):
    data: wire.Seen


class _Call(Struct, rename="camel"):
    user_id: str
    message: msgspec.Raw
    published_at: str
    after_seconds: float
    attempt: int


class _CallMessage(Struct):
    type: str
    timestamp: str
    data: _Call


_state: Final = msgspec.json.Decoder(_State)
_seen: Final = msgspec.json.Decoder(_SeenState)


def key_of(message_id: str) -> str:
    """Return the key of the state of a notification's escalation."""
    return f"{ESCALATION}:{message_id}"


def waiting(publication: Publication, escalation: Escalation) -> Publication:
    """Return the first state of a publication's escalation. Where it is kept, its cursor is added: see `at`."""
    data = Escalated(
        msgspec.Raw(publication.payload),
        timestamp(publication.published_at),
        escalation.after_seconds,
        escalation.target,
    )
    stream = escalation_stream(publication.target.user or "")
    message_id = new_message_id()
    return Publication(
        publication.target,
        stream,
        message_id,
        ESCALATION,
        wire.encode(wire_state(data, message_id)),
        publication.published_at,
        key_of(publication.id),
        WAITING,
        lease_seconds=escalation.after_seconds,
        replaces=0,
    )


class _Envelope(Struct):
    type: str
    data: Escalated | _Ended
    id: str


def wire_state(data: Escalated | _Ended, message_id: str) -> Struct:
    """Return a state as it is encoded."""
    return _Envelope(ESCALATION, data, message_id)


def at(state: Publication, epoch: str, offset: int) -> Publication:
    """Return the first state with the position of its notification in the log."""
    return structs.replace(state, payload=wire.in_log(state.payload, epoch, offset))


def escalated(entry: Entry) -> Escalated:
    """Return the data of a state that has not ended."""
    return _state.decode(entry.payload).data


def is_acknowledged(entry: Entry, seen: Entry | None, marks: Entry | None) -> bool:
    """Return True if the user has seen the notification of a state, or has read or dismissed it, on some device."""
    position = Position.parse(_state.decode(entry.payload).cursor)
    if position is None:
        return False
    seen_to = None if seen is None else Position.parse(_seen.decode(seen.payload).data.cursor)
    if seen_to is not None and seen_to.epoch == position.epoch and position.offset <= seen_to.offset:
        return True
    # What is dismissed is read, too.
    return any(first <= position.offset <= last for first, last in marks_of(marks, position.epoch).read)


def is_given_up(entry: Entry, now: float) -> bool:
    """Return True if a target has been away for so long that it is not called any more."""
    due_at = escalated(entry).due_at
    return bool(due_at) and now - due_at > ESCALATION_TRIED_SECONDS


def calling(entry: Entry, now: float) -> Publication:
    """Return the state of an escalation whose target is called from now on, unless another node was first."""
    data = escalated(entry)
    data = structs.replace(data, attempt=data.attempt + 1, due_at=data.due_at or now)
    return _changed(entry, data, CALLING, ESCALATION_CALL_SECONDS)


def called_again(entry: Entry) -> Publication:
    """Return the state of an escalation whose target is away: it is called again after a time that grows."""
    data = escalated(entry)
    wait = ESCALATION_FIRST_WAIT_SECONDS * _GROWTH ** min(data.attempt - 1, 10)
    return _changed(entry, data, CALLING, min(ESCALATION_LONGEST_WAIT_SECONDS, wait))


def postponed(entry: Entry, seconds: float) -> Publication:
    """Return the state of an escalation for which this node has no room: it waits for some more seconds."""
    return _changed(entry, escalated(entry), entry.status or WAITING, seconds)


def ended(entry: Entry, status: str) -> Publication:
    """Return the last state of an escalation."""
    data = escalated(entry)
    return _changed(entry, _Ended(data.target, data.attempt), status, None)


def body_of(entry: Entry, now: float) -> bytes:
    """Return the body of the webhook for a state."""
    data = escalated(entry)
    call = _Call(entry.target.user or "", data.message, data.published_at, data.after_seconds, data.attempt)
    return wire.encode(_CallMessage(ESCALATION, timestamp(now), call))


def request_id_of(entry: Entry) -> str:
    """Return the id of the webhook: the same for each attempt, so that the target recognises a repeated one.

    A producer's own id of a message may be that of another user's, too.
    """
    return "msg_" + sha256(msgspec.json.encode([entry.target.user, entry.key])).hexdigest()[:32]


def some_room(entries: Collection[Entry], seen: Entry | None, marks: Entry | None) -> list[Publication]:
    """Return the last states of those that wait although they are acknowledged: they make room for others."""
    return [ended(each, CANCELLED) for each in entries if each.status == WAITING and is_acknowledged(each, seen, marks)]


def _changed(entry: Entry, data: Escalated | _Ended, status: str, lease_seconds: float | None) -> Publication:
    message_id = new_message_id()
    payload = wire.encode(wire_state(data, message_id))
    position = Position.parse(_state_cursor(entry))
    if position is not None:
        payload = wire.in_log(payload, *position)
    return Publication(
        entry.target,
        entry.stream,
        message_id,
        ESCALATION,
        payload,
        entry.published_at,
        entry.key,
        status,
        lease_seconds=lease_seconds,
        replaces=entry.number,
    )


def _state_cursor(entry: Entry) -> str:
    return _state.decode(entry.payload).cursor
