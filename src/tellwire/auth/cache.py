"""Cache of verified tokens until they expire, so that clients that reconnect are not verified again.

The key is a digest of the token: the contents of the cache cannot be used to connect.
"""

import hashlib

from tellwire.limits import CACHED_TOKENS
from tellwire.model import Identity
from tellwire.ports import Authenticator, Clock, SystemClock


class TokenCache:
    """An `Authenticator` that calls another one once per valid token.

    Refusals are not cached: the other one may fetch a new key meanwhile.
    """

    def __init__(
        self, authenticator: Authenticator, clock: Clock | None = None, max_tokens: int = CACHED_TOKENS
    ) -> None:
        self._authenticator = authenticator
        self._clock = clock or SystemClock()
        self._max_tokens = max_tokens
        self._identities: dict[bytes, Identity] = {}

    async def authenticate(self, token: str) -> Identity:
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        known = self._identities.get(digest)
        if known is not None and self._clock.now() < known.expires_at:
            return known
        self._identities.pop(digest, None)
        identity = await self._authenticator.authenticate(token)
        if len(self._identities) >= self._max_tokens:
            self._identities.pop(next(iter(self._identities)))
        self._identities[digest] = identity
        return identity
