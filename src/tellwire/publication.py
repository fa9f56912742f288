"""Publications: encoded messages with the fields that their stream needs. Pure.

    message, target ─▶ Publication.of ─▶ broker, history, carriers, hub, outbox: none of them decodes the payload

A publication belongs to the stream of its target, and is kept there. A publication for connections, or for all, has no
stream: it is for live connections only.
"""

from typing import NewType

from msgspec import Struct

from tellwire.messages import (
    TERMINAL_STATUSES,
    Message,
    UploadProgressMessage,
    encode_with_id,
    epoch_seconds,
    type_of,
)
from tellwire.model import Target

StreamKey = NewType("StreamKey", str)
"""The name of a stream. `user:<id>` is a user's; `topic:<name>` is reserved for topics."""

_USER_PREFIX = "user:"


def user_stream(user_id: str) -> StreamKey:
    """Return the name of a user's stream."""
    return StreamKey(_USER_PREFIX + user_id)


def target_stream(target: Target) -> StreamKey | None:
    """Return the stream of a target; None if its publications are not kept."""
    return None if target.user is None else user_stream(target.user)


def stream_target(stream: StreamKey) -> Target:
    """Return the target of a stream."""
    return Target(user=stream.removeprefix(_USER_PREFIX))


def upload_key(upload_id: str) -> str:
    """Return the key of an upload's state."""
    return f"upload:{upload_id}"


# gc=False: tens of thousands are alive at once, and none is part of a reference cycle.
class Publication(Struct, frozen=True, gc=False):
    """One encoded message, its target, and the stream that keeps it (None: it is not kept).

    `payload` is its JSON. `key` is that of a state; None: it is a message of the log. `published_at` is its timestamp
    in epoch seconds, which orders the states of a run; `seen` has an offset instead.

    For an upload: `status`, `run` (the start of this run in epoch seconds; None if its producer does not distinguish
    runs), `lease_seconds` (the longest silence of its worker), and `begins_run` (without `run`: this looks like the
    first state of one). `replaces` is the version of the state it was made from; it may replace no other.

    `ttl_seconds` and `trace_context` (W3C `traceparent`) are passed on; None: not set.
    """

    target: Target
    stream: StreamKey | None
    id: str
    type: str
    payload: bytes
    published_at: float
    key: str | None = None
    status: str | None = None
    run: float | None = None
    lease_seconds: float | None = None
    begins_run: bool = False
    replaces: int | None = None
    ttl_seconds: float | None = None
    trace_context: str | None = None

    @classmethod
    def of(cls, target: Target, message: Message) -> "Publication":
        """Encode a message for a target. One without an `id` gets a new one.

        Raises:
            InvalidMessage: not a message, or its data holds a value that JSON cannot carry.
            MessageTooBig: over 128 KiB.
        """
        message_id, payload = encode_with_id(message)
        stream = target_stream(target)
        published_at = _seconds(message.timestamp)
        if not isinstance(message, UploadProgressMessage):
            return cls(target, stream, message_id, type_of(message), payload, published_at)
        data = message.data
        status = data.status or ("complete" if data.progress >= 100 else "running")
        return cls(
            target,
            stream,
            message_id,
            "upload_progress",
            payload,
            published_at,
            upload_key(data.upload_id),
            status,
            None if data.started_at is None else _seconds(data.started_at),
            data.lease_seconds,
            data.progress == 0 and status not in TERMINAL_STATUSES,
        )

    @property
    def is_final(self) -> bool:
        """True for the last state of a run."""
        return self.status in TERMINAL_STATUSES


def stream_of(publication: Publication) -> StreamKey:
    """Return the stream of a publication that has one.

    Raises:
        ValueError: it is for connections, or for everybody, and is not kept.
    """
    stream = publication.stream
    if stream is None:
        raise ValueError(f"target: got {publication.target}; allowed: one with a stream")
    return stream


def _seconds(time: str) -> float:
    # A message was checked when it was made.
    return epoch_seconds(time) or 0.0
