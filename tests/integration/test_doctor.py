"""`tellwire doctor` on good and on broken configurations, with the real things."""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path

import pytest

from tellwire.auth import mint_token
from tellwire.cli.doctor.findings import ERROR, OK, WARNING
from tellwire.cli.doctor.machine import descriptor_finding
from tellwire.cli.doctor.proxy import SeenAddress, address_finding
from tellwire.cli.doctor.redis_store import redis_findings
from tellwire.cli.doctor.tokens import skew_finding
from tests.conftest import API_KEY, SECRET, StartGateway
from tests.integration.test_cli import COMMAND, own_state
from tests.nginx import nginx
from tests.redis_server import running
from tests.tools import require

__all__ = ["own_state"]

GOOD = {
    "TELLWIRE_JWT_SECRET": SECRET,
    "TELLWIRE_API_KEY": API_KEY,
    "TELLWIRE_PORT": "0",
    "TELLWIRE_MAX_CONNECTIONS": "100",
}
Findings = dict[str, tuple[str, str]]


async def examined(*arguments: str, prefix: tuple[str, ...] = (), **changed: str) -> tuple[int, Findings]:
    """Return the exit code, and level and words of each check."""
    process = await asyncio.create_subprocess_exec(
        *prefix, *COMMAND, "doctor", "--json", *arguments, env=os.environ | GOOD | changed, stdout=-1, stderr=-1
    )
    out, err = await asyncio.wait_for(process.communicate(), 100)
    assert b"Traceback" not in err, err
    found = [json.loads(line) for line in out.splitlines()]
    assert all(each.get("remedy") for each in found if each["level"] != OK)
    assert SECRET not in out.decode()
    assert API_KEY not in out.decode()
    return process.returncode or 0, {each["check"]: (each["level"], each["found"]) for each in found}


@contextlib.asynccontextmanager
async def answering(body: bytes, **headers: str) -> AsyncIterator[int]:
    """Serve one answer to every request, and give the port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            await reader.readuntil(b"\r\n\r\n")
            lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
            head = "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", "Connection: close", *lines, "", ""])
            writer.write(head.encode() + body)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1") as server:
        yield server.sockets[0].getsockname()[1]


async def test_a_good_configuration_has_nothing_to_change() -> None:
    token = mint_token(SECRET, "ann")
    code, found = await examined("--strict", "--token", token)
    assert (code, {level for level, _ in found.values()}) == (0, {OK}), found
    assert found["token"][1].startswith("accepted, as user 'ann': alg HS256")
    assert found.keys() == {"settings", "address", "descriptors", "database", "disk", "token"}


async def test_a_token_of_another_secret_is_refused() -> None:
    code, found = await examined("--token", mint_token(f"another-{SECRET}", "ann"))
    assert (code, found["token"][0]) == (1, ERROR)
    assert "user 'ann'" in found["token"][1]


async def test_an_expired_token_says_since_when() -> None:
    _, found = await examined("--token", mint_token(SECRET, "ann", -3600))
    assert "TOKEN_EXPIRED" in found["token"][1]
    assert "-3,6" in found["token"][1]


async def test_a_port_that_another_program_has_is_told_from_one_of_a_gateway(start_gateway: StartGateway) -> None:
    async with answering(b"<html>") as port:
        code, found = await examined(TELLWIRE_PORT=str(port))
        assert (code, found["address"][0]) == (1, ERROR)
        assert "another program" in found["address"][1]
    gateway = await start_gateway()
    code, found = await examined(TELLWIRE_PORT=gateway.url.rpartition(":")[2])
    assert (code, found["address"][0]) == (0, OK)


async def test_a_database_without_a_folder_or_of_another_program_is_told(tmp_path: Path) -> None:
    code, found = await examined(TELLWIRE_DATABASE="no-such-folder/live.sqlite3")
    assert (code, found["database"][0]) == (1, ERROR)
    await asyncio.to_thread((tmp_path / "notes.txt").write_text, "Some notes of somebody else. " * 10)
    code, found = await examined(TELLWIRE_DATABASE="notes.txt")
    assert (code, found["database"]) == (1, (ERROR, "notes.txt is another program's file"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_without_rights_is_told(tmp_path: Path) -> None:
    await asyncio.to_thread((tmp_path / "closed").mkdir, 0o500)
    code, found = await examined(TELLWIRE_DATABASE="closed/live.sqlite3")
    assert (code, found["database"][0]) == (1, ERROR)


async def test_a_key_set_that_is_a_page_and_a_clock_that_is_wrong_are_told() -> None:
    async with answering(b"<!doctype html><title>Sign in</title>", Content_Type="text/html") as port:
        code, found = await examined(TELLWIRE_JWKS_URL=f"http://127.0.0.1:{port}/jwks")
        (level, words) = found[f"key set http://127.0.0.1:{port}/jwks"]
        assert (code, level, "not a key set" in words, "text/html" in words) == (1, ERROR, True, True)
    past = formatdate(time.time() - 300, usegmt=True)
    async with answering(b'{"keys": []}', Content_Type="application/json", Date=past) as port:
        code, found = await examined(TELLWIRE_JWKS_URL=f"http://127.0.0.1:{port}/jwks")
        assert (code, found["clock"][0], "ahead of" in found["clock"][1]) == (1, ERROR, True)


async def test_a_limit_of_descriptors_below_the_connections_is_a_warning_and_strict_counts_it() -> None:
    limited = ("sh", "-c", 'ulimit -n 150; exec "$@"', "sh")
    code, found = await examined(prefix=limited)
    assert (code, found["descriptors"][0]) == (0, WARNING)
    assert (await examined("--strict", prefix=limited))[0] == 1


async def test_a_secret_that_everybody_may_read_is_an_error(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    await asyncio.to_thread(secret.write_text, SECRET)
    await asyncio.to_thread(secret.chmod, 0o644)
    code, found = await examined(TELLWIRE_JWT_SECRET="", TELLWIRE_JWT_SECRET_FILE=str(secret))
    assert (code, found["jwt_secret_file"][0]) == (1, ERROR)


async def test_a_redis_that_is_away_is_told() -> None:
    code, found = await examined(TELLWIRE_ENGINE="redis", TELLWIRE_REDIS_URL="redis://:hunter2@127.0.0.1:9")
    assert (code, found["redis"][0]) == (1, ERROR)
    assert "hunter2" not in json.dumps(found)


async def test_a_redis_that_keeps_nothing_is_a_warning(tmp_path: Path) -> None:
    require("redis-server")
    with running(tmp_path, "--appendonly", "no", "--save", "") as server:
        code, found = await examined(TELLWIRE_ENGINE="redis", TELLWIRE_REDIS_URL=server.url)
    assert (code, found["redis version"][0], found["redis persistence"][0]) == (0, OK, WARNING), found


async def test_settings_that_cannot_be_used_are_the_only_finding() -> None:
    code, found = await examined(TELLWIRE_PORT="many")
    assert (code, list(found)) == (1, ["settings"])


async def test_a_proxy_that_forwards_no_address_and_cuts_idle_sockets_is_told(
    start_gateway: StartGateway, tmp_path: Path
) -> None:
    gateway = await start_gateway()
    async with nginx(tmp_path, gateway.url) as url:
        code, found = await examined("--public-url", url, "--slow", TELLWIRE_PORT=gateway.url.rpartition(":")[2])
    assert found["handshake"][0] == OK
    assert found["client address"][0] == WARNING
    assert (code, found["idle socket"][0], "was cut after" in found["idle socket"][1]) == (1, ERROR, True), found


async def test_a_proxy_that_is_not_there_is_told() -> None:
    code, found = await examined("--public-url", "ws://127.0.0.1:9")
    assert (code, found["handshake"][0]) == (1, ERROR)


# --- pure -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "check", "level"),
    [
        ({"redis_version": "6.2.14"}, "redis version", ERROR),
        ({"redis_version": "7.0.0"}, "redis version", OK),
        ({"redis_version": "8.2.1", "aof_enabled": 1}, "redis persistence", OK),
        ({"redis_version": "8.2.1", "save_is_set": False}, "redis persistence", WARNING),
        ({"redis_version": "8.2.1", "maxmemory": 1, "maxmemory_policy": "allkeys-lru"}, "redis memory", ERROR),
    ],
)
def test_the_facts_of_a_redis_are_judged(facts: dict[str, object], check: str, level: str) -> None:
    assert {each.check: each.level for each in redis_findings(facts, 0.001)}[check] == level


@pytest.mark.parametrize(("seconds", "level"), [(0, OK), (9, OK), (-9, OK), (60, ERROR), (-60, ERROR)])
def test_a_clock_is_compared_with_whole_seconds_of_a_date(seconds: float, level: str) -> None:
    now = 1_800_000_000.5
    found = skew_finding("x", formatdate(now - seconds, usegmt=True), now, now + 0.2, 10)
    assert found is not None
    assert found.level == level


def test_an_answer_without_a_date_says_nothing_of_the_clock() -> None:
    assert skew_finding("x", None, 1.0, 2.0, 10) is None
    assert skew_finding("x", "soon", 1.0, 2.0, 10) is None


def test_descriptors_and_addresses_are_judged() -> None:
    assert [descriptor_finding(limit, 1000).level for limit in (None, 1100, 1099)] == [OK, OK, WARNING]
    seen = [
        SeenAddress("203.0.113.9", has_header, is_forwarded)
        for has_header, is_forwarded in ((True, True), (True, False), (False, False))
    ]
    assert [address_finding("wss://live.example.com", each).level for each in seen] == [OK, ERROR, WARNING]
