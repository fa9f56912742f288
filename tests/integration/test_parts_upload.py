"""The main example, end to end: real workers, a real gateway, real devices, and the demo as people run it."""

import asyncio
import json
import os
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from examples.parts_upload.csv_worker import import_parts
from examples.parts_upload.image_worker import make_thumbnails
from examples.parts_upload.make_samples import make_samples
from tellwire import UploadFailed
from tellwire.auth import mint_token
from tests.conftest import SECRET, Gateway, offered

REPOSITORY = Path(__file__).parents[2]


async def received_by(device: ClientConnection, uploads: int) -> list[dict[str, Any]]:
    """Receive until as many uploads have ended, each with a notification."""
    messages: list[dict[str, Any]] = []
    async with asyncio.timeout(100):
        while sum(message["type"] == "notification" for message in messages) < uploads:
            messages.append(json.loads(await device.recv()))
    return messages


def progress_in(messages: list[dict[str, Any]], upload_id: str) -> list[float]:
    states = [m["data"] for m in messages if m["type"] == "upload_progress"]
    return [state["progress"] for state in states if state["uploadId"] == upload_id]


async def test_two_devices_see_both_uploads_from_0_to_100_and_what_was_left_out(
    producer: Gateway, tmp_path: Path
) -> None:
    samples = make_samples(tmp_path)
    async with producer.devices(2) as devices:
        await asyncio.gather(
            import_parts(samples.parts_list, tmp_path / "parts.sqlite3", "user-1", "moc-1"),
            make_thumbnails(samples.images, tmp_path / "thumbnails", "user-1", "moc-2"),
        )
        both = [await received_by(device, uploads=2) for device in devices]
    assert both[0] == both[1]
    for upload_id in ("moc-1", "moc-2"):
        progress = progress_in(both[0], upload_id)
        assert (progress[0], progress[-1]) == (0, 100)
        assert progress == sorted(progress)
    errors = {m["data"]["code"]: m["data"]["message"] for m in both[0] if m["type"] == "error"}
    assert errors == {"BAD_ROWS": "12 of 10,000 rows were left out", "BAD_IMAGES": "1 of 6 images was left out"}
    assert {m["data"]["severity"] for m in both[0] if m["type"] == "notification"} == {"warning"}


async def test_a_file_that_is_no_parts_list_is_an_error_on_both_devices(producer: Gateway, tmp_path: Path) -> None:
    async with producer.devices(2) as devices:
        with pytest.raises(UploadFailed):
            await import_parts(tmp_path / "missing.csv", tmp_path / "parts.sqlite3", "user-1", "moc-1")
        for device in devices:
            async with asyncio.timeout(100):
                *_, state, error = [json.loads(await device.recv()) for _ in range(3)]
            assert state["data"]["status"] == "failed"
            assert error["data"]["code"] == "FILE_MISSING"


# --- the demo --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def demo(*arguments: str, home: Path, folder: Path | None = None) -> AsyncIterator[Process]:
    """Run the demo as people do, except that its secret lies elsewhere; it has ended when the block has."""
    environ = {**os.environ, "XDG_STATE_HOME": str(home), "PYTHONPATH": str(REPOSITORY)}
    command = (sys.executable, "-m", "examples.parts_upload.demo", *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=environ, cwd=folder or home)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ended(process: Process) -> tuple[int | None, list[str], str]:
    """Wait for the end; return exit code, lines of output, errors."""
    async with asyncio.timeout(100):
        output, errors = await process.communicate()
    return process.returncode, output.decode().splitlines(), errors.decode()


async def line_with(process: Process, words: str) -> str:
    """Read the output up to the line with these words."""
    assert process.stdout is not None
    async with asyncio.timeout(100):
        async for line in process.stdout:
            if words in line.decode():
                return line.decode()
    raise AssertionError(f"no line with {words!r}")


async def is_listening(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except ConnectionRefusedError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def test_the_demo_ends_by_itself_with_a_summary_of_what_both_devices_saw(tmp_path: Path) -> None:
    async with demo("--once", "--pace", "0", home=tmp_path) as process:
        code, lines, errors = await ended(process)
    assert (code, errors) == (0, "")
    for device in ("phone", "laptop"):
        of_device = [line for line in lines if line.startswith(device)]
        assert any("parts-list.csv" in line and "  0.0%" in line for line in of_device)
        assert any("parts-list.csv" in line and "100.0%" in line for line in of_device)
        assert any("BAD_ROWS: 12 of 10,000 rows were left out" in line for line in of_device)
        assert "parts-list.csv 0 → 100, images 0 → 100" in of_device[-1]


async def test_the_demo_takes_your_own_file_relative_to_where_you_are(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("Part;Qty\n3001;4\n")
    async with demo("--once", "--file", "mine.csv", home=tmp_path) as process:
        code, lines, errors = await ended(process)
    assert (code, errors) == (0, "")
    assert "phone   Upload complete: mine.csv: 1 part imported. Read as UTF-8, separated by ;" in lines
    (database,) = [line.split("  (")[0].removeprefix("Parts:   ") for line in lines if line.startswith("Parts: ")]
    with closing(sqlite3.connect(database)) as connection:
        assert ("3001", 4) in connection.execute("SELECT part_number, quantity FROM parts").fetchall()


async def test_the_demo_finds_a_file_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    async with demo("--once", "--file", "~/mine.csv", home=tmp_path) as process:
        code, _, errors = await ended(process)
    assert (code, errors) == (2, f"demo: --file: there is no file '{tmp_path}/mine.csv'\n")


async def test_the_demo_shows_why_a_file_cannot_be_used_and_exits_1(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("nothing of the kind\n")
    async with demo("--once", "--file", "mine.csv", home=tmp_path) as process:
        code, lines, errors = await ended(process)
    assert (code, errors) == (1, "")
    assert any(line.startswith("laptop  BAD_HEADER: ") for line in lines)
    assert lines[-1].startswith("upload failed: No row names the columns; the first one has “nothing of the kind”")
    assert "went from 0 to 0" not in str(lines)


async def test_the_demo_stays_when_an_upload_is_cancelled_on_a_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TELLWIRE_JWT_SECRET", SECRET)
    async with demo("--pace", "0.2", home=tmp_path) as process:
        address = (await line_with(process, "Gateway: ")).split("http://")[1].split(". ")[0]
        token = mint_token(SECRET, "demo-user", 60)
        async with connect(f"ws://{address}", subprotocols=offered(token), proxy=None) as device:
            # A page says which uploads there are by what it hears.
            await line_with(process, "parts-list.csv")
            await device.send(json.dumps({"type": "cancel", "uploadId": "moc-123-parts"}))
            await line_with(process, "Cancelled after")
        await line_with(process, "an upload was cancelled on some device")
        await line_with(process, "Gateway and devices keep running")
        process.send_signal(signal.SIGINT)
        code, _, errors = await ended(process)
    assert (code, errors) == (1, "")


async def test_the_demo_is_not_disturbed_by_what_the_environment_says_of_other_gateways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("TELLWIRE_URL", "https://gateway.example")
    monkeypatch.setenv("TELLWIRE_API_KEY", "a-key")
    monkeypatch.setenv("TELLWIRE_HOST", "0.0.0.0")
    monkeypatch.setenv("TELLWIRE_JWT_SECRET", "a-secret-for-tests-of-forty-characters..")
    async with demo("--once", "--pace", "0", home=tmp_path / "not-there", folder=tmp_path) as process:
        code, _, errors = await ended(process)
    assert (code, errors) == (0, "")
    assert not (tmp_path / "not-there").exists()


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("missing.csv", "there is no file"),
        (".", "is not a file"),
        ("x" * 300, "cannot be used: File name too long"),
    ],
)
async def test_the_demo_refuses_a_wrong_path_with_one_line(tmp_path: Path, path: str, problem: str) -> None:
    async with demo("--file", path, home=tmp_path) as process:
        code, lines, errors = await ended(process)
    assert (code, lines) == (2, [])
    assert problem in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
async def test_the_demo_stays_until_ctrl_c_and_takes_its_gateway_with_it(tmp_path: Path, end: signal.Signals) -> None:
    async with demo("--pace", "0", home=tmp_path) as process:
        address = (await line_with(process, "Gateway: ")).split("http://")[1].split(". ")[0]
        hint = await line_with(process, "send --user demo-user")
        await line_with(process, "listen --user demo-user")
        assert f"--url http://{address}" in hint
        assert await is_listening(address)
        process.send_signal(end)
        code, _, errors = await ended(process)
    assert (code, errors) == (0, "")
    assert not await is_listening(address)


async def test_ctrl_c_in_the_middle_ends_everything_without_a_traceback(tmp_path: Path) -> None:
    async with demo("--once", "--pace", "30", home=tmp_path) as process:
        address = (await line_with(process, "Gateway: ")).split("http://")[1].split(". ")[0]
        await line_with(process, "laptop")
        process.send_signal(signal.SIGINT)
        code, _, errors = await ended(process)
    assert (code, errors) == (130, "")
    assert not await is_listening(address)


async def test_the_gateway_ends_even_if_the_demo_is_killed(tmp_path: Path) -> None:
    async with demo("--once", "--pace", "30", home=tmp_path) as process:
        address = (await line_with(process, "Gateway: ")).split("http://")[1].split(". ")[0]
        assert await is_listening(address)
        process.kill()
        await process.wait()
        async with asyncio.timeout(60):
            while await is_listening(address):
                await asyncio.sleep(0.05)


def test_the_readme_shows_the_workers_own_lines() -> None:
    folder = REPOSITORY / "examples" / "parts_upload"
    snippet = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    assert snippet in (folder / "csv_worker.py").read_text()
