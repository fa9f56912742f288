"""The two outputs of `tellwire listen`: a live screen for people, JSON lines for programs."""

import contextlib
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

_COLOURS = {"info": "cyan", "success": "green", "warning": "yellow", "error": "red"}
_STATUS_COLOURS = {"failed": "red", "complete": "green", "stalled": "yellow", "cancelled": "bright_black"}


class OutputLost(Exception):
    """The reader of standard output has gone, or it cannot be written."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"cannot write: {error.strerror}")
        self.reader_left = isinstance(error, BrokenPipeError)


class Output(Protocol):
    """A destination for messages and for notes on the connection."""

    def show(self, payload: bytes) -> None:
        """Show one message as received. Raises `OutputLost` if it cannot be written."""
        ...

    def say(self, text: str) -> None:
        """Show a note on the connection."""
        ...

    def __enter__(self) -> object: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class JsonLines:
    """Messages to standard output byte for byte, notes to standard error."""

    def show(self, payload: bytes) -> None:
        try:
            sys.stdout.buffer.write(payload + b"\n")
            sys.stdout.buffer.flush()
        except OSError as error:
            raise OutputLost(error) from error

    def say(self, text: str) -> None:
        sys.stderr.write(f"tellwire: {printable(text)}\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class Screen:
    """A live terminal: a bar for each upload at the bottom, everything else scrolls above."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._progress = Progress(
            TextColumn("{task.fields[file_name]}"),
            BarColumn(),
            TextColumn("{task.percentage:>5.1f}%"),
            TextColumn("{task.description}"),
            console=self._console,
        )
        self._bars: dict[str, TaskID] = {}
        self._keys = unechoed_keys()

    def show(self, payload: bytes) -> None:
        try:
            message = msgspec.json.decode(payload)
            kind, data = message["type"], message["data"]
        except (msgspec.DecodeError, KeyError, TypeError):
            self._line("not a message", payload.decode(errors="replace"), "red")
            return
        match kind, data:
            case "upload_progress", {"uploadId": str(upload_id), "progress": int() | float()}:
                self._bar(upload_id, data)
            case "seen", _:
                pass  # this screen has no list of notifications to mark as read
            case "notification", {"title": str(title), "message": str(words)}:
                self._line(title, words, _COLOURS.get(str(data.get("severity")), "white"))
            case "error", {"code": str(code), "message": str(words)}:
                self._line(code, words, "red")
                if data.get("details") is not None:
                    self.say(f"  {msgspec.json.encode(data['details']).decode()}")
            case _:
                self._line(str(kind), msgspec.json.encode(data).decode(), "magenta")

    def say(self, text: str) -> None:
        self._console.print(Text(printable(text), style="dim"))

    def __enter__(self) -> Self:
        self._keys.__enter__()
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        self._keys.__exit__(kind, error, trace)

    def _bar(self, upload_id: str, data: dict[str, Any]) -> None:
        if upload_id not in self._bars:
            self._bars[upload_id] = self._progress.add_task("", total=100, file_name="")
        colour = _STATUS_COLOURS.get(str(data.get("status")))
        words = _escaped(str(data.get("message", "")))
        self._progress.update(
            self._bars[upload_id],
            completed=data["progress"],
            description=f"[{colour}]{words}[/]" if colour else words,
            file_name=_escaped(str(data.get("fileName", upload_id))),
        )

    def _line(self, title: str, words: str, colour: str) -> None:
        self._console.print(Text.assemble((printable(title), f"bold {colour}"), "  ", printable(words)))


@contextlib.contextmanager
def unechoed_keys() -> Iterator[None]:
    """Keep a terminal from writing `^C` into a live screen, which would leave a broken copy of its last lines."""
    try:
        import termios
    except ImportError:  # Windows
        yield
        return
    try:
        before = termios.tcgetattr(sys.stdin)
    except (termios.error, ValueError, OSError):
        yield
        return
    quiet = list(before)
    quiet[3] = before[3] & ~termios.ECHOCTL
    termios.tcsetattr(sys.stdin, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def printable(text: str) -> str:
    """Return `text` without control characters, so that a message cannot send commands to the terminal."""
    return "".join(character if character.isprintable() else "�" for character in text)


def _escaped(text: str) -> str:
    return printable(text).replace("[", r"\[")
