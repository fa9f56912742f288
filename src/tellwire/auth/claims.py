"""The claims of a verified token: who the user is, and for how long. Pure, but for its clock."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from tellwire.errors import TokenExpired, TokenInvalid
from tellwire.limits import MAX_USER_ID_BYTES
from tellwire.text import is_text

# Rejects NaN, infinity and years after 9999, which would break comparisons and dates.
_END_OF_TIME: Final = 253_402_300_800


class ClaimRules(Protocol):
    """Rules for claims beyond the user, `exp`, `nbf` and `iat`."""

    def check(self, claims: Mapping[str, Any]) -> None:
        """Raise `TokenInvalid` if the token was not made for us."""
        ...


@dataclass(frozen=True, slots=True)
class StandardRules:
    """Required values of `iss` and `aud`: one of these. Empty means that the claim is not checked."""

    issuers: Collection[str] = ()
    audiences: Collection[str] = ()

    def check(self, claims: Mapping[str, Any]) -> None:
        if self.issuers and claims.get("iss") not in tuple(self.issuers):
            raise TokenInvalid("it comes from another issuer")
        if self.audiences and not any(each in tuple(self.audiences) for each in _as_list(claims.get("aud"))):
            raise TokenInvalid("it is for another audience")


def user_of(claims: Mapping[str, Any], name: str) -> str:
    """Return the user in the claim of this name. A whole number becomes its text.

    Raises:
        TokenInvalid: the claim names no user.
    """
    value = claims.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value or not is_text(value):
        raise TokenInvalid(f"its {name} is missing, or neither a text nor a whole number, so it names no user")
    if len(value.encode()) > MAX_USER_ID_BYTES:
        raise TokenInvalid(f"its {name} is over {MAX_USER_ID_BYTES:,} bytes")
    return value


def expiry_of(claims: Mapping[str, Any], now: float, leeway_seconds: float) -> float:
    """Return the `exp` of a token that is valid now. `leeway_seconds` is for `nbf` and `iat`: providers' clocks differ.

    Raises:
        TokenExpired: its `exp` has passed.
        TokenInvalid: it is not valid yet, or one of the three is no time.
    """
    expires_at = _time(claims, "exp")
    starts = {name: _time(claims, name) for name in ("nbf", "iat") if claims.get(name) is not None}
    if now >= expires_at:
        raise TokenExpired
    for name, at in starts.items():
        if at > now + leeway_seconds:
            raise TokenInvalid(f"it is not valid yet: its {name} is {at - now:,.0f} seconds ahead of our clock")
    return expires_at


def optional_text(claims: Mapping[str, Any], name: str) -> str | None:
    """Return a claim that is a text; None if it is another thing, or missing."""
    value = claims.get(name)
    return value if isinstance(value, str) and value else None


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _END_OF_TIME:
        return float(value)
    raise TokenInvalid(f"its {name} is missing or not a time")


def _as_list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]
