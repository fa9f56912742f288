"""The meaning of a connection's end, as pure code: the tables of `spec/protocol.md`.

A server can say the same in three ways: by the status and the JSON of a handshake that it refuses, by a close code,
and, on AWS, by an `error` before a close with 1000. All three end as a `Verdict`.
"""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Final, Literal

from tellwire import errors
from tellwire.errors import TellwireError

Kind = Literal["lost", "server", "token", "final", "user"]
"""The kind of a reason.

lost: the network or the server did not answer. server: it closed, or refused the handshake, and takes the client back.
token: there was no token, or it was refused. final: coming back is of no use. user: the token, or the welcome, is
another user's, and the client is closed.
"""

_MAX_RETRY_AFTER_SECONDS: Final = 300.0
_HINT_SECONDS: Final = 10.0
_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class CloseReason:
    """The reason for which there is no connection.

    `code` is the WebSocket close code, or the HTTP status of a handshake that was refused; None when there was no
    connection to close. `error` is the server's name for it, such as `TOKEN_EXPIRED`, if it gave one; `message` is for
    people.
    """

    kind: Kind
    message: str
    code: int | None = None
    error: str | None = None


class ClosedForGood(TellwireError):
    """The connection is closed for good, by the server or by `gives_up`: no more messages come. `reason` has more."""

    code = "CLOSED_FOR_GOOD"

    def __init__(self, reason: CloseReason) -> None:
        known = [str(each) for each in (reason.code, reason.error) if each is not None]
        super().__init__(f"The connection is closed for good: {reason.message} ({' '.join(known) or reason.kind})")
        self.reason = reason


class ComeBack(enum.Enum):
    """The time of the next attempt."""

    AT_ONCE = enum.auto()
    WITH_BACKOFF = enum.auto()
    NEVER = enum.auto()


@dataclass(frozen=True, slots=True)
class Rule:
    """The consequences of an end."""

    kind: Kind
    come_back: ComeBack


_TOKEN: Final = Rule("token", ComeBack.AT_ONCE)
_NO_TOKEN: Final = Rule("token", ComeBack.WITH_BACKOFF)
_FINAL: Final = Rule("final", ComeBack.NEVER)
_AT_ONCE: Final = Rule("server", ComeBack.AT_ONCE)
_LATER: Final = Rule("server", ComeBack.WITH_BACKOFF)
_LOST: Final = Rule("lost", ComeBack.WITH_BACKOFF)
_OTHER_USER: Final = Rule("user", ComeBack.AT_ONCE)
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
        4401: _TOKEN,
        4403: _FINAL,
        4429: _LATER,
    }
)
"""The meaning of each close code. Any other: come back with backoff."""

_CODES_OF_HINTS: Final = (1012, 1013, 4401, 4403, 4429)

ERROR_CODES: Final[Mapping[str, int]] = MappingProxyType(
    {
        each.code: each.close_code
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, TellwireError) and each.close_code in _CODES_OF_HINTS
    }
)
"""The close code that an `error` before a close with 1000 stands for: those of `tellwire.errors`."""

_REFUSALS: Final[Mapping[str, Rule]] = {
    **{error: CLOSE_CODES[code] for error, code in ERROR_CODES.items()},
    "BAD_HANDSHAKE": _FINAL,
    "ORIGIN_NOT_ALLOWED": _FINAL,
    "UPGRADE_REQUIRED": _FINAL,
}

# Of servers that give no code: a Lambda authorizer's answers, for one.
_STATUSES: Final[Mapping[int, Rule]] = {401: _TOKEN, 403: _TOKEN}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A reason and its consequence. No attempt before `retry_after_seconds`, if the server asked for that."""

    reason: CloseReason
    come_back: ComeBack
    retry_after_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class CloseHint:
    """An `error` that came at `at`, and that is the reason for a close with 1000 soon after."""

    error: str
    message: str
    at: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """A handshake's answer that was not 101. `error` and `message` are those of its JSON, if it has any.

    `status` is a close code where the server has refused by a close.
    """

    status: int
    error: str | None = None
    message: str | None = None
    retry_after_seconds: float = 0.0


def close_hint(data: object, now: float) -> CloseHint | None:
    """Return the hint in the data of an `error`; None if its code explains no close."""
    match data:
        case {"code": str(code), **rest} if _meant_by(code) is not None:
            return CloseHint(code, str(rest.get("message", "")), now)
    return None


def judge_close(code: int, text: str, hint: CloseHint | None, now: float) -> Verdict:
    """Judge a close. With 1000 soon after a hint, as on AWS, it is the close that the hint stands for; with the hint's
    own code, the hint says why.
    """
    if hint is not None and now - hint.at <= _HINT_SECONDS:
        meant = _meant_by(hint.error) or code
        if code in (1000, meant):
            return _verdict(CLOSE_CODES[meant], hint.message, meant, hint.error)
    error, _, words = text.partition(": ")
    if _CODE.fullmatch(error):
        return _verdict(CLOSE_CODES.get(code, _LATER), words or text, code, error)
    return _verdict(CLOSE_CODES.get(code, _LATER), text, code)


def judge_refusal(refusal: Refusal) -> Verdict:
    """Judge the answer to a handshake."""
    rule = _REFUSALS.get(refusal.error or "") or _STATUSES.get(refusal.status, _LATER)
    message = refusal.message or f"the server answered {refusal.status}"
    return _verdict(rule, message, refusal.status, refusal.error, refusal.retry_after_seconds)


def silent() -> Verdict:
    """Judge a server that did not answer a ping."""
    return _verdict(_SILENT, "the server did not answer", 1006)


def another_user() -> Verdict:
    """Judge a token, a welcome or a close that is about another user than the session's."""
    return _verdict(_OTHER_USER, "The token is another user's", 4403, errors.TokenOfAnotherUser.code)


def nobodys() -> Verdict:
    """Judge a server that did not say whose a connection is."""
    return _verdict(_LOST, "the server did not say whose connection this is", 1006)


def unreachable(message: str) -> Verdict:
    """Judge a server that could not be connected to."""
    return _verdict(_LOST, message)


def without_token(message: str) -> Verdict:
    """Judge a `get_token` that failed."""
    return _verdict(_NO_TOKEN, message)


def retry_after(header: str | None, now: float) -> float:
    """Return the seconds from now that a `Retry-After` asks for (RFC 9110 §10.2.3), at most 300; 0 if none."""
    if not header:
        return 0.0
    try:
        seconds = float(header) if header.isdecimal() else _epoch_seconds(header) - now
    except ValueError:
        return 0.0
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_SECONDS)


def _meant_by(error: str) -> int | None:
    # Each new error about a token means what the others mean.
    return ERROR_CODES.get(error) or (4401 if error.startswith("TOKEN_") else None)


def _epoch_seconds(http_date: str) -> float:
    moment = parsedate_to_datetime(http_date)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _verdict(
    rule: Rule, message: str, code: int | None = None, error: str | None = None, retry_after_seconds: float = 0.0
) -> Verdict:
    return Verdict(CloseReason(rule.kind, message, code, error), rule.come_back, retry_after_seconds)
