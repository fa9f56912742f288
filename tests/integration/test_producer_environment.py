"""The environment of a producer: switched off, and its timeout, in processes of their own."""

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tellwire import ConfigError, Delivery, HttpCarrier
from tellwire.carriers.nowhere import NowhereCarrier
from tellwire.config import unknown_names
from tellwire.producer import carrier_from_environment

ROOT = Path(__file__).parents[2]

SCRIPT = """
import asyncio, tellwire
from tellwire import sync

message = tellwire.create_notification_message("Hello", "World", "info")
with sync.track_upload("user-1", "moc-1", "parts.csv", 3) as upload:
    for row in upload.count(range(3)):
        upload.row_error(row, "BAD", "bad")
print(upload.failures, upload.sent > 0, sync.broadcast_to_user("user-1", message), sync.broadcast_to_all(message))


async def main():
    async with tellwire.track_upload("user-1", "moc-1", "parts.csv", 3) as upload:
        async for row in upload.count(range(3)):
            pass
    print(upload.failures, await tellwire.broadcast_to_connections(["c1"], message))


asyncio.run(main())
"""


def run(script: str, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TELLWIRE_")}
    return subprocess.run(
        [sys.executable, "-c", script], env=kept | environ, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("environ", [{}, {"TELLWIRE_URL": "http://127.0.0.1:9"}, {"TELLWIRE_URL": "nonsense"}])
def test_switched_off_everything_works_and_goes_nowhere(environ: dict[str, str]) -> None:
    ran = run(SCRIPT, TELLWIRE_DISABLED="1", **environ)
    nothing = str(Delivery())
    assert ran.stdout.splitlines() == [f"0 True {nothing} {nothing}", f"0 {nothing}"]
    assert (ran.returncode, ran.stderr) == (0, "")


def test_switched_off_a_wrong_message_is_still_noticed() -> None:
    script = "from tellwire import sync\nsync.broadcast_to_user('', sync.create_message('thing', 1))"
    assert "InvalidMessage: target.user" in run(script, TELLWIRE_DISABLED="1").stderr


@pytest.mark.parametrize("value", ["1", "true", "YES", " on "])
def test_it_is_switched_off_by_the_usual_words(value: str) -> None:
    assert isinstance(carrier_from_environment({"TELLWIRE_DISABLED": value}), NowhereCarrier)


@pytest.mark.parametrize("value", ["", "0", "False", "no", "off"])
def test_and_on_by_their_opposites(value: str) -> None:
    environ = {"TELLWIRE_DISABLED": value, "TELLWIRE_URL": "http://127.0.0.1:9"}
    assert isinstance(carrier_from_environment(environ), HttpCarrier)


def test_another_word_is_refused() -> None:
    with pytest.raises(ConfigError, match="TELLWIRE_DISABLED: got 'maybe'; allowed: 1 or 0"):
        carrier_from_environment({"TELLWIRE_DISABLED": "maybe"})


@contextlib.asynccontextmanager
async def answering(status: int) -> AsyncIterator[str]:
    """A gateway, or a proxy, that answers every request with this status; 0: none listens."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            body = b'{"code":"API_KEY_WRONG","message":"no"}' if status == 401 else b"<html>"
            writer.write(
                b"HTTP/1.1 %d x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (status, len(body), body)
            )
        writer.close()

    if not status:
        yield "http://127.0.0.1:9"
        return
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("status", [0, 401, 500, 502, 200, 301], ids=str)
async def test_the_first_snippet_of_readme_never_fails_a_job(status: int) -> None:
    blocks = re.findall(r"```python\n(.+?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    snippet = textwrap.indent(blocks[0], "    ")
    script = f"""
import asyncio
saved = []
save = saved.append
user_id, upload_id, rows = "user-1", "moc-1", range(1000)

async def job():
{snippet}

asyncio.run(job())
print(len(saved))
"""
    async with answering(status) as url:
        ran = await asyncio.to_thread(run, script, TELLWIRE_URL=url, TELLWIRE_TIMEOUT_SECONDS="0.5")
    assert (ran.returncode, ran.stdout) == (0, "1000\n"), ran.stderr
    assert "Traceback" not in ran.stderr
    assert "the job goes on" in ran.stderr
    assert "the program goes on" in ran.stderr


async def test_the_environment_has_the_time_of_a_publish() -> None:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(swallow, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        script = (
            "import time\nfrom tellwire import sync\nbegan = time.monotonic()\ntry:\n"
            "    sync.broadcast_to_user('u', sync.create_message('thing', 1))\n"
            "except sync.GatewayUnreachable:\n    print(time.monotonic() - began)"
        )
        ran = await asyncio.to_thread(run, script, TELLWIRE_URL=url, TELLWIRE_TIMEOUT_SECONDS="0.5")
    assert 0.2 < float(ran.stdout) < 5


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "ten", "1e999", "1e300"])
def test_a_time_that_is_none_is_refused(value: str) -> None:
    environ = {"TELLWIRE_URL": "http://127.0.0.1:9", "TELLWIRE_TIMEOUT_SECONDS": value}
    with pytest.raises(ConfigError, match=f"TELLWIRE_TIMEOUT_SECONDS: got '{value}'; allowed: a number of seconds"):
        carrier_from_environment(environ)


@pytest.mark.parametrize("value", [0, -1, float("nan"), "10", None, True, 10**400], ids=type)
def test_a_carrier_refuses_it_too(value: Any) -> None:
    with pytest.raises(ConfigError, match="timeout_seconds: got"):
        HttpCarrier("http://127.0.0.1:9", timeout_seconds=value)


def test_the_names_are_known_to_the_gateway() -> None:
    assert unknown_names({"TELLWIRE_DISABLED": "1", "TELLWIRE_TIMEOUT_SECONDS": "3"}) == []


async def test_a_gateway_that_is_away_costs_the_time_that_was_set() -> None:
    carrier = carrier_from_environment({"TELLWIRE_URL": "http://127.0.0.1:9", "TELLWIRE_TIMEOUT_SECONDS": "0.3"})
    assert isinstance(carrier, HttpCarrier)
    began = time.monotonic()
    with pytest.raises(Exception, match="refused"):
        await carrier.connections("user-1")
    assert time.monotonic() - began < 5  # the time that is set without it is 10
    await carrier.close()
