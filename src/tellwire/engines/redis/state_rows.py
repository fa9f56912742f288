"""The forms of publications and entries in Redis. Pure.

    a message of the log    [id, ttl_seconds], and its payload; an element of a list, as `append.lua` describes it
    a state                 its head, and what the script needs beside it, in the order of `lua/shared/heads.lua`

Payloads are kept as their producer made them; an entry's number is added when it is read or sent. A head is a state
without its payload. What it has not got is False: a Lua table cannot hold nothing. All texts are `str`, since Redis
does not read the binary type of msgpack.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tellwire import wire
from tellwire.entry import Entry
from tellwire.limits import HISTORY_HEAD_SECONDS, MAX_LEASE_SECONDS
from tellwire.parts import Part, next_expiry
from tellwire.position import START, Position
from tellwire.publication import NO_RUNS, Publication, StreamKey, stream_target
from tellwire.retention import Retention
from tellwire.stream import HistoryPage, Replay, is_kept, shown_states

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder().decode
_encode_parts: Final = msgspec.json.Encoder().encode
_decode_parts: Final = msgspec.json.Decoder(tuple[Part, ...]).decode


def pack(publication: Publication, expected: int | None = None) -> bytes:
    """Return a publication without its payload, for `append.lua`. A part is followed into its whole before.

    `expected` is the version of the state that it was made for, 0 if there is none, and None if the script decides.
    """
    p = publication
    if p.key is None:
        return _encode((p.id, p.ttl_seconds or False))
    runs = [each for run in p.past_runs.items() for each in run] or False
    return _encode(
        (
            0,
            0,
            p.id,
            p.type,
            p.published_at,
            p.status or False,
            p.run or False,
            p.is_final,
            False if p.lease_seconds is None else p.lease_seconds,
            False if p.ttl_seconds is None else p.ttl_seconds,
            runs,
            _encode_parts(p.parts).decode() if p.parts else False,
            len(p.payload),
            p.key,
            wire.encode(p.key).decode(),
            p.begins_run,
            False if p.replaces is None else p.replaces,
            next_expiry(p.parts) if p.parts else False,
            False if expected is None else expected,
        )
    )


def pack_escalated(publication: Publication, state: Publication, rules: bytes, channel: str, epoch: str) -> bytes:
    """Return a message with the first state of its escalation, for `append.lua`, and of the stream of that `rules`,
    channel, name, and the epoch, if it begins.
    """
    return _encode(
        (
            publication.id,
            publication.ttl_seconds or False,
            _decode(pack(state)),
            state.payload.decode(),
            _decode(rules),
            channel,
            state.stream,
            epoch,
        )
    )


def read_state(stream: StreamKey, key: str, head: bytes, payload: bytes) -> Entry:
    """Return a state as an entry. Without its payload, the entry's is not to be read."""
    version, stored_at, message_id, message_type, published_at, *fields, past_runs, parts, _ = _decode(head)
    status, run, _, lease_seconds, ttl_seconds = fields
    return Entry(
        stream_target(stream),
        stream,
        message_id,
        message_type,
        wire.as_state(payload, key, version) if payload else b"",
        float(published_at),
        key,
        status or None,
        run or None,
        None if lease_seconds is False else lease_seconds,
        ttl_seconds=None if ttl_seconds is False else ttl_seconds,
        past_runs=dict(zip(past_runs[::2], past_runs[1::2], strict=True)) if past_runs else NO_RUNS,
        parts=_decode_parts(parts) if parts else (),
        number=version,
        stored_at=float(stored_at),
    )


class _Message(msgspec.Struct, frozen=True, gc=False):
    """A message of the log. `expires_at` is None if it has no time to live."""

    offset: int
    stored_at: float
    expires_at: float | None
    payload: bytes


def _read_message(element: bytes) -> _Message:
    offset, stored_at, expires_at, id_length, rest = element.split(b" ", 4)
    expiry = None if expires_at == b"-" else float(expires_at)
    return _Message(int(offset), float(stored_at), expiry, rest[int(id_length) :])


def read_replay(
    stream: StreamKey, answer: Sequence[Any], cursor: str | None, version: int | None, retention: Retention
) -> Replay:
    """Return the replay for a client with this cursor, of an answer of `read.lua`."""
    now, epoch, offset, rows, states = float(answer[0]), answer[1].decode(), answer[2], answer[3], answer[4]
    position = Position(epoch, offset)
    after = offset if cursor is None else 0 if cursor == START else position.offset_of(cursor)
    found = [message for row in rows if (message := _read_message(row)).offset > (after or 0)]
    messages = _kept(found, now, retention)
    is_whole = after == offset or bool(messages and after is not None and messages[0].offset == after + 1)
    shown = [
        read_state(stream, key.decode(), head, payload)
        for key, head, payload in zip(states[::3], states[1::3], states[2::3], strict=True)
    ]
    return Replay(
        recovered=is_whole or cursor in (None, START),
        cursor=str(position),
        messages=[
            wire.in_log(each.payload, epoch, each.offset)
            for each in messages
            if each.expires_at is None or now < each.expires_at
        ],
        snapshot=shown_states([each for each in shown if is_kept(each, retention, now)], retention, now, version),
    )


def read_page(answer: Sequence[Any]) -> HistoryPage:
    """Return a page of the log, of an answer of `page.lua`."""
    epoch, more, *elements = answer
    messages = map(_read_message, elements)
    return HistoryPage([wire.in_log(each.payload, epoch.decode(), each.offset) for each in messages], bool(more))


def _kept(messages: list[_Message], now: float, retention: Retention) -> list[_Message]:
    """Return the messages that are not too old, of which the newest have room."""
    size = 0
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        size += len(message.payload)
        is_last = index == len(messages) - 1
        if message.stored_at < now - retention.max_age_seconds or (size > retention.max_bytes and not is_last):
            return messages[index + 1 :]
    return messages


def trust_text(trusts_restart: bool | None) -> str:
    """Return the trust in a Redis that was started again, as scripts take it; None: it is not known yet."""
    return "" if trusts_restart is None else str(int(trusts_restart))


def pack_rules(retention: Retention, trust: str, *, is_of_topic: bool = False) -> bytes:
    """Return the bounds of a stream for `append.lua`.

    `trust` is that in a Redis that was started again. `is_of_topic`: its `conns` has nodes, and not connections.
    """
    return _encode(
        (
            trust,
            retention.max_messages,
            retention.max_bytes,
            retention.max_states,
            retention.max_age_seconds,
            retention.running_max_age_seconds,
            head_seconds(retention),
            retention.max_running,
            MAX_LEASE_SECONDS,
            is_of_topic,
        )
    )


def head_seconds(retention: Retention) -> int:
    """Return the time that the head of an idle stream is kept: longer than all entries."""
    return math.ceil(max(HISTORY_HEAD_SECONDS, retention.running_max_age_seconds))
