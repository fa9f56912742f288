"""SIGHUP: keys, secrets and key sets are read again, while connections go on."""

import asyncio
import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any, cast

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tellwire.auth import mint_token
from tests.conftest import Gateway, StartGateway, read
from tests.integration.gateway.test_http_api import call
from tests.integration.test_cli import COMMAND, Running, serving

OLD = "the-old-secret-of-more-than-32-bytes"
NEW = "the-new-secret-of-more-than-32-bytes"
OLD_KEY, NEW_KEY = "old-key-0123456789", "new-key-0123456789"


async def lives(device: ClientConnection) -> bool:
    await device.send('{"type": "ping"}')
    return bool((await read(device))["type"] == "pong")


def connected(gateway: Running | Gateway, secret: str) -> connect:
    url = gateway.url.replace("http", "ws", 1)
    return connect(f"{url}/?token={mint_token(secret, 'user-1')}", proxy=None)


async def opens(gateway: Running | Gateway, secret: str) -> bool:
    try:
        async with connected(gateway, secret) as device:
            return await lives(device)
    except InvalidStatus as refused:
        return refused.response.status_code == 101


async def status(gateway: Running, key: str) -> int:
    answer, _, _ = await call(Gateway(cast("Any", None), gateway.url), "GET", "/v1/stats", None, key)
    return answer


async def log_line(gateway: Running, words: str) -> str:
    assert gateway.process.stderr is not None
    async with asyncio.timeout(60):
        while words not in (line := (await gateway.process.stderr.readline()).decode()):
            assert line
    return line


async def test_sighup_reads_the_files_again_and_keeps_every_connection(tmp_path: Path) -> None:
    secrets, keys = tmp_path / "secrets", tmp_path / "keys"
    secrets.write_text(OLD)
    keys.write_text(OLD_KEY)
    environment = {
        "TELLWIRE_JWT_SECRET_FILE": str(secrets),
        "TELLWIRE_API_KEY_FILE": str(keys),
        "TELLWIRE_DATABASE": str(tmp_path / "live.sqlite3"),
    }
    async with serving(port=0, **environment) as gateway, connected(gateway, OLD) as device:
        assert not await opens(gateway, NEW)
        secrets.write_text(f"{NEW}\n{OLD}\n")
        keys.write_text(f"old:publish:{OLD_KEY}\nnew:publish+admin:{NEW_KEY}\n")
        os.kill(gateway.process.pid, signal.SIGHUP)
        await log_line(gateway, "are read again")
        assert await opens(gateway, NEW)
        assert await opens(gateway, OLD)
        assert await status(gateway, NEW_KEY) == 200
        assert await status(gateway, OLD_KEY) == 403

        keys.write_text("short")
        secrets.write_text(NEW)
        os.kill(gateway.process.pid, signal.SIGHUP)
        line = await log_line(gateway, "nothing has changed")
        assert "ERROR" in line
        assert "weak key" in line
        assert "short" not in line
        assert await opens(gateway, OLD)
        assert await status(gateway, NEW_KEY) == 200
        assert await lives(device)

        keys.write_text(NEW_KEY)
        os.kill(gateway.process.pid, signal.SIGHUP)
        await log_line(gateway, "are read again")
        assert not await opens(gateway, OLD)
        with pytest.raises(ConnectionClosed):
            # The old secret had opened it.
            await read(device), await device.recv()
        assert device.close_code == 4401
        assert await status(gateway, OLD_KEY) == 401


async def test_sighup_reads_the_rules_of_topics_again_and_ends_what_they_do_not_allow(tmp_path: Path) -> None:
    config, topics = tmp_path / "tellwire.toml", tmp_path / "topics.json"
    config.write_text(f"engine = 'memory'\njwt_secret = '{OLD}'\ntopics_file = '{topics}'\n")

    def allow(*patterns: str) -> None:
        topics.write_text(json.dumps([{"pattern": each, "subscribe": "anyone"} for each in patterns]))

    async def subscribe(device: ClientConnection, topic: str) -> Any:
        await device.send(json.dumps({"type": "subscribe", "topic": topic}))
        answer = await read(device)
        return answer["data"].get("code") or answer["type"]

    allow("moc:*")
    async with serving("--config", str(config), port=0) as gateway, connected(gateway, OLD) as device:
        assert await subscribe(device, "moc:1") == "subscribed"
        assert await subscribe(device, "news") == "TOPIC_FORBIDDEN"
        topics.write_text("[{]")
        os.kill(gateway.process.pid, signal.SIGHUP)
        assert "TELLWIRE_TOPICS: got" in await log_line(gateway, "nothing has changed")
        assert await subscribe(device, "moc:2") == "subscribed"
        allow("moc:2", "news")
        os.kill(gateway.process.pid, signal.SIGHUP)
        withdrawn = await read(device)
        assert (withdrawn["type"], withdrawn["data"]["topic"]) == ("unsubscribed", "moc:1")
        assert await subscribe(device, "news") == "subscribed"


async def test_an_embedded_node_reads_its_files_again(start_gateway: StartGateway, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.write_text(OLD)
    gateway = await start_gateway(jwt_secret=None, jwt_secret_file=str(secrets))
    assert await opens(gateway, OLD)
    secrets.write_text(NEW)
    await gateway.node.reload()
    assert await opens(gateway, NEW)
    assert not await opens(gateway, OLD)


def test_a_gateway_whose_terminal_was_closed_ends(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "serve", "--dev", "--port", "0"],
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"tellwire")
    os.close(slave)
    os.close(master)
    process.communicate(timeout=20)
    assert process.returncode == 0


STARTING = """
import asyncio, os, signal
from tellwire.gateway.hangup import hold_hangup, on_hangup

async def reload():
    print("reloaded")

async def run():
    with on_hangup(reload, lambda: print("stopped")):
        await asyncio.sleep(0.05)

hold_hangup()
os.kill(os.getpid(), signal.SIGHUP)
asyncio.run(run())
"""


def test_a_sighup_while_the_gateway_starts_is_not_its_end() -> None:
    ended = subprocess.run([sys.executable, "-c", STARTING], capture_output=True, start_new_session=True, timeout=20)
    assert (ended.returncode, ended.stdout.decode(), ended.stderr.decode()) == (0, "reloaded\n", "")
