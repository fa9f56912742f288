"""Tagged output of handlers: each printed line has the function and the request id in front.

Many invocations run at once and print through the same two streams; a context variable says which one prints.
"""

import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import BinaryIO, TextIO

from tellwire.apigateway.runner.log_tail import LogTail

_current: ContextVar["Lines | None"] = ContextVar("tellwire_lines", default=None)


class Lines:
    """The lines of one invocation. A line that is written in pieces is held back until it is complete."""

    def __init__(self, tag: str, tail: LogTail | None = None) -> None:
        self._tag = tag
        self._tail = tail
        self._incomplete: dict[TextIO, str] = {}
        # A handler's own threads may print for it.
        self._lock = threading.Lock()

    def write(self, stream: TextIO, text: str) -> None:
        with self._lock:
            *complete, incomplete = (self._incomplete.get(stream, "") + text).split("\n")
            self._incomplete[stream] = incomplete
        if complete:
            # One call, so that no other invocation's line lands inside.
            stream.write("".join(f"{self._tag} | {line}\n" for line in complete))
            stream.flush()
            if self._tail is not None:
                self._tail.add(*complete)

    def end(self) -> None:
        """Write the incomplete last lines."""
        for stream, incomplete in list(self._incomplete.items()):
            if incomplete:
                self.write(stream, "\n")


@contextmanager
def tagged(tag: str, tail: LogTail | None = None) -> Iterator[None]:
    """Put `tag` in front of every line that is printed in this context, where the streams are `TaggedStream`s.

    The lines are added to `tail`, too.
    """
    lines = Lines(tag, tail)
    token = _current.set(lines)
    try:
        yield
    finally:
        _current.reset(token)
        lines.end()


class TaggedStream(io.TextIOBase):
    """A text stream that tags lines of invocations and writes them to `log`; other text goes to the stream it wraps."""

    def __init__(self, stream: TextIO, log: TextIO | None = None) -> None:
        self._stream = stream
        self._log = log or stream

    def write(self, text: str) -> int:
        lines = _current.get()
        if lines is None:
            return self._stream.write(text)
        lines.write(self._log, text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def buffer(self) -> BinaryIO:
        """Return the wrapped stream of bytes, whose lines have no tag."""
        return self._stream.buffer

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self._stream.errors


@contextmanager
def tagged_streams() -> Iterator[None]:
    """Replace standard output and standard error by tagged streams; lines of invocations go to standard error."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = TaggedStream(sys.stdout, sys.stderr), TaggedStream(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
