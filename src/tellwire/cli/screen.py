"""The two outputs of `tellwire listen`: a live screen for people, JSON lines for programs."""

import contextlib
import sys
from collections.abc import Iterator
from io import TextIOWrapper
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task, TaskID
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_COLOURS = {"info": "cyan", "success": "green", "warning": "yellow", "error": "red"}
_NAME_WIDTH = 10
_BAR_WIDTH = 8
_WIDEST_BAR = 40
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


class UploadColumn(ProgressColumn):
    """The line of an upload: name, bar, percent and words, as far as the terminal is wide.

    The percent always stays. Of the rest the words go first, then the bar, then the end of the name.
    """

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self.longest_name = 0

    def render(self, task: Task) -> Table:
        name, words = str(task.fields["file_name"]), str(task.fields["words"])
        percent = f"{task.percentage:>5.1f}%"
        room = max(0, self._console.width - len(percent))
        name_width = min(self.longest_name, max(_NAME_WIDTH, room // 3), max(0, room - 1))
        room -= name_width + 1
        bar_width = max(_BAR_WIDTH, min(_WIDEST_BAR, room // 2)) if room > _BAR_WIDTH else 0
        room -= bar_width + 1 if bar_width else 0
        cells: list[tuple[int, Text | ProgressBar]] = [
            (name_width, Text(name, no_wrap=True, overflow="ellipsis")),
            (bar_width, ProgressBar(task.total, task.completed, width=bar_width)),
            (len(percent), Text(percent)),
            (max(0, room - 1), Text(words, str(task.fields["colour"]), no_wrap=True, overflow="ellipsis")),
        ]
        shown = [(width, cell) for width, cell in cells if width]
        line = Table.grid(padding=(0, 1, 0, 0))
        for width, _ in shown:
            line.add_column(width=width, no_wrap=True)
        line.add_row(*(cell for _, cell in shown))
        return line


class Screen:
    """A live terminal: a bar for each upload at the bottom, everything else scrolls above."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        if isinstance(self._console.file, TextIOWrapper):
            # The console adds an ellipsis of its own.
            self._console.file.reconfigure(errors="replace")
        self._column = UploadColumn(self._console)
        self._progress = Progress(self._column, console=self._console)
        self._bars: dict[tuple[str, str], TaskID] = {}
        self._keys = unechoed_keys()

    def show(self, payload: bytes) -> None:
        try:
            message = msgspec.json.decode(payload)
            kind, data, where = message["type"], message["data"], _origin(message)
        except (msgspec.DecodeError, KeyError, TypeError):
            self._line("not a message", payload.decode(errors="replace"), "red")
            return
        match kind, data:
            case "upload_progress", {"uploadId": str(upload_id), "progress": int() | float()}:
                self._bar(where, upload_id, data)
            case "seen" | "marks", _:
                pass  # this screen has no list of notifications to mark as read
            case "notification", {"title": str(title), "message": str(words)}:
                self._line(title, words, _COLOURS.get(str(data.get("severity")), "white"), where)
            case "error", {"code": str(code), "message": str(words)}:
                self._line(code, words, "red", where)
                if data.get("details") is not None:
                    self.say(f"  {msgspec.json.encode(data['details']).decode()}")
            case _:
                self._line(str(kind), msgspec.json.encode(data).decode(), "magenta", where)

    def say(self, text: str) -> None:
        self._console.print(Text(self._printable(text), style="dim"))

    def __enter__(self) -> Self:
        self._keys.__enter__()
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        self._keys.__exit__(kind, error, trace)

    def _bar(self, where: str, upload_id: str, data: dict[str, Any]) -> None:
        bar = where, upload_id
        if bar not in self._bars:
            self._bars[bar] = self._progress.add_task("", total=100, file_name="", words="", colour="")
        name = self._printable(f"{where} {data.get('fileName', upload_id)}".lstrip())
        self._column.longest_name = max(self._column.longest_name, cell_len(name))
        self._progress.update(
            self._bars[bar],
            completed=data["progress"],
            file_name=name,
            words=self._printable(str(data.get("message", ""))),
            colour=_STATUS_COLOURS.get(str(data.get("status")), ""),
        )

    def _line(self, title: str, words: str, colour: str, where: str = "") -> None:
        line = Text.assemble((self._printable(title), f"bold {colour}"), "  ", self._printable(words))
        if where:
            line = Text.assemble((self._printable(where), "dim"), "  ", line)
        self._console.print(line)

    def _printable(self, text: str) -> str:
        encoding = self._console.encoding
        return printable(text).encode(encoding, errors="replace").decode(encoding)


def _origin(message: dict[str, Any]) -> str:
    """Return the topic of a message, and the user who published it, as far as it has them."""
    return " ".join(str(message[name]) for name in ("topic", "from") if message.get(name) is not None)


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
