"""Parsing of JSON Web Key Sets (RFC 7517). Pure.

A key set may hold keys for other uses, of other kinds, or too weak ones: they are skipped, and the reason is returned,
so that whoever fetched the set can log it. Two keys may have one `kid`, or none.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec

from tellwire.auth.keys import Check, Key
from tellwire.auth.public_keys import Kind, kind_of
from tellwire.errors import ConfigError, shown
from tellwire.limits import MAX_KEYS_IN_SET, MIN_RSA_BITS

# What RFC 9864 calls the two algorithms that EdDSA stands for.
_ALIASES: Final = {"Ed25519": "EdDSA", "Ed448": "EdDSA"}


class _Document(msgspec.Struct):
    keys: list[Any]


class KeySet(NamedTuple):
    """The usable keys of a set, and for each other entry why it was skipped."""

    keys: list[Key]
    skipped: list[str]

    def require_key(self) -> None:
        """Raise `ConfigError` if there is no usable key."""
        if not self.keys:
            why = f" ({'; '.join(self.skipped)[:300]})" if self.skipped else ""
            raise ConfigError(
                f"JWKS: no usable key{why}; allowed: signature keys: RSA of at least {MIN_RSA_BITS:,} bits, "
                "EC P-256, P-384 or P-521, Ed25519 or Ed448"
            )


class _Skipped(Exception):
    pass


def parse_jwks(document: str | bytes) -> KeySet:
    """Return the usable signature keys of a JWKS. A key without `alg` is for every algorithm of its kind.

    Raises:
        ConfigError: not a JWKS.
    """
    try:
        entries = msgspec.json.decode(document, type=_Document).keys
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ConfigError('JWKS: not a key set; allowed: {"keys": […]} as in RFC 7517') from error
    keys: list[Key] = []
    skipped: list[str] = []
    for entry in entries[:MAX_KEYS_IN_SET]:
        try:
            keys.append(_key(entry))
        except _Skipped as reason:
            skipped.append(str(reason))
    if len(entries) > MAX_KEYS_IN_SET:
        skipped.append(f"all keys after the first {MAX_KEYS_IN_SET}")
    return KeySet(keys, skipped)


def _key(entry: Any) -> Key:
    if not isinstance(entry, dict):
        raise _Skipped("an entry that is no object")
    name = f"key {shown(entry['kid'])}" if "kid" in entry else "a key without kid"
    kind = kind_of(entry)
    if kind is None:
        raise _Skipped(f"{name}: a key of another kind")
    if not isinstance(entry.get("kid", ""), str):
        raise _Skipped(f"{name}: its kid is no text")
    if entry.get("use", "sig") != "sig" or not _may_verify(entry.get("key_ops", ["verify"])):
        raise _Skipped(f"{name}: it is not for signatures")
    if "d" in entry:
        raise _Skipped(f"{name}: it is a private key, which does not belong in a key set")
    return Key(_checks(entry, kind, name), entry.get("kid"), _name_of(entry))


def _checks(entry: Mapping[str, Any], kind: Kind, name: str) -> Mapping[str, Check]:
    own = entry.get("alg")
    algorithms = kind.algorithms if own is None else kind.algorithms & {_ALIASES.get(str(own), str(own))}
    if not algorithms:
        raise _Skipped(f"{name}: its algorithm {shown(own)} is not one of its kind")
    try:
        key = kind.read(entry)
    except ValueError:
        raise _Skipped(f"{name}: it cannot be read") from None
    if key.rsa_bits is not None and key.rsa_bits < MIN_RSA_BITS:
        raise _Skipped(f"{name}: RSA with {key.rsa_bits:,} bits, and at least {MIN_RSA_BITS:,} are needed")
    return {algorithm: key.checks[algorithm] for algorithm in algorithms}


def _may_verify(operations: Any) -> bool:
    return isinstance(operations, list) and "verify" in operations


def _name_of(entry: Mapping[str, Any]) -> str:
    # As a thumbprint (RFC 7638): of the key itself, so that it keeps its name in another set or under another kid.
    members = sorted((name, str(entry[name])) for name in ("kty", "crv", "n", "e", "x", "y") if name in entry)
    return sha256(msgspec.json.encode(members)).hexdigest()[:32]
