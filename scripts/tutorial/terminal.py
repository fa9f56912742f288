"""A terminal with a shell, as a reader has one: typed lines, and the text that it shows."""

import asyncio
import contextlib
import os
import pty
import re
import signal
import struct
import termios
from collections.abc import Mapping
from fcntl import ioctl
from pathlib import Path

from scripts.tutorial.page import pattern

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_ROWS, _COLUMNS = 40, 120
_SHOWN_CHARACTERS = 2_000


class TerminalError(Exception):
    """A command failed, or a text of the page did not appear; the error quotes the end of the terminal."""


class Terminal:
    """A terminal. `screen` is all that it has shown, without control sequences."""

    def __init__(self, name: str, seconds: float) -> None:
        self.name = name
        self.screen = ""
        self._seconds = seconds
        self._changed = asyncio.Event()
        self._ended = asyncio.Event()
        self._done = 0

    async def start(self, folder: Path, environ: Mapping[str, str]) -> None:
        """Start the shell."""
        self._master, slave = pty.openpty()
        # Typed commands are not shown: what they print is.
        attributes = termios.tcgetattr(slave)
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        self._shell = await asyncio.create_subprocess_exec(
            "bash",
            "--noprofile",
            "--norc",
            "--noediting",
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env=dict(environ) | {"PS1": "", "TERM": "xterm"},
            start_new_session=True,
        )
        os.close(slave)
        asyncio.get_running_loop().add_reader(self._master, self._read)

    async def type(self, lines: list[str], *, runs_on: bool) -> None:
        """Type lines, each when the one before has ended. The last one may run on."""
        for number, line in enumerate(lines, 1):
            self._write(line)
            if number < len(lines) or not runs_on:
                self._done += 1
                self._write(f"echo ended-{self._done}-$?")
                await self.shows(rf"ended-{self._done}-0", of=line)

    async def shows(self, text: str, of: str = "") -> None:
        """Wait until the terminal shows a text.

        Raises:
            TerminalError: it did not.
        """
        wanted = pattern(text)
        try:
            async with asyncio.timeout(self._seconds):
                while not wanted.search(self.screen):
                    if failed := re.search(rf"ended-{self._done}-([1-9]\d*)", self.screen):
                        raise TerminalError(f"{of}: ended with {failed[1]}\n{self._end}")
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise TerminalError(f"{self.name} does not show {text!r}\n{self._end}") from None

    async def close(self) -> None:
        """End the shell, and all that runs in it."""
        for each in [*_descendants(self._shell.pid), self._shell.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        await self._shell.wait()
        # A terminal ends when no process has it any more.
        async with asyncio.timeout(self._seconds):
            await self._ended.wait()
        os.close(self._master)

    @property
    def _end(self) -> str:
        return self.screen[-_SHOWN_CHARACTERS:]

    def _write(self, line: str) -> None:
        os.write(self._master, f"{line}\n".encode())

    def _read(self) -> None:
        try:
            self.screen += _CONTROL.sub("", os.read(self._master, 65_536).decode("utf-8", "replace")).replace(
                "\r", "\n"
            )
        except OSError:
            asyncio.get_running_loop().remove_reader(self._master)
            self._ended.set()
        self._changed.set()


def _descendants(pid: int) -> list[int]:
    """Return the processes below one, the lowest first."""
    found: list[int] = []
    for task in Path("/proc").glob(f"{pid}/task/*/children"):
        for child in task.read_text().split():
            found += [*_descendants(int(child)), int(child)]
    return found
