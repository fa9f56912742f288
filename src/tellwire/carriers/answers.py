"""Answers to a request to the gateway, from the gateway or from a proxy before it. Pure.

    accepted                  the gateway's answer
    not accepted              429 and 503, a proxy's 408 and 425: nothing was published, and everything may be repeated
    perhaps accepted          other answers of a proxy, and failures of the gateway: only what the gateway recognises
                              when it comes twice may be repeated
    refused, or redirected    the same request would be answered in the same way

A gateway that restarts is away for a second or two. Until then its proxy answers for it: nginx with 502, others with
504, with 520 to 530, with 404, or with a page of HTML.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from tellwire.decode_errors import DECODE_ERRORS
from tellwire.errors import GatewayRefused, GatewayUnreachable, PublishError
from tellwire.http_messages import redirect_target
from tellwire.text import one_line

NOT_A_GATEWAY: Final = "the answer is not a gateway's; is this its address?"

_BUSY: Final = frozenset({408, 425, 429, 503})
_FAILED: Final = frozenset({500, 502, 504})
_NOT_FOUND: Final = 404
_TOO_LARGE: Final = 413
_SHOWN_CHARACTERS: Final = 500
_CODE: Final = re.compile(r"[A-Z][A-Z_]{0,63}")


class Failure(Struct, frozen=True):
    """An answer that is no success: its error, and whether a request that may come twice may be sent again."""

    error: PublishError
    may_repeat: bool

    @property
    def not_sent(self) -> bool:
        """True if nothing was published."""
        return isinstance(self.error, GatewayUnreachable) and self.error.not_sent

    @property
    def is_of_gateway(self) -> bool:
        """True if it is the gateway's own answer to this request."""
        return isinstance(self.error, GatewayRefused) and self.error.is_of_gateway


class _Refusal(Struct):
    code: str
    message: str


class _LineRefusal(_Refusal):
    status: int


_refusal: Final = msgspec.json.Decoder(_Refusal)
_line_refusal: Final = msgspec.json.Decoder(_LineRefusal)


def failure_of(url: str, status: int, headers: Mapping[str, str], body: bytes) -> Failure | None:
    """Return the failure in an answer; None: its status is that of a success. Header names are in lower case."""
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        target = redirect_target(f"{url}/", headers.get("location", ""))
        return Failure(
            GatewayRefused(status, GatewayRefused.REDIRECTED, f"it redirects to {target}: use that address"), False
        )
    refusal = _refusal_in(body)
    if status in _BUSY:
        return _unreachable(url, status, refusal, not_sent=True)
    if status >= 500 and (refusal is None or status in _FAILED):
        return _unreachable(url, status, refusal, not_sent=False)
    if refusal is not None and status == _NOT_FOUND:
        reason = f"there is nothing at this path; is {url} its address, without /ws or /v1 at the end?"
        return Failure(GatewayRefused(status, refusal.code, reason), False)
    if refusal is not None:
        return Failure(GatewayRefused(status, refusal.code, one_line(refusal.message, _SHOWN_CHARACTERS)), False)
    if status == _TOO_LARGE:
        reason = "a proxy before the gateway takes no body of this size"
        return Failure(GatewayRefused(status, GatewayRefused.BY_ANOTHER, reason), False)
    # Some proxies forget the address of a gateway that restarts.
    return not_a_gateway(status, may_repeat=status == _NOT_FOUND)


def failure_in_line(url: str, line: bytes) -> Failure | None:
    """Return the failure in a line of a batch's answer; None: a gateway answers with no such line."""
    try:
        status = _line_refusal.decode(line).status
    except DECODE_ERRORS:
        return None
    return failure_of(url, status, {}, line)


def not_a_gateway(status: int, *, may_repeat: bool = True) -> Failure:
    """Return the failure of an answer that no gateway gives."""
    return Failure(GatewayRefused(status, GatewayRefused.BY_ANOTHER, NOT_A_GATEWAY), may_repeat)


def _unreachable(url: str, status: int, refusal: _Refusal | None, *, not_sent: bool) -> Failure:
    reason = f"it answered {status}" if refusal is None else f"it answered {status} {refusal.code}"
    return Failure(GatewayUnreachable(url, reason, not_sent=not_sent), True)


def _refusal_in(body: bytes) -> _Refusal | None:
    try:
        refusal = _refusal.decode(body)
    except DECODE_ERRORS:
        return None
    return refusal if _CODE.fullmatch(refusal.code) else None
