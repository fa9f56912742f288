"""Signed tokens in their compact form (JWS, RFC 7515 §3.1): three parts in base64url, with a point between. Pure.

    header.claims.signature ─▶ read_token ─▶ SignedToken ─▶ a key's check of its signature ─▶ claims_of

A token has one spelling: any but the canonical base64url is refused, so that one token is one text. A header with
`crit` is refused, since we know none of its extensions (RFC 7515 §4.1.11); `jku`, `x5u`, `jwk` and `x5c` are not read.
"""

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from tellwire.errors import InvalidMessage, TokenInvalid
from tellwire.half_pairs import decode_half_pairs, half_pairs_in
from tellwire.limits import MAX_TOKEN_BYTES

# Base64url without padding (RFC 7515 §2); decoders in use take `=`, `!` and line ends as well.
_COMPACT: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")

# The last character of a part has bits that a decoder ignores: without this, a token has up to 16 spellings. By the
# characters that are over after the groups of four.
_LAST: Final = ("", "", "AQgw", "AEIMQUYcgkosw048")


class SignedToken(NamedTuple):
    """A token whose signature is not checked yet. `signed` is the text that the signature is of; `claims` are JSON."""

    header: dict[str, Any]
    signed: bytes
    claims: bytes
    signature: bytes


def read_token(token: str) -> SignedToken:
    """Return the parts of a token.

    Raises:
        TokenInvalid: it is no token, is spelled otherwise, or has a header that we must not ignore.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise TokenInvalid(f"it is over {MAX_TOKEN_BYTES:,} bytes")
    match = _COMPACT.fullmatch(token)
    if match is None:
        raise TokenInvalid("it is malformed")
    header, claims, signature = match.groups()
    read = SignedToken(
        _header_of(_decoded(header)), token[: match.end(2)].encode("ascii"), _decoded(claims), _decoded(signature)
    )
    _require_known(read.header)
    return read


def claims_of(token: SignedToken) -> dict[str, Any]:
    """Return the claims of a token whose signature was checked.

    Raises:
        TokenInvalid: they are no JSON object.
    """
    try:
        claims = msgspec.json.decode(token.claims)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        claims = _claims_with_half_pairs(token.claims)
    if not isinstance(claims, dict):
        raise TokenInvalid("it is malformed")
    return claims


def encoded(part: bytes) -> bytes:
    """Return bytes in base64url without padding."""
    return b2a_base64(part, newline=False).translate(_TO_URL).rstrip(b"=")


def _decoded(part: str) -> bytes:
    over = len(part) % 4
    if over and part[-1] not in _LAST[over]:
        raise TokenInvalid("it is malformed")
    return a2b_base64(part.encode("ascii").translate(_TO_STANDARD) + b"==")


def _header_of(part: bytes) -> dict[str, Any]:
    try:
        header = msgspec.json.decode(part)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise TokenInvalid("it is malformed") from error
    if not isinstance(header, dict):
        raise TokenInvalid("it is malformed")
    return header


def _require_known(header: Mapping[str, Any]) -> None:
    if not isinstance(header.get("alg"), str):
        raise TokenInvalid("it is malformed")
    if not isinstance(header.get("kid", ""), str):
        raise TokenInvalid("its key (kid) is no text")
    if "crit" in header or "b64" in header:
        raise TokenInvalid("its header demands an extension (crit) that is not known here")


def _claims_with_half_pairs(claims: bytes) -> Any:
    # A provider may have cut a name in the middle of a character.
    try:
        return decode_half_pairs(claims) if half_pairs_in(claims) else None
    except InvalidMessage as error:
        raise TokenInvalid("it is malformed") from error
