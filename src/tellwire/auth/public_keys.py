"""Public keys of a JSON Web Key Set (RFC 7517, 7518 §6, 8037), as functions that check signatures. Pure.

Only those parts of `cryptography` are imported that checks need: certificates, ciphers and formats of files are most of
it, and would be a third of a cold start. Those of elliptic curves are imported with the first key of their kind: the
keys of Cognito, and most others, are RSA.
"""

from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tellwire.auth.keys import Check

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519

_Entry = Mapping[str, Any]


class PublicKey(NamedTuple):
    """A public key: a check for each algorithm of its kind. `rsa_bits` is the size of an RSA key, None for others."""

    checks: Mapping[str, Check]
    rsa_bits: int | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of public keys, with the algorithms that they may be used with."""

    algorithms: frozenset[str]
    _read: Callable[[_Entry], PublicKey]

    def read(self, entry: _Entry) -> PublicKey:
        """Return the key of an entry of a key set.

        Raises:
            ValueError: it cannot be read.
        """
        try:
            return self._read(entry)
        except (KeyError, TypeError, UnsupportedAlgorithm) as error:
            raise ValueError("a part is missing, or this machine cannot use it") from error


def kind_of(entry: _Entry) -> Kind | None:
    """Return the kind of an entry of a key set; None if its keys cannot be used here."""
    return _KINDS.get((str(entry.get("kty")), entry.get("crv") and str(entry["crv"])))


def _rsa(entry: _Entry) -> PublicKey:
    key = rsa.RSAPublicNumbers(_number(entry["e"]), _number(entry["n"])).public_key()
    checks: dict[str, Check] = {}
    for size, algorithm in _HASHES.items():
        # The salt is as long as the hash (RFC 7518 §3.5).
        probabilistic = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
        checks[f"RS{size}"] = partial(_is_of_rsa_key, key, padding.PKCS1v15(), algorithm)
        checks[f"PS{size}"] = partial(_is_of_rsa_key, key, probabilistic, algorithm)
    return PublicKey(checks, key.key_size)


def _ec(curve_name: str, algorithm: str, size: int, entry: _Entry) -> PublicKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    curve: ec.EllipticCurve = getattr(ec, curve_name)()
    x, y = _bytes(entry["x"]), _bytes(entry["y"])
    length = (curve.key_size + 7) // 8
    if not len(x) == len(y) == length:
        raise ValueError("a coordinate has another length than its curve")
    key = ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), curve).public_key()
    return PublicKey({algorithm: partial(_is_of_ec_key, key, length, ec.ECDSA(_HASHES[size]))})


def _ed25519(entry: _Entry) -> PublicKey:
    from cryptography.hazmat.primitives.asymmetric import ed25519

    key = ed25519.Ed25519PublicKey.from_public_bytes(_bytes(entry["x"]))
    return PublicKey({"EdDSA": partial(_is_of_edwards_key, key)})


def _ed448(entry: _Entry) -> PublicKey:
    from cryptography.hazmat.primitives.asymmetric import ed448

    key = ed448.Ed448PublicKey.from_public_bytes(_bytes(entry["x"]))
    return PublicKey({"EdDSA": partial(_is_of_edwards_key, key)})


def _is_of_rsa_key(
    key: rsa.RSAPublicKey, scheme: Any, algorithm: hashes.HashAlgorithm, signed: bytes, signature: bytes
) -> bool:
    try:
        key.verify(signature, signed, scheme, algorithm)
    except InvalidSignature:
        return False
    return True


def _is_of_ec_key(
    key: "ec.EllipticCurvePublicKey", length: int, algorithm: "ec.ECDSA", signed: bytes, signature: bytes
) -> bool:
    # Two numbers of fixed length, one behind the other (RFC 7518 §3.4); OpenSSL has them in DER.
    if len(signature) != 2 * length:
        return False
    numbers = encode_dss_signature(int.from_bytes(signature[:length]), int.from_bytes(signature[length:]))
    try:
        key.verify(numbers, signed, algorithm)
    except InvalidSignature:
        return False
    return True


def _is_of_edwards_key(key: "ed25519.Ed25519PublicKey | ed448.Ed448PublicKey", signed: bytes, signature: bytes) -> bool:
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def _number(text: Any) -> int:
    return int.from_bytes(_bytes(text))


def _bytes(text: Any) -> bytes:
    # Providers write some of these with padding.
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


_HASHES: Final[Mapping[int, hashes.HashAlgorithm]] = {
    256: hashes.SHA256(),
    384: hashes.SHA384(),
    512: hashes.SHA512(),
}
_EDDSA: Final = frozenset({"EdDSA"})
_KINDS: Final[Mapping[tuple[str, str | None], Kind]] = {
    ("RSA", None): Kind(frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}), _rsa),
    ("EC", "P-256"): Kind(frozenset({"ES256"}), partial(_ec, "SECP256R1", "ES256", 256)),
    ("EC", "P-384"): Kind(frozenset({"ES384"}), partial(_ec, "SECP384R1", "ES384", 384)),
    ("EC", "P-521"): Kind(frozenset({"ES512"}), partial(_ec, "SECP521R1", "ES512", 512)),
    ("OKP", "Ed25519"): Kind(_EDDSA, _ed25519),
    ("OKP", "Ed448"): Kind(_EDDSA, _ed448),
}

ALGORITHMS: Final = frozenset[str]().union(*(kind.algorithms for kind in _KINDS.values()))
"""The algorithms of keys in a key set."""
