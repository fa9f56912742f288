"""Keys that verify tokens, and the sources they come from.

    header of a token ─▶ KeySource.known ─▶ the few keys that may have signed it ─▶ the signature decides

A source pins the algorithms of each of its keys; a token chooses among the keys, never an algorithm that a key does not
have: there is no function for it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from hmac import compare_digest, new
from typing import Any, Final, Protocol

from tellwire.errors import ConfigError
from tellwire.limits import MAX_KEYS_TRIED, MIN_SECRET_BYTES

# The key of an HMAC is at least as long as its hash (RFC 7518 §3.2).
_HMAC_BYTES: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
_HASHES: Final = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}

# The first bytes of public keys as OpenSSH writes them, the mark of all that is in PEM, and that of a JSON Web Key.
_SSH_KINDS: Final = ("ssh-", "ecdsa-sha2-")
_MARKS: Final = ("-----BEGIN ", "---- BEGIN ", '"kty"')

Check = Callable[[bytes, bytes], bool]
"""Return True if a text was signed with a key: `check(signed, signature)`."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key, as the checks of the algorithms it may be used with.

    `key_id` is its `kid`, None without one. `name` is a digest of the key: it tells keys apart, and is no secret.
    """

    checks: Mapping[str, Check] = field(repr=False)
    key_id: str | None
    name: str


class KeySource(Protocol):
    """A source of keys for tokens."""

    @property
    def is_quick(self) -> bool:
        """True if a signature is checked faster than a cache of tokens is asked."""
        ...

    def takes(self, header: Mapping[str, Any]) -> bool:
        """Return False if no key of this kind of source can have signed a token with this header."""
        ...

    def known(self, header: Mapping[str, Any]) -> Sequence[Key]:
        """Return the keys at hand that may have signed a token with this header, at most `MAX_KEYS_TRIED`."""
        ...

    def trusts(self, name: str) -> bool:
        """Return True if the key of this name is one of the keys at hand."""
        ...

    @property
    def must_renew(self) -> bool:
        """True if `renew` would fetch the keys now."""
        ...

    async def renew(self) -> None:
        """Fetch the keys again if they are too old. Failures are logged, and the keys at hand stay."""
        ...

    async def fetch(self, header: Mapping[str, Any]) -> bool:
        """Fetch the keys again, since none at hand has signed this token. False: nothing has changed.

        Raises:
            KeysUnavailable: they cannot be fetched at the moment, so nobody knows whether the token is valid.
        """
        ...


class Secrets:
    """HMAC secrets, shared with the programs that make the tokens. Several, while one replaces another.

    A secret of 32 bytes is for HS256, one of 48 also for HS384, one of 64 also for HS512.

    Raises:
        ConfigError: a secret is shorter than 32 bytes, or is a key that others may know.
    """

    is_quick = True
    must_renew = False

    def __init__(self, secrets: Iterable[str]) -> None:
        self._keys = [_secret_key(secret) for secret in secrets]
        self._names = frozenset(key.name for key in self._keys)

    def takes(self, header: Mapping[str, Any]) -> bool:
        return header.get("alg") in _HMAC_BYTES

    def known(self, header: Mapping[str, Any]) -> list[Key]:
        return [key for key in self._keys if header.get("alg") in key.checks][:MAX_KEYS_TRIED]

    def trusts(self, name: str) -> bool:
        return name in self._names

    async def renew(self) -> None:
        """Do nothing: secrets are not fetched."""

    async def fetch(self, header: Mapping[str, Any]) -> bool:
        return False


def hmac_with(secret: bytes, algorithm: str) -> Callable[[bytes], bytes]:
    """Return the function that signs a text with a secret: HMAC, of which the part before the text is done once."""
    prepared = new(secret, digestmod=_HASHES[algorithm])

    def sign(text: bytes) -> bytes:
        signature = prepared.copy()
        signature.update(text)
        return signature.digest()

    return sign


def _secret_key(text: str) -> Key:
    secret = text.encode()
    if len(secret) < MIN_SECRET_BYTES:
        raise ConfigError(f"JWT secret: got {len(secret)} bytes; allowed: at least {MIN_SECRET_BYTES} (RFC 7518)")
    if text.startswith(_SSH_KINDS) or any(mark in text for mark in _MARKS):
        # Whoever knows the public key could make tokens.
        raise ConfigError("JWT secret: got a public key or a certificate; allowed: a secret; for keys: a key set")
    fitting = [name for name, size in _HMAC_BYTES.items() if len(secret) >= size]
    checks = {name: partial(_is_of_secret, hmac_with(secret, name)) for name in fitting}
    return Key(checks, None, sha256(b"tellwire secret " + secret).hexdigest()[:32])


def _is_of_secret(sign: Callable[[bytes], bytes], signed: bytes, signature: bytes) -> bool:
    return compare_digest(sign(signed), signature)
