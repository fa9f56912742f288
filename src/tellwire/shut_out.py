"""Users and tokens that are shut out until a time. Pure.

Whoever is shut out has no connection and gets none: live ones are closed with 4403, handshakes are refused with 403,
and our clients do not come back by themselves. A shut-out is for all tokens of a user, for one (by its `jti`), or for
those that were issued before a time (by their `iat`; a token without one counts).
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from tellwire.errors import InvalidMessage, UserShutOut
from tellwire.limits import MAX_REASON_CHARACTERS, MAX_TOKEN_ID_BYTES, MAX_USER_ID_BYTES
from tellwire.model import TokenStamp
from tellwire.text import repaired, require_id

# 9999-12-31, the last day that a timestamp can name.
_LATEST: Final = 253_402_214_400.0


class ShutOut(Struct, frozen=True, rename="camel"):
    """A user, or some of their tokens, until a time. Times are epoch seconds; `reason` is shown to the user.

    Raises:
        InvalidMessage: a field is not valid, or both kinds of tokens are named.
    """

    user_id: str
    until: float
    reason: str = ""
    token_id: str | None = None
    issued_before: float | None = None

    @classmethod
    def of(
        cls,
        user_id: str,
        until: float,
        reason: str = "",
        *,
        token_id: str | None = None,
        issued_before: float | None = None,
    ) -> "ShutOut":
        """Return a checked shut-out.

        Raises:
            InvalidMessage: a field is not valid, or both kinds of tokens are named.
        """
        user_id = require_id("user", user_id, MAX_USER_ID_BYTES)
        _require_time("until", until)
        if issued_before is not None:
            _require_time("issuedBefore", issued_before)
        if not isinstance(reason, str) or len(reason) > MAX_REASON_CHARACTERS:
            raise InvalidMessage("reason", reason, f"a text of at most {MAX_REASON_CHARACTERS} characters")
        if token_id is not None:
            token_id = require_id("tokenId", token_id, MAX_TOKEN_ID_BYTES)
            if issued_before is not None:
                raise InvalidMessage("issuedBefore", issued_before, "tokenId or issuedBefore, not both")
        return cls(user_id, float(until), repaired(reason), token_id, issued_before)

    @property
    def key(self) -> str:
        """The name of its kind: of one kind, a user has the newest shut-out only."""
        if self.token_id is not None:
            return f"token:{self.token_id}"
        return "user" if self.issued_before is None else "issued"

    def is_for(self, stamp: TokenStamp) -> bool:
        """Return True if a token with these traits is shut out."""
        if self.token_id is not None:
            return stamp.token_id == self.token_id
        if self.issued_before is not None:
            return stamp.issued_at is None or stamp.issued_at < self.issued_before
        return True

    @property
    def error(self) -> UserShutOut:
        """The error that a client gets."""
        return UserShutOut(self.until, self.reason)


def _require_time(name: str, seconds: float) -> None:
    if not 0 < seconds < _LATEST:
        raise InvalidMessage(name, seconds, "a time after 1970 and before the end of 9999")


def require_let_in(shut_outs: Iterable[ShutOut], stamp: TokenStamp, now: float) -> None:
    """Raise `UserShutOut` if one of a user's shut-outs is for a token with these traits."""
    found = [each for each in shut_outs if now < each.until and each.is_for(stamp)]
    if found:
        raise max(found, key=lambda each: each.until).error
