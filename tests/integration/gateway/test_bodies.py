"""Compressed bodies: taken within their bounds, or refused in clear words."""

import gzip
import json
import zlib
from typing import Any

import pytest

from tellwire.limits import MAX_BATCH_BYTES, MAX_PUBLISH_BYTES
from tests.conftest import Gateway
from tests.integration.gateway.test_http_api import HELLO, call

PUBLISH = json.dumps({"target": {"user": "u"}, "message": HELLO}).encode()


def packed(data: bytes) -> bytes:
    # With one time, so that the names of the tests are the same in each process.
    return gzip.compress(data, mtime=0)


def raw_deflate(data: bytes) -> bytes:
    encoder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return encoder.compress(data) + encoder.flush()


async def publish(gateway: Gateway, body: bytes, encoding: str, path: str = "publish") -> tuple[int, Any]:
    status, answer, _ = await call(gateway, "POST", f"/v1/{path}", body, **{"Content-Encoding": encoding})
    return status, answer


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", packed(PUBLISH)),
        ("GZIP", packed(PUBLISH)),
        ("x-gzip", packed(PUBLISH)),
        ("gzip", packed(PUBLISH[:20]) + packed(b"") + packed(PUBLISH[20:]) + bytes(7)),
        ("deflate", zlib.compress(PUBLISH)),
        ("deflate", zlib.compress(PUBLISH, 0)),
        ("deflate", raw_deflate(PUBLISH)),
        ("identity", PUBLISH),
        ("", PUBLISH),
        ("identity, gzip", packed(PUBLISH)),
    ],
)
async def test_a_compressed_body_is_read(gateway: Gateway, encoding: str, body: bytes) -> None:
    status, answer = await publish(gateway, body, encoding)
    assert (status, answer.get("delivered")) == (200, 0)


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "deflate, gzip", "nonsense"])
async def test_another_encoding_is_refused_by_name(gateway: Gateway, encoding: str) -> None:
    status, answer, headers = await call(gateway, "POST", "/v1/publish", PUBLISH, **{"Content-Encoding": encoding})
    assert (status, answer["code"]) == (415, "CONTENT_ENCODING_UNKNOWN")
    assert answer["message"] == f"Content-Encoding: got '{encoding}'; allowed: gzip, deflate, or none"
    assert headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", PUBLISH),
        ("gzip", packed(PUBLISH)[:-3]),
        ("gzip", packed(PUBLISH)[:5]),
        ("gzip", packed(PUBLISH) + b"more"),
        ("gzip", packed(PUBLISH) + packed(b"") * 200),
        ("deflate", zlib.compress(PUBLISH) + b"more"),
        ("deflate", zlib.compress(PUBLISH)[:-3]),
        ("gzip", b""),
    ],
)
async def test_a_body_that_is_not_what_it_says_is_a_400(gateway: Gateway, encoding: str, body: bytes) -> None:
    status, answer = await publish(gateway, body, encoding)
    assert (status, answer["code"]) == (400, "BAD_REQUEST")
    assert "cannot be decompressed" in answer["message"]


@pytest.mark.parametrize(("path", "bound"), [("publish", MAX_PUBLISH_BYTES), ("publish/batch", MAX_BATCH_BYTES)])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_small_body_that_becomes_a_huge_one_is_a_413(
    gateway: Gateway, path: str, bound: int, encoding: str
) -> None:
    compress = packed if encoding == "gzip" else zlib.compress
    status, answer = await publish(gateway, compress(b" " * 100_000_000), encoding, path)
    assert (status, answer["code"]) == (413, "BODY_TOO_BIG")
    assert f"{bound:,} bytes" in answer["message"]


async def test_a_compressed_batch_may_have_as_many_bytes_as_another(gateway: Gateway) -> None:
    lines = b"\n".join([PUBLISH] * 1000)
    status, answer = await publish(gateway, packed(lines), "gzip", "publish/batch")
    assert (status, answer.count(b'"delivered":0')) == (200, 1000)
