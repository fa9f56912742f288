"""Why a connection ended and what to do about it, as pure code: the table of `spec/protocol.md`.

A server can say the same in three ways: by the status and the JSON of a handshake it refuses, by a close code, and, on
AWS, by an `error` before a close with 1000. All three end as a `Verdict`.
"""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Final, Literal

from tellwire.errors import (
    ConnectionUnknown,
    TellwireError,
    TokenExpired,
    TokenInvalid,
    TokenMissing,
    TokenOfAnotherUser,
)

Kind = Literal["lost", "server", "token", "final"]
"""What sort of reason it is.

lost: the network or the server did not answer. server: it closed, or refused the handshake, and takes us back. token:
there was no token, or it was refused. final: coming back is of no use.
"""

_LONGEST_RETRY_AFTER_SECONDS: Final = 300.0
_LAST_WORDS_SECONDS: Final = 10.0
_CODE: Final = re.compile(r"[A-Z][A-Z_]*")


@dataclass(frozen=True, slots=True)
class CloseReason:
    """Why there is no connection.

    `code` is the WebSocket close code, or the HTTP status of a handshake that was refused; None when there was no
    connection to close. `error` is the server's name for it, such as `TOKEN_EXPIRED`, if it gave one; `message` is for
    people.
    """

    kind: Kind
    message: str
    code: int | None = None
    error: str | None = None


class ClosedForGood(TellwireError):
    """The server will not have this client, or `gives_up` said so: no more messages will come. `reason` has more."""

    code = "CLOSED_FOR_GOOD"

    def __init__(self, reason: CloseReason) -> None:
        known = [str(each) for each in (reason.code, reason.error) if each is not None]
        super().__init__(f"The connection is closed for good: {reason.message} ({' '.join(known) or reason.kind})")
        self.reason = reason


class ComeBack(enum.Enum):
    """When to try again."""

    AT_ONCE = enum.auto()
    WITH_BACKOFF = enum.auto()
    NEVER = enum.auto()


@dataclass(frozen=True, slots=True)
class Rule:
    """What an end means."""

    kind: Kind
    come_back: ComeBack


_TOKEN: Final = Rule("token", ComeBack.AT_ONCE)
_NO_TOKEN: Final = Rule("token", ComeBack.WITH_BACKOFF)
_FINAL: Final = Rule("final", ComeBack.NEVER)
_AT_ONCE: Final = Rule("server", ComeBack.AT_ONCE)
_LATER: Final = Rule("server", ComeBack.WITH_BACKOFF)
_LOST: Final = Rule("lost", ComeBack.WITH_BACKOFF)
_SILENT: Final = Rule("lost", ComeBack.AT_ONCE)

CLOSE_CODES: Final[Mapping[int, Rule]] = MappingProxyType(
    {
        1000: _LATER,
        1001: _AT_ONCE,
        1002: _LATER,
        1003: _LATER,
        1006: _LOST,
        1007: _LATER,
        1009: _LATER,
        1012: _LATER,
        1013: _LATER,
        4400: _FINAL,
        4401: _TOKEN,
        4403: _FINAL,
    }
)
"""What a close code means. Any other: come back with backoff."""

# What an `error` before a close with 1000 stands for.
_MEANT: Final[Mapping[str, int]] = {
    TokenMissing.code: 4401,
    TokenInvalid.code: 4401,
    TokenExpired.code: 4401,
    TokenOfAnotherUser.code: 4403,
    ConnectionUnknown.code: 1001,
}

_REFUSALS: Final[Mapping[str, Rule]] = {
    **{error: CLOSE_CODES[code] for error, code in _MEANT.items()},
    "BAD_HANDSHAKE": _FINAL,
    "ORIGIN_NOT_ALLOWED": _FINAL,
    "UPGRADE_REQUIRED": _FINAL,
}

# Of servers that give no code: a Lambda authorizer's answers, for one.
_STATUSES: Final[Mapping[int, Rule]] = {401: _TOKEN, 403: _TOKEN}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A reason and what follows. Not before `retry_after_seconds`, if the server asked for that."""

    reason: CloseReason
    come_back: ComeBack
    retry_after_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class LastWords:
    """An `error` that may be the reason for a close with 1000 soon after, at `said_at`."""

    error: str
    message: str
    said_at: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """A handshake's answer that was not 101. `error` and `message` are those of its JSON, if it has any."""

    status: int
    error: str | None = None
    message: str | None = None
    retry_after_seconds: float = 0.0


def last_words(data: object, now: float) -> LastWords | None:
    """Return what an `error` message says of its connection's end, if it does."""
    match data:
        case {"code": str(code), "message": str(message)} if code in _MEANT:
            return LastWords(code, message, now)
    return None


def of_close(code: int, text: str, words: LastWords | None, now: float) -> Verdict:
    """Judge a close. `words` are the last that may be its reason, as on AWS: then it counts as what they stand for."""
    if code == 1000 and words is not None and now - words.said_at <= _LAST_WORDS_SECONDS:
        meant = _MEANT[words.error]
        return _verdict(CLOSE_CODES[meant], words.message, meant, words.error)
    return _verdict(CLOSE_CODES.get(code, _LATER), text, code, text if _CODE.fullmatch(text) else None)


def of_refusal(refusal: Refusal) -> Verdict:
    """Judge the answer to a handshake."""
    rule = _REFUSALS.get(refusal.error or "") or _STATUSES.get(refusal.status, _LATER)
    message = refusal.message or f"the server answered {refusal.status}"
    return _verdict(rule, message, refusal.status, refusal.error, refusal.retry_after_seconds)


def of_silence() -> Verdict:
    """Judge a server that gives no sign of life."""
    return _verdict(_SILENT, "no sign of life", 1006)


def unreachable(message: str) -> Verdict:
    """Judge a server that could not be connected to."""
    return _verdict(_LOST, message)


def without_token(message: str) -> Verdict:
    """Judge a `get_token` that failed."""
    return _verdict(_NO_TOKEN, message)


def retry_after(header: str | None, now: float) -> float:
    """Return how many seconds from now a `Retry-After` asks for (RFC 9110 §10.2.3), at most 300; 0 if nothing."""
    if not header:
        return 0.0
    try:
        seconds = float(header) if header.isdecimal() else _epoch_seconds(header) - now
    except ValueError:
        return 0.0
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER_SECONDS)


def _epoch_seconds(http_date: str) -> float:
    moment = parsedate_to_datetime(http_date)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _verdict(
    rule: Rule, message: str, code: int | None = None, error: str | None = None, retry_after_seconds: float = 0.0
) -> Verdict:
    return Verdict(CloseReason(rule.kind, message, code, error), rule.come_back, retry_after_seconds)
