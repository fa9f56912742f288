"""`tellwire backup` and `tellwire restore` as operators use them: on a gateway that runs, and with a device of ours."""

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tellwire.auth import mint_token
from tests.conftest import API_KEY, SECRET, read
from tests.integration.test_cli import Running, own_state, serving, tellwire

__all__ = ["own_state"]

ENVIRONMENT: dict[str, Any] = {
    "TELLWIRE_JWT_SECRET": SECRET,
    "TELLWIRE_API_KEY": API_KEY,
    "TELLWIRE_DATABASE": "live.sqlite3",
}


async def say(gateway: Running, text: str) -> None:
    sent = await tellwire(
        "send", "--user", "user-1", "--url", gateway.url, "notification", text, "Hello", TELLWIRE_API_KEY=API_KEY
    )
    assert sent.code == 0, sent.err


async def welcome(gateway: Running, cursor: str) -> dict[str, Any]:
    async with connect(f"ws://127.0.0.1:{gateway.port}?token={mint_token(SECRET, 'user-1')}", proxy=None) as device:
        await device.send(json.dumps({"type": "hello", "cursor": cursor}))
        return dict((await read(device))["data"])


async def test_a_gateway_is_backed_up_while_it_runs_and_devices_hear_that_it_was_restored(tmp_path: Path) -> None:
    async with serving(port=0, **ENVIRONMENT) as gateway:
        await say(gateway, "before")
        backup = await tellwire("backup", "b.tar", "--url", gateway.url, TELLWIRE_API_KEY=API_KEY)
        assert (backup.code, backup.out) == (0, ""), backup.err
        assert f"from {gateway.url}" in backup.err
        assert stat.S_IMODE((tmp_path / "b.tar").stat().st_mode) == 0o600
        await say(gateway, "after")
        device = await welcome(gateway, "0")
        assert len(device["messages"]) == 2
        busy = await tellwire("restore", "b.tar", "--force", **ENVIRONMENT)
        assert (busy.code, "is another gateway using it?" in busy.err) == (2, True), busy.err
        assert await gateway.stop() == 0
    refused = await tellwire("restore", "b.tar", **ENVIRONMENT)
    assert (refused.code, "--force replaces it" in refused.err) == (2, True)
    restored = await tellwire("restore", "b.tar", "--force", **ENVIRONMENT)
    assert restored.code == 0, restored.err
    async with serving(port=0, **ENVIRONMENT) as gateway:
        again = await welcome(gateway, device["cursor"])
    assert (again["recovered"], [each["data"]["title"] for each in again["messages"]]) == (False, ["before"])


async def test_without_a_gateway_the_file_is_read(tmp_path: Path) -> None:
    async with serving(port=0, **ENVIRONMENT) as gateway:
        await say(gateway, "kept")
        assert await gateway.stop() == 0
        port = str(gateway.port)
    backup = await tellwire("backup", "b.tar", TELLWIRE_PORT=port, **ENVIRONMENT)
    assert (backup.code, "no gateway answers" in backup.err) == (0, True), backup.err
    named = await tellwire("backup", "d.tar", "--database", "live.sqlite3")
    assert (named.code, "from live.sqlite3" in named.err) == (0, True), named.err
    nobody = await tellwire("backup", "c.tar", "--url", gateway.url, **ENVIRONMENT)
    assert (nobody.code, "does not answer" in nobody.err) == (1, True), nobody.err
    missing = await tellwire("backup", "c.tar", "--database", "nothing.sqlite3")
    assert (missing.code, "there is no such file" in missing.err) == (2, True), missing.err
    assert sorted(each.name for each in tmp_path.glob("*.tar*")) == ["b.tar", "d.tar"]  # noqa: ASYNC240


@pytest.mark.parametrize(
    ("environment", "words", "code"),
    [
        ({"TELLWIRE_API_KEY": API_KEY}, "the API key worker is not for this: it needs the scope admin (403)", 2),
        ({"TELLWIRE_API_KEY": "another-key-0123456789"}, "This is not one of the gateway's API keys (401)", 2),
        ({"TELLWIRE_API_KEY": f"{API_KEY}-admin"}, "back up its Redis with Redis's own snapshots (501)", 1),
    ],
)
async def test_a_backup_that_is_refused_leaves_the_old_file(
    tmp_path: Path, environment: dict[str, str], words: str, code: int
) -> None:
    keys = f"worker:publish:{API_KEY} admin:admin:{API_KEY}-admin"
    await asyncio.to_thread((tmp_path / "b.tar").write_bytes, b"yesterday's")
    async with serving(TELLWIRE_ENGINE="memory", TELLWIRE_JWT_SECRET=SECRET, TELLWIRE_API_KEY=keys) as gateway:
        refused = await tellwire("backup", "b.tar", "--url", gateway.url, **environment)
    assert (refused.code, words.lower() in refused.err.lower()) == (code, True), refused.err
    assert [each.name for each in tmp_path.glob("b.tar*")] == ["b.tar"]  # noqa: ASYNC240
    assert await asyncio.to_thread((tmp_path / "b.tar").read_bytes) == b"yesterday's"
