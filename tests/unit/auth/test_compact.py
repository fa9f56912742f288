"""Tokens in their compact form and their signatures, beside PyJWT's own as an oracle."""

import base64
import hmac
import json
import string
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tellwire.auth import keys
from tellwire.auth.compact import SignedToken, claims_of, encoded, read_token
from tellwire.auth.jwk import parse_jwks
from tellwire.auth.keys import Key, Secrets
from tellwire.errors import TokenInvalid

SECRET = "s" * 32 + "t" * 32
CLAIMS = b'{"sub":"user-1","exp":1700000060}'
BASE64URL = string.ascii_letters + string.digits + "-_"

_RSA = rsa.generate_private_key(65537, 2048)
PRIVATE: dict[str, Any] = {
    **dict.fromkeys(["HS256", "HS384", "HS512"], SECRET.encode()),
    **dict.fromkeys(["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"], _RSA),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    "Ed448": ed448.Ed448PrivateKey.generate(),
}
REGISTERED = ["exp", "nbf", "iat", "aud", "iss", "sub", "jti"]
# Of the claims, only that they are read alike: their values are checked elsewhere, by other rules.
_READ_ONLY: Any = {f"verify_{claim}": False for claim in REGISTERED}
OF_PYJWT = jwt.algorithms.get_default_algorithms()


def algorithm_of(kind: str) -> str:
    return "EdDSA" if kind == "Ed448" else kind


def key_of(kind: str) -> Key:
    """Return our key for a kind: of a secret, or read from a key set as PyJWT writes it."""
    if kind.startswith("HS"):
        return Secrets([SECRET]).known({"alg": kind})[0]
    entry = json.loads(OF_PYJWT[algorithm_of(kind)].to_jwk(PRIVATE[kind].public_key()))
    (key,) = parse_jwks(json.dumps({"keys": [entry]})).keys
    return key


KEYS = {kind: key_of(kind) for kind in PRIVATE}


def signed(kind: str, header: Any = None, claims: bytes = CLAIMS) -> str:
    """Return a token of these bytes, signed by PyJWT's primitives. A header is JSON already, or an object."""
    header = {"alg": algorithm_of(kind)} if header is None else header
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    text = base64url(head) + b"." + base64url(claims)
    return (text + b"." + base64url(OF_PYJWT[algorithm_of(kind)].sign(text, PRIVATE[kind]))).decode()


def base64url(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def ours(token: str, kind: str) -> Any:
    """Return the claims that we find in a token with this key alone; None if we refuse it."""
    try:
        read = read_token(token)
        check = KEYS[kind].checks.get(read.header["alg"])
        return claims_of(read) if check is not None and check(read.signed, read.signature) else None
    except TokenInvalid:
        return None


def of_oracle(token: str, kind: str) -> Any:
    """Return the claims that PyJWT finds in a token with the same key and algorithms; None if it refuses it."""
    key = PRIVATE[kind] if kind.startswith("HS") else PRIVATE[kind].public_key()
    algorithms = list(KEYS[kind].checks)
    try:
        return jwt.decode(token, key, algorithms=algorithms, options=_READ_ONLY)
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None


def equal(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)  # 1 == True aside


def is_plain(value: Any) -> bool:
    """Return False for NaN and infinity, which are no JSON, although Python writes and reads them."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
HEADERS = st.builds(
    lambda alg, more: {"alg": alg} | more,
    st.sampled_from([*PRIVATE, "none", "None", "hs256", "", None, 5]),
    st.dictionaries(st.sampled_from(["kid", "typ", "crit", "b64", "jwk", "cty", "x"]), JSON, max_size=2),
)
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["replace", "insert", "delete", "append", "cut"]),
        st.integers(0, 10_000),
        st.sampled_from(BASE64URL + "=.+/ \n\0é"),
    ),
    max_size=2,
)


def edited(token: str, edits: list[tuple[str, int, str]]) -> str:
    for how, where, character in edits:
        at = where % (len(token) + 1)
        match how:
            case "replace":
                token = token[:at] + character + token[at + 1 :]
            case "insert":
                token = token[:at] + character + token[at:]
            case "delete":
                token = token[:at] + token[at + 1 :]
            case "append":
                token += character
            case _:
                token = token[:at]
    return token


@pytest.mark.parametrize("kind", PRIVATE)
def test_every_algorithm_is_that_of_the_oracle(kind: str) -> None:
    token = signed(kind)
    assert ours(token, kind) == of_oracle(token, kind) == json.loads(CLAIMS)


@pytest.mark.parametrize("kind", PRIVATE)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_another_signature_is_refused_whatever_it_is(kind: str, data: st.DataObject) -> None:
    token = signed(kind)
    good = read_token(token).signature
    near = st.integers(0, len(good) * 8 - 1).map(lambda bit: (int.from_bytes(good) ^ 1 << bit).to_bytes(len(good)))
    edges = st.sampled_from([b"\0", b"\xff"]).map(lambda byte: byte * len(good))
    sizes = st.integers(1, len(good) - 1).map(lambda size: good[:size]) | st.just(good + b"\0")
    signature = data.draw(near | edges | sizes | st.binary(min_size=1, max_size=140))
    other = token.rpartition(".")[0] + "." + base64url(signature).decode()
    assert equal(ours(other, kind), of_oracle(other, kind))
    assert (ours(other, kind) is None) == (signature != good)


@pytest.mark.parametrize("kind", ["ES256", "ES384", "ES512"])
def test_the_two_numbers_of_a_signature_have_one_length(kind: str) -> None:
    text, _, signature = signed(kind).rpartition(".")
    numbers = _bytes(signature)
    half = len(numbers) // 2
    for other in (numbers[:half] + b"\0" + numbers[half:], b"\0" + numbers[:half] + b"\0" + numbers[half:]):
        token = f"{text}.{base64url(other).decode()}"
        assert ours(token, kind) is None
        assert of_oracle(token, kind) is None


@given(kind=st.sampled_from([kind for kind in PRIVATE if kind != "PS512"]), edits=EDITS)
@example(kind="HS256", edits=[("append", 0, "=")])
@settings(max_examples=400, deadline=None)
def test_an_edited_token_is_accepted_only_if_the_oracle_accepts_it(
    kind: str, edits: list[tuple[str, int, str]]
) -> None:
    token = edited(signed(kind), edits)
    found = ours(token, kind)
    if found is not None:
        assert equal(found, of_oracle(token, kind))
    elif set(token) <= {*BASE64URL, "."}:
        assert of_oracle(token, kind) is None


@given(kind=st.sampled_from(["HS256", "HS512", "ES256", "EdDSA"]), header=HEADERS)
@settings(max_examples=300, deadline=None)
def test_a_header_is_accepted_as_by_the_oracle_or_has_an_extension(kind: str, header: dict[str, Any]) -> None:
    token = signed(kind, header)
    if "crit" in header or "b64" in header or not is_plain(header):
        assert ours(token, kind) is None
    else:
        assert equal(ours(token, kind), of_oracle(token, kind))


@given(claims=st.one_of(JSON, st.dictionaries(st.text(max_size=5) | st.sampled_from(REGISTERED), JSON, max_size=4)))
@settings(max_examples=300, deadline=None)
def test_claims_are_those_of_the_oracle(claims: Any) -> None:
    token = signed("HS256", claims=json.dumps(claims).encode())
    if not is_plain(claims):
        assert ours(token, "HS256") is None  # no JSON: RFC 7519 §7.2
    else:
        assert equal(ours(token, "HS256"), of_oracle(token, "HS256"))


@pytest.mark.parametrize(
    "claims",
    [
        b'{"name":"caf\\udce9 \\ud83d"}',
        b'{"n":1000000000000000000000000000000,"m":-170141183460469231731687303715884105729}',
        b'{"a":1,"a":2}',
        b' {"a": [1.5e3, -0.0, 1E5]}\n',
        b"[" * 100_000,
        b'{"a":' * 20_000,
        b"",
        b"{}x",
        b"[]",
        b'"sub"',
        b'{"a":"\xff"}',
        b'{"a":"\x00"}',
        b'{"a":01}',
    ],
)
def test_odd_claims_are_those_of_the_oracle(claims: bytes) -> None:
    read = SignedToken({"alg": "HS256"}, b"", claims, b"")
    oracle = of_oracle(signed("HS256", claims=claims), "HS256")
    if oracle is None:
        with pytest.raises(TokenInvalid, match="malformed"):
            claims_of(read)
    else:
        assert equal(claims_of(read), oracle)


@pytest.mark.parametrize("claims", ['{"sub":"u"}'.encode("utf-16"), b'\xef\xbb\xbf{"sub":"u"}', b'{"a":1e400}'])
def test_claims_in_anything_but_plain_json_are_refused(claims: bytes) -> None:
    with pytest.raises(TokenInvalid, match="malformed"):
        claims_of(SignedToken({"alg": "HS256"}, b"", claims, b""))


def test_each_part_has_one_spelling() -> None:
    header, claims, signature = signed("HS256", {"alg": "HS256", "kid": "k"}, b'{"sub":"u"}').split(".")
    for parts in ((header, claims, signature), (signature, header, claims)):
        for number, part in enumerate(parts):
            # The same bytes, by the bits of the last character that decoders ignore.
            twins = [part[:-1] + last for last in BASE64URL if _bytes(part[:-1] + last) == _bytes(part)]
            spellings = {".".join([*parts[:number], twin, *parts[number + 1 :]]) for twin in twins}
            assert len(spellings) == {0: 1, 2: 16, 3: 4}[len(part) % 4]
            assert len([each for each in spellings if _is_read(each)]) <= 1


def _bytes(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _is_read(token: str) -> bool:
    try:
        read_token(token)
    except TokenInvalid:
        return False
    return True


@given(part=st.binary(max_size=50))
def test_base64url_is_without_padding(part: bytes) -> None:
    assert encoded(part) == base64url(part)


@pytest.mark.parametrize("kind", PRIVATE)
def test_a_key_has_no_check_for_an_algorithm_of_another_kind(kind: str) -> None:
    own = {each for each in PRIVATE if PRIVATE[each] is PRIVATE[kind]}
    assert KEYS[kind].checks.keys() == {algorithm_of(each) for each in own}


@given(
    secret=st.binary(max_size=200), text=st.binary(max_size=100), algorithm=st.sampled_from(["HS256", "HS384", "HS512"])
)
def test_a_secret_signs_as_the_standard_library_does(secret: bytes, text: bytes, algorithm: str) -> None:
    sign = keys.hmac_with(secret, algorithm)
    expected = hmac.digest(secret, text, f"sha{algorithm[2:]}")
    assert sign(text) == sign(text) == expected


def test_signatures_of_secrets_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(len(one))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(keys, "compare_digest", compare)
    for kind in ("HS256", "HS384", "HS512"):
        assert ours(signed(kind), kind)
    assert compared == [32, 48, 64]
