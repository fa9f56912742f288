"""Targets, deliveries and ids."""

import re
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from tellwire import model
from tellwire.errors import ConfigError, InvalidMessage
from tellwire.limits import MAX_CONNECTION_ID_BYTES, MAX_USER_ID_BYTES
from tellwire.model import (
    Delivery,
    Target,
    is_loopback,
    new_connection_id,
    new_message_id,
    require_api_key,
    timestamp,
)


def test_connection_ids_have_api_gateways_form() -> None:
    ids = {new_connection_id() for _ in range(200)}
    assert len(ids) == 200
    # 11 bytes are 88 bits: the last of 15 characters has two bits that are always 0.
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{14}[AEIMQUYcgkosw048]=", each) for each in ids)


def test_message_ids_do_not_repeat() -> None:
    assert len({new_message_id() for _ in range(1000)}) == 1000


def test_a_timestamp_is_the_moment_in_utc() -> None:
    assert timestamp(1_763_889_534.1239) == "2025-11-23T09:18:54.123Z"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_is_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["127.0.0.1.evil.example", "127.evil.example", "0.0.0.0", "", None, "10.0.0.1"])
def test_nothing_else_is(host: str | None) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("key", ["", "with space", "line\n", "schlüssel"])
def test_a_key_that_no_header_carries_is_refused_without_quoting_it(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        require_api_key(key)
    assert not key or key not in str(caught.value)


class SafeString(str):
    """A string as a template engine makes it."""

    __slots__ = ()


@pytest.mark.parametrize("field", ["user", "connection"])
def test_an_id_of_another_class_becomes_a_plain_string(field: str) -> None:
    given: dict[str, Any] = {field: SafeString("u1")}
    target = Target(**given)
    assert type(getattr(target, field)) is str
    assert type(Target(connections=(SafeString("c1"), "c2")).connection_ids[0]) is str


@pytest.mark.parametrize(
    ("field", "most"),
    [("user", MAX_USER_ID_BYTES), ("connection", MAX_CONNECTION_ID_BYTES)],
    ids=["user", "connection"],
)
def test_an_id_is_as_long_as_a_key_of_dynamodb_may_be(field: str, most: int) -> None:
    def target(text: str) -> Target:
        given: dict[str, Any] = {field: text}
        return Target(**given)

    for fits in ("a" * most, "é" * (most // 2), "🙂" * (most // 4)):
        assert getattr(target(fits), field) == fits
    for too_long in ("a" * (most + 1), "é" * (most // 2 + 1), "🙂" * (most // 4 + 1)):
        with pytest.raises(InvalidMessage, match=rf"target\.{field}: got .*; allowed: at most {most:,} bytes in UTF-8"):
            target(too_long)
    with pytest.raises(InvalidMessage, match="bytes in UTF-8"):
        Target(connections=("c1", "a" * (MAX_CONNECTION_ID_BYTES + 1)))


def test_deliveries_add_up() -> None:
    assert Delivery(1, 2, 3) + Delivery(10, 20, 30) == Delivery(11, 22, 33)


@pytest.mark.parametrize(
    "text", ['{"user":"u"}', '{"connection":"c"}', '{"connections":["a","b"]}', '{"connections":[]}', '{"all":true}']
)
def test_the_four_targets_are_read_and_written_the_same(text: str) -> None:
    assert msgspec.json.encode(msgspec.json.decode(text, type=Target)) == text.encode()


@pytest.mark.parametrize(
    "fields",
    [
        {"user": "half a character: \ud800"},
        {"connections": ("a", "\ud800")},
        {},
        {"user": "u", "all": True},
        {"user": ""},
        {"user": 5},
        {"connection": ""},
        {"connections": ("a", "")},
        {"connections": "abc"},
        {"connections": ["a"]},
        {"all": False},
        {"all": 1},
    ],
)
def test_any_other_target_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessage, match="target"):
        Target(**fields)


FORKS = """
import os
from tellwire.model import new_message_id
new_message_id()
child = os.fork()
ids = [new_message_id() for _ in range(200)]
if child:
    os.waitpid(child, 0)
print(*ids, flush=True)
"""


def test_message_ids_differ_also_in_a_forked_child() -> None:
    ran = subprocess.run([sys.executable, "-c", FORKS], check=True, capture_output=True, text=True, timeout=60)
    ids = ran.stdout.split()
    assert len(ids) == len(set(ids)) == 400
    assert all(re.fullmatch(r"t[0-9a-f]{24}", each) for each in ids)


def test_a_store_of_random_text_that_is_old_is_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    new_message_id()
    stored = list(model._message_ids._store)
    assert stored
    now = time.time()
    monkeypatch.setattr(model, "time", SimpleNamespace(time=lambda: now + 2))
    assert new_message_id() not in stored


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8787", "localhost", "LOCALHOST:1", "[::1]:80", "127.1.2.3"])
def test_a_host_header_of_this_machine_is_known(host: str) -> None:
    assert model.is_loopback_authority(host)


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "a{b.evil.test",
        "localhost.evil.test",
        "localhost@evil.test",
        "127.0.0.1:x",
        "[::1",
        "::1",
    ],
)
def test_any_other_host_header_is_not(host: str | None) -> None:
    assert not model.is_loopback_authority(host)
