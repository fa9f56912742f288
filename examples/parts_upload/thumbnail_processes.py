"""Processes that make thumbnails, for an event loop: a picture takes time and memory, and may crash its decoder.

    make ─▶ a process that is idle, or a new one ─▶ thumbnail_program ─▶ done, or a cause
              └─▶ it ends, or does not answer ─▶ this picture is bad, and the next one gets another process

Rules:
- At most `count` work at once. A process has a bound on its memory, and a picture on its time.
- Whoever is cancelled has no process afterwards that writes into its folder.
"""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from examples.parts_upload.thumbnail import BadImage, Cause

MEMORY_BYTES: Final = 1024**3
"""Of one process. A WebP of 40 million pixels, the most that is read, takes 0.7 GB."""

ANSWER_SECONDS: Final = 60.0

_REPOSITORY: Final = Path(__file__).parents[2]
_PROGRAM: Final = (sys.executable, "-m", "examples.parts_upload.thumbnail_program", str(MEMORY_BYTES))


class ThumbnailProcesses:
    """At most `count` processes of `program`, in an `async with`. Each has `answer_seconds` for a picture."""

    def __init__(
        self, count: int = 1, *, program: Sequence[str] = _PROGRAM, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        self._places = asyncio.Semaphore(count)
        self._program = program
        self._answer_seconds = answer_seconds
        self._idle: list[Process] = []

    async def __aenter__(self) -> "ThumbnailProcesses":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the processes, which are idle."""
        while self._idle:
            await _end(self._idle.pop())

    async def make(self, path: Path, thumbnail: Path) -> None:
        """Make a thumbnail.

        Raises:
            BadImage: the image is bad, or its process has ended or does not answer.
            OSError: the thumbnail cannot be written.
        """
        async with self._places:
            process = self._idle.pop() if self._idle else await self._start()
            try:
                answer = await self._ask(process, path, thumbnail)
            except BaseException:
                await _end(process)
                raise
            self._idle.append(process)
        if "cause" in answer:
            raise BadImage(Cause(answer["cause"]))
        if "errno" in answer:
            raise OSError(answer["errno"], answer["text"])

    async def _ask(self, process: Process, path: Path, thumbnail: Path) -> dict[str, str]:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(self._answer_seconds):
                process.stdin.write(json.dumps([str(path), str(thumbnail)]).encode() + b"\n")
                await process.stdin.drain()
                line = await process.stdout.readline()
        except (TimeoutError, ConnectionError) as error:
            raise BadImage(Cause.TOO_COSTLY) from error
        if not line:
            raise BadImage(Cause.TOO_COSTLY)
        answer: dict[str, str] = json.loads(line)
        return answer

    async def _start(self) -> Process:
        path = os.pathsep.join(filter(None, (str(_REPOSITORY), os.environ.get("PYTHONPATH"))))
        return await asyncio.create_subprocess_exec(
            *self._program,
            stdin=PIPE,
            stdout=PIPE,
            env=os.environ | {"PYTHONPATH": path},
            # Ctrl-C is for us, who end it.
            start_new_session=True,
        )


async def _end(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    # Also when this task is cancelled again: nobody writes into the folder afterwards.
    await asyncio.shield(process.wait())
    if process.stdin is not None:
        process.stdin.close()
