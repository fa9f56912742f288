"""The page's server as people run it: stopped, and started again, while uploads run."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pyreqwest.client import ClientBuilder
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from examples.parts_upload.gateway_process import Gateway
from tellwire.auth import mint_token
from tests.conftest import SECRET

REPOSITORY = Path(__file__).parents[2]
HELD = "100000"
"""Seconds after each batch, which no test waits for: a paced upload stays after its first batch."""


async def started(home: Path, *options: str, errors: int | None = None) -> Process:
    command = (sys.executable, "-m", "examples.parts_upload.web_server", *options)
    environ = {**os.environ, "TELLWIRE_JWT_SECRET": SECRET, "PYTHONPATH": str(REPOSITORY)}
    return await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=errors, env=environ, cwd=home)


@asynccontextmanager
async def server(folder: Path, pace: str = HELD) -> AsyncIterator[Gateway]:
    """Run the program. It has ended when the block has."""
    process = await started(folder, "--port", "0", "--pace", pace, "--folder", str(folder))
    assert process.stdout is not None
    try:
        async with asyncio.timeout(100):
            line = (await process.stdout.readline()).decode()
        yield Gateway(line.split("ws://")[1].strip(), process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def device(running: Gateway, user: str = "ada") -> AsyncIterator[ClientConnection]:
    """Connect as a device that wants the states of all uploads."""
    async with connect(f"{running.ws_url}?token={mint_token(SECRET, user, 600)}", proxy=None) as socket:
        await socket.send('{"type": "hello"}')
        yield socket


async def ask(running: Gateway, method: str, path: str, body: bytes, user: str = "ada") -> int:
    headers = {"Authorization": f"Bearer {mint_token(SECRET, user, 600)}"}
    async with ClientBuilder().build() as client:
        request = client.request(method, running.http_url + path).headers(headers).body_bytes(body)
        return (await request.build().send()).status


async def statuses(socket: ClientConnection) -> AsyncIterator[tuple[str, str]]:
    """Yield id and status of each state, also of those in a welcome; of an error the id and its code."""
    while True:
        message = json.loads(await socket.recv())
        for each in message["data"].get("state", []) if message["type"] == "welcome" else [message]:
            data: dict[str, Any] = each["data"]
            if each["type"] == "upload_progress":
                yield data["uploadId"], data["status"]
            elif each["type"] == "error":
                yield data["details"]["uploadId"], data["code"]


async def until_all(socket: ClientConnection, **counts: int) -> dict[str, str]:
    """Wait until so many uploads have each status, and return the status of each."""
    last: dict[str, str] = {}
    async with asyncio.timeout(100):
        async for upload_id, status in statuses(socket):
            if status.islower():
                last[upload_id] = status
            if all(list(last.values()).count(each) == count for each, count in counts.items()):
                return last
    raise AssertionError("the connection has ended")


async def rest(socket: ClientConnection) -> list[tuple[str, str]]:
    """Receive up to the close."""
    found: list[tuple[str, str]] = []
    with pytest.raises(ConnectionClosed):
        async with asyncio.timeout(100):
            async for each in statuses(socket):
                found.append(each)  # noqa: PERF401 - the end is an exception, and those before it count
    assert socket.close_code == 1012
    return found


async def start_four(running: Gateway) -> None:
    """Start four uploads, of which two wait."""
    for _ in range(2):
        assert await ask(running, "POST", "/demo/samples", b'{"paced": true}') == 202


async def test_sigterm_in_mid_upload_is_told_on_all_devices_and_the_next_server_begins_again(tmp_path: Path) -> None:
    async with server(tmp_path) as running, device(running) as phone, device(running) as laptop:
        await start_four(running)
        uploads = await until_all(phone, running=2, queued=2)
        assert await until_all(laptop, running=2, queued=2) == uploads
        running.process.send_signal(signal.SIGTERM)
        for each in (phone, laptop):
            found = await rest(each)
            assert {upload for upload, status in found if status == "failed"} == uploads.keys()
            assert sorted(upload for upload, status in found if status == "UPLOAD_INTERRUPTED") == sorted(uploads)
        async with asyncio.timeout(100):
            assert await running.process.wait() == 0
    async with server(tmp_path, pace="0") as again, device(again) as phone:
        assert (await until_all(phone, complete=4)).keys() == uploads.keys()


async def test_a_server_that_was_killed_leaves_nothing_that_seems_to_run(tmp_path: Path) -> None:
    async with server(tmp_path) as running, device(running) as phone:
        await start_four(running)
        uploads = await until_all(phone, running=2, queued=2)
        running.process.kill()
        await running.process.wait()
    async with server(tmp_path, pace="0") as again, device(again) as phone:
        assert (await until_all(phone, complete=4)).keys() == uploads.keys()


async def refusal(home: Path, *options: str) -> str:
    """Start a server that does not start, and return its last words."""
    process = await started(home, *options, errors=PIPE)
    async with asyncio.timeout(100):
        output, errors = await process.communicate()
    assert (process.returncode, output) == (2, b"")
    return errors.decode()


async def test_a_server_that_cannot_start_says_why_in_one_sentence(tmp_path: Path) -> None:
    no_folder = tmp_path / "file"
    no_folder.touch()
    async with server(tmp_path) as running:
        port = running.address.rpartition(":")[2]
        for options, words in (
            (("--port", "0", "--folder", str(tmp_path)), "database is locked; is another gateway using it?\n"),
            (
                ("--port", port, "--folder", str(tmp_path / "b")),
                f"listen on {running.address}: Address already in",
            ),
            (("--port", "0", "--folder", str(no_folder)), "File exists: "),
        ):
            said = await refusal(tmp_path, *options)
            assert said.startswith("web_server: ")
            assert words in said
            assert said.count("\n") == 1
    assert "--port: got '65536'; allowed: a whole number, at most 65535" in await refusal(tmp_path, "--port", "65536")
