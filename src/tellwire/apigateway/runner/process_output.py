"""Output of a process: its standard output and standard error, tagged line by line."""

import asyncio
import os
import sys
from typing import Final

from tellwire.apigateway.runner.log_tail import LogTail
from tellwire.limits import OUTPUT_LINE_BYTES

_PIECE_BYTES: Final = 64 * 1024
_PIECES_AT_ONCE: Final = 16


class ProcessOutput:
    """The reading end of a process's pipe. Every line is written to standard error with the tag of its time.

    Both ends are of this machine, so what the process has written is there: `tag_with` reads it first, and no line gets
    the tag of the next invocation.
    """

    def __init__(self, pipe: int, tag: str) -> None:
        self._pipe: int | None = pipe
        self._tag = tag
        self._tail: LogTail | None = None
        self._incomplete = b""
        self._loop = asyncio.get_running_loop()
        os.set_blocking(pipe, False)
        self._loop.add_reader(pipe, self.read)

    def tag_with(self, tag: str, tail: LogTail | None = None) -> None:
        """Put this tag in front of all further lines, and add them to `tail`."""
        self.read()
        self._end_line()
        self._tag, self._tail = tag, tail

    def read(self) -> None:
        """Read the pipe without waiting, within a bound: a process that writes without end must not stop all others."""
        for _ in range(_PIECES_AT_ONCE):
            if self._pipe is None or not self._read_piece(self._pipe):
                return

    def _read_piece(self, pipe: int) -> bool:
        try:
            data = os.read(pipe, _PIECE_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._stop()
            return False
        *lines, self._incomplete = (self._incomplete + data).split(b"\n")
        if len(self._incomplete) > OUTPUT_LINE_BYTES:
            lines.append(self._incomplete)
            self._incomplete = b""
        self._write(lines)
        return True

    def close(self) -> None:
        """Write the rest, and close the pipe: the process has ended."""
        self.read()
        self._end_line()
        self._stop()

    def _stop(self) -> None:
        if self._pipe is not None:
            self._loop.remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = None

    def _end_line(self) -> None:
        if self._incomplete:
            self._write([self._incomplete])
            self._incomplete = b""

    def _write(self, lines: list[bytes]) -> None:
        if lines:
            texts = [line.decode("utf-8", "replace").rstrip("\r") for line in lines]
            sys.stderr.write("".join(f"{self._tag} | {text}\n" for text in texts))
            sys.stderr.flush()
            if self._tail is not None:
                self._tail.add(*texts)
