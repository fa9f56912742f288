"""Processes that make thumbnails: a picture that ends one of them is one bad picture, and nothing else."""

import asyncio
import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from examples.parts_upload.thumbnail import MAX_PIXELS, BadImage, Cause
from examples.parts_upload.thumbnail_processes import ThumbnailProcesses
from tests.tools import until

PROGRAM = """
import json, os, sys, time
for line in sys.stdin:
    path, thumbnail = json.loads(line)
    if path.endswith("crash.png"):
        os.abort()
    with open(path + ".pid", "w") as file:
        file.write(str(os.getpid()))
    if path.endswith("hang.png"):
        time.sleep(1000)
    print("{}", flush=True)
"""


def processes(count: int = 1, answer_seconds: float = 100) -> ThumbnailProcesses:
    """Return processes of a program that crashes, or hangs, on pictures with such names."""
    return ThumbnailProcesses(count, program=(sys.executable, "-c", PROGRAM), answer_seconds=answer_seconds)


async def cause_of(workers: ThumbnailProcesses, path: Path) -> Cause:
    with pytest.raises(BadImage) as caught:
        await workers.make(path, path.with_suffix(".jpg"))
    return caught.value.cause


async def process_of(path: Path) -> int:
    """Return the process that works on a picture."""
    await until(lambda: number_in(path))
    return number_in(path)


def number_in(path: Path) -> int:
    file = Path(f"{path}.pid")
    return int((file.read_text() if file.exists() else "") or 0)


def is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_picture_that_crashes_its_process_is_bad_and_the_next_one_is_not(tmp_path: Path) -> None:
    async with processes() as workers:
        await workers.make(tmp_path / "a.png", tmp_path / "a.jpg")
        assert await cause_of(workers, tmp_path / "crash.png") is Cause.TOO_COSTLY
        await workers.make(tmp_path / "b.png", tmp_path / "b.jpg")
        await workers.make(tmp_path / "c.png", tmp_path / "c.jpg")
        ids = [await process_of(tmp_path / name) for name in ("a.png", "b.png", "c.png")]
    assert ids[0] != ids[1] == ids[2]
    assert not any(map(is_alive, ids))


async def test_a_picture_that_takes_too_long_is_bad(tmp_path: Path) -> None:
    async with processes(answer_seconds=0.2) as workers:
        assert await cause_of(workers, tmp_path / "hang.png") is Cause.TOO_COSTLY


async def test_who_is_cancelled_has_no_process_afterwards(tmp_path: Path) -> None:
    async with processes() as workers:
        making = asyncio.create_task(workers.make(tmp_path / "hang.png", tmp_path / "a.jpg"))
        process_id = await process_of(tmp_path / "hang.png")
        making.cancel()
        with pytest.raises(asyncio.CancelledError):
            await making
        assert not is_alive(process_id)


async def test_as_many_work_at_once_as_there_are_places(tmp_path: Path) -> None:
    async with processes(2) as workers:
        slow = [asyncio.create_task(workers.make(tmp_path / name / "hang.png", tmp_path)) for name in "ab"]
        for name in "ab":
            (tmp_path / name).mkdir()
        [await process_of(tmp_path / name / "hang.png") for name in "ab"]
        waiting = asyncio.create_task(workers.make(tmp_path / "c.png", tmp_path / "c.jpg"))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not waiting.done()
        slow[0].cancel()
        async with asyncio.timeout(100):
            await waiting
        slow[1].cancel()
        await asyncio.wait(slow)


@pytest.mark.skipif("sys.platform != 'linux'", reason="not all systems bound the memory of a process")
async def test_the_memory_of_a_picture_is_bounded(tmp_path: Path) -> None:
    side = int(MAX_PIXELS**0.5)
    Image.new("P", (side, side)).save(tmp_path / "big.png")
    Image.new("RGB", (40, 30)).save(tmp_path / "small.png")
    bound = str(200 * 1024**2)
    program = (sys.executable, "-m", "examples.parts_upload.thumbnail_program", bound)
    async with ThumbnailProcesses(program=program) as workers:
        assert await cause_of(workers, tmp_path / "big.png") is Cause.TOO_COSTLY
        await workers.make(tmp_path / "small.png", tmp_path / "small.jpg")
        assert (tmp_path / "small.jpg").is_file()
    async with ThumbnailProcesses() as workers:
        await workers.make(tmp_path / "big.png", tmp_path / "big.jpg")


async def test_a_picture_with_a_long_text_in_it_is_taken(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("prompt", "brick " * 500_000, zip=True)
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png", pnginfo=text)
    async with ThumbnailProcesses() as workers:
        await workers.make(tmp_path / "a.png", tmp_path / "a.jpg")
    assert (tmp_path / "a.jpg").is_file()
