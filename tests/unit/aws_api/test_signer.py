"""The cache of a signer changes no signature."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from tellwire.aws_api.sigv4 import Credentials, Signer, sha256_hex

# Few of each, so that one request is often like the last in all but one respect.
credentials = st.sampled_from(
    [Credentials(*parts) for parts in product(("AKID", "OTHER"), ("s3cret", "another"), (None, "t0ken"))]
)
headers = st.sampled_from([{"host": host, **more} for host, more in product("ab", ({}, {"x-amz-target": "Query"}))])
paths = st.sampled_from(["/prod/@connections/a%3D", "/prod/@connections/b", "/pröd/a b:c"])
moments = st.sampled_from([1_769_000_000.0, 1_769_000_000.9, 1_769_000_001.0, 1_769_100_000.0])


@given(st.lists(st.tuples(credentials, headers, paths, moments), min_size=2, max_size=12))
def test_one_signer_signs_every_request_as_a_new_one_would(
    requests: list[tuple[Credentials, dict[str, str], str, float]],
) -> None:
    signer = Signer("execute-api", "eu-central-1")
    for signed_by, given_headers, path, now in requests:
        signed = [
            each.sign(
                signed_by, method="POST", path=path, headers=given_headers, payload_hash=sha256_hex(b"hello"), now=now
            )
            for each in (signer, Signer("execute-api", "eu-central-1"))
        ]
        assert signed[0] == signed[1]


def test_changed_headers_of_a_caller_do_not_change_the_cache() -> None:
    signer = Signer("execute-api", "eu-central-1")

    def sign(headers: dict[str, str]) -> dict[str, str]:
        return signer.sign(
            Credentials("AKID", "s3cret"), method="GET", path="/", headers=headers, payload_hash="", now=0.0
        )

    given_headers = {"host": "a"}
    first = sign(given_headers)
    expected = dict(first)
    del first["host"]
    assert sign(given_headers) == expected
    given_headers["host"] = "b"
    assert sign(given_headers)["host"] == "b"
