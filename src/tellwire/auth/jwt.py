"""Verification of JSON Web Tokens (RFC 7519): the signature with a trusted key, then the claims by configured rules.

    token ─▶ compact: its parts ─▶ keys that may have signed it ─▶ a key's own check ─▶ claims, user, expiry

A token does not choose its own verification: the keys pin the algorithms, and keys in the header are ignored (RFC 8725
§3.1, §3.10).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tellwire.auth.claims import ClaimRules, expiry_of, optional_text, user_of
from tellwire.auth.compact import SignedToken, claims_of, read_token
from tellwire.auth.keys import Key, KeySource
from tellwire.errors import KeysUnavailable, TokenInvalid, TokenMissing
from tellwire.limits import JWT_LEEWAY_SECONDS
from tellwire.model import Identity, TokenStamp
from tellwire.ports import Clock, SystemClock


@dataclass(frozen=True, slots=True)
class Trust:
    """A source of keys, and the rules for tokens that its keys have signed."""

    keys: KeySource
    rules: ClaimRules


class JwtAuthenticator:
    """An `Authenticator` for JWTs. A token without `exp` is refused.

    `user_claim` names the claim with the user's id; `leeway_seconds` is allowed at `nbf` and `iat`.
    """

    def __init__(
        self,
        trusts: Iterable[Trust],
        clock: Clock | None = None,
        *,
        user_claim: str = "sub",
        leeway_seconds: float = JWT_LEEWAY_SECONDS,
    ) -> None:
        self._trusts = tuple(trusts)
        self._fetching = tuple(trust for trust in self._trusts if not trust.keys.is_quick)
        self._clock = clock or SystemClock()
        self._user_claim = user_claim
        self._leeway_seconds = leeway_seconds

    async def authenticate(self, token: str) -> Identity:
        signed, trusts = self._read(token)
        for trust in trusts:
            await trust.keys.renew()
        # First the keys at hand: a provider that is away must not delay the tokens of another.
        found = _signer(signed, trusts) or await self._fetched(signed, trusts)
        return self._identity(signed, *found)

    def authenticate_at_once(self, token: str) -> Identity | None:
        """Return the identity in a token that a key at hand has signed; None: `authenticate` must be asked.

        Raises:
            TokenRefused: the token is not valid.
        """
        signed, trusts = self._read(token)
        found = None if self.must_renew else _signer(signed, trusts)
        return None if found is None else self._identity(signed, *found)

    def _read(self, token: str) -> tuple[SignedToken, list[Trust]]:
        """Return the parts of a token, and whom of our trusts it may be from."""
        if not token:
            raise TokenMissing
        signed = read_token(token)
        trusts = [trust for trust in self._trusts if trust.keys.takes(signed.header)]
        if not trusts:
            raise TokenInvalid("its algorithm is not one of our keys")
        return signed, trusts

    async def renew(self) -> None:
        """Fetch the key sets that are too old."""
        for trust in self._trusts:
            await trust.keys.renew()

    @property
    def must_renew(self) -> bool:
        """True if `renew` would fetch a key set now."""
        return any(trust.keys.must_renew for trust in self._fetching) if self._fetching else False

    def trusts(self, name: str) -> bool:
        """Return True if the key of this name is one that tokens are verified with."""
        return any(trust.keys.trusts(name) for trust in self._trusts)

    def is_quick(self, name: str) -> bool:
        """Return True if tokens of the key of this name are verified faster than a cache is asked."""
        return not any(trust.keys.trusts(name) for trust in self._fetching) if self._fetching else True

    async def _fetched(self, token: SignedToken, trusts: Sequence[Trust]) -> tuple[Trust, Key]:
        """Return the key of a token that no key at hand has signed, fetched for it."""
        header = token.header
        is_unavailable = False
        for trust in trusts:
            try:
                has_changed = await trust.keys.fetch(header)
            except KeysUnavailable:
                is_unavailable = True
                continue
            if has_changed and (found := _signer(token, [trust])) is not None:
                return found
        if is_unavailable:
            raise KeysUnavailable
        if any(trust.keys.known(header) for trust in trusts):
            raise TokenInvalid("its signature is not by our key")
        raise TokenInvalid("its key (kid) is not in the key set, or not for its algorithm")

    def _identity(self, token: SignedToken, trust: Trust, key: Key) -> Identity:
        claims = claims_of(token)
        user_id = user_of(claims, self._user_claim)
        trust.rules.check(claims)
        expires_at = expiry_of(claims, self._clock.now(), self._leeway_seconds)
        issued_at = None if claims.get("iat") is None else float(claims["iat"])
        stamp = TokenStamp(key.name, optional_text(claims, "jti"), issued_at)
        return Identity(user_id, expires_at, claims, stamp)


def _signer(token: SignedToken, trusts: Iterable[Trust]) -> tuple[Trust, Key] | None:
    """Return the key at hand that has signed a token; None if none has."""
    for trust in trusts:
        for key in trust.keys.known(token.header):
            if key.checks[token.header["alg"]](token.signed, token.signature):
                return trust, key
    return None
