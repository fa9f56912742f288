"""Cache of verified tokens, so that clients that reconnect are not verified again.

Tokens with a secret are not kept: looking them up would cost as much as verifying them, and each takes a kilobyte.
An entry counts as long as its token has not expired, the key that verified it is trusted, and the entry is not older
than a key set may be. The key of an entry is a digest of what was signed: neither can its contents be used to connect,
nor can a client fill the cache with several signatures of one token.
"""

import sys
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Protocol

from tellwire.limits import CACHED_TOKENS, JWKS_MAX_AGE_SECONDS, TOKEN_CACHE_BYTES
from tellwire.model import Identity
from tellwire.ports import Clock, SystemClock

# The entry itself, its two digests, the identity, the stamp and the slot of the dictionary, as measured.
_ENTRY_BYTES: Final = 900


class Verifier(Protocol):
    """An `Authenticator` that knows which keys it trusts."""

    async def authenticate(self, token: str) -> Identity: ...

    def authenticate_at_once(self, token: str) -> Identity | None:
        """Return the identity in a token that a key at hand has signed; None: `authenticate` must be asked."""
        ...

    @property
    def must_renew(self) -> bool:
        """True if `renew` would fetch keys now."""
        ...

    async def renew(self) -> None:
        """Fetch the keys that are too old."""
        ...

    def is_quick(self, name: str) -> bool:
        """Return True if tokens of the key of this name are verified faster than a cache is asked."""
        ...

    def trusts(self, name: str) -> bool:
        """Return True if the key of this name is trusted."""
        ...


@dataclass(frozen=True, slots=True)
class _Entry:
    signature: bytes
    identity: Identity
    verified_at: float
    size_bytes: int


class TokenCache:
    """An `Authenticator` that calls a `Verifier` once per valid token, apart from those that are verified quickly.

    Refusals are not cached: the verifier may fetch a new key meanwhile.
    """

    def __init__(
        self,
        verifier: Verifier,
        clock: Clock | None = None,
        max_tokens: int = CACHED_TOKENS,
        max_bytes: int = TOKEN_CACHE_BYTES,
    ) -> None:
        self._verifier = verifier
        self._clock = clock or SystemClock()
        self._max_tokens = max_tokens
        self._max_bytes = max_bytes
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self.size_bytes = 0

    async def authenticate(self, token: str) -> Identity:
        # Also when the token is known: nothing else may ask for keys in a long time.
        await self._verifier.renew()
        known = self._known(token)
        if known is None:
            known = await self._verifier.authenticate(token)
            self._keep(token, known)
        return known

    def authenticate_at_once(self, token: str) -> Identity | None:
        """Return the identity in a token if nothing must be waited for; None: `authenticate` must be asked.

        Raises:
            TokenRefused: the token is not valid.
        """
        known = None
        if self._entries:
            if self._verifier.must_renew:
                return None
            known = self._known(token)
        if known is None:
            known = self._verifier.authenticate_at_once(token)
            if known is not None:
                self._keep(token, known)
        return known

    async def renew(self) -> None:
        """Fetch the keys that are too old."""
        await self._verifier.renew()

    def trusts(self, name: str) -> bool:
        """Return True if the key of this name is trusted."""
        return self._verifier.trusts(name)

    def replace(self, verifier: Verifier) -> None:
        """Use another verifier from now on. Tokens stay that were verified by keys that it trusts as well."""
        self._verifier = verifier

    def _known(self, token: str) -> Identity | None:
        signed, signature = _digests(token)
        entry = self._entries.get(signed)
        if entry is None or entry.signature != signature or not self._is_good(entry):
            return None
        self._entries.move_to_end(signed)
        return entry.identity

    def _is_good(self, entry: _Entry) -> bool:
        return (
            self._clock.now() < entry.identity.expires_at
            and self._clock.monotonic() - entry.verified_at <= JWKS_MAX_AGE_SECONDS
            and self._verifier.trusts(entry.identity.stamp.key)
        )

    def _keep(self, token: str, identity: Identity) -> None:
        if self._verifier.is_quick(identity.stamp.key):
            return
        signed, signature = _digests(token)
        self._drop(signed)
        entry = _Entry(signature, identity, self._clock.monotonic(), _ENTRY_BYTES + _size(identity.claims))
        self._entries[signed] = entry
        self.size_bytes += entry.size_bytes
        while self._entries and (len(self._entries) > self._max_tokens or self.size_bytes > self._max_bytes):
            self._drop(next(iter(self._entries)))

    def _drop(self, signed: bytes) -> None:
        dropped = self._entries.pop(signed, None)
        if dropped is not None:
            self.size_bytes -= dropped.size_bytes


def _digests(token: str) -> tuple[bytes, bytes]:
    """Return the digests of the signed part of a token, and of its signature."""
    head, dot, tail = token.rpartition(".")
    return _digest(head if dot else token), _digest(tail)


def _digest(part: str) -> bytes:
    return sha256(part.encode("utf-8", "surrogateescape")).digest()


def _size(value: Any) -> int:
    """Return the bytes that a JSON value takes up in memory, its parts included."""
    size = sys.getsizeof(value)
    if isinstance(value, dict):
        return size + sum(_size(name) + _size(each) for name, each in value.items())
    if isinstance(value, list):
        return size + sum(map(_size, value))
    return size
