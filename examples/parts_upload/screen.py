"""Output of the demo: the received messages of each device, as they arrive.

On a terminal two panels side by side, with a bar for each upload and the other messages below; otherwise (a pipe, a
log) a line for each message. Only received messages are shown, not sent ones.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from examples.parts_upload.devices import Device, Message

_COLOURS: Final = {"info": "cyan", "success": "green", "warning": "yellow", "error": "red"}
_BAR_COLOURS: Final = {
    "queued": "cyan",
    "running": "cyan",
    "retrying": "yellow",
    "stalled": "yellow",
    "complete": "green",
    "failed": "red",
    "cancelled": "white",
}
_BARS_SHOWN: Final = 4
_NEWS_SHOWN: Final = 5
_ITEMS_SHOWN: Final = 5
_REDRAW_SECONDS: Final = 0.04


class Screen(Protocol):
    """The output of the demo."""

    def watch(self, devices: Sequence[Device]) -> None:
        """Set the devices to show."""
        ...

    def received(self, device: Device, message: Message) -> None:
        """Show a received message, which `device` has already recorded."""
        ...

    def say(self, text: str) -> None:
        """Show a note on the demo itself."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def make_screen() -> Screen:
    """Return panels for a terminal, else lines."""
    return Panels() if sys.stdout.isatty() else Lines()


class Lines:
    """A line for each message."""

    def watch(self, devices: Sequence[Device]) -> None:
        pass

    def received(self, device: Device, message: Message) -> None:
        for line in line_of(message).splitlines():
            self.say(f"{device.name:<7} {line}")

    def say(self, text: str) -> None:
        try:
            print(printable(text), flush=True)
        except BrokenPipeError:
            # The reader has gone (`| head`). The demo continues for its exit code.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def line_of(message: Message) -> str:
    """Return a message as text; an empty one for messages that are not shown."""
    match message:
        case {"type": "upload_progress", "data": {"fileName": name, "progress": progress, "message": words}}:
            return f"{name:<16} {progress:5.1f}%  {words}"
        case {"type": "notification", "data": {"title": title, "message": words}}:
            return f"{title}: {words}"
        case {"type": "error", "data": {"code": code, "message": words}}:
            return "\n".join([f"{code}: {words}", *causes_of(message["data"])])
        case _:
            return ""


def causes_of(error: Message) -> list[str]:
    """Return a line for each cause in an error's details: the number, the reason and the first items."""
    lines = []
    for cause in (error.get("details") or {}).get("causes", []):
        item, first = next((name, cause[name]) for name in ("rows", "images") if name in cause)
        items = ", ".join(map(str, first[:_ITEMS_SHOWN]))
        more = ", …" if cause["count"] > _ITEMS_SHOWN else ""
        lines.append(f"  {cause['count']:,} × {cause['reason']} ({item} {items}{more})")
    return lines


class Panels:
    """A panel for each device. Drawing is delayed a little: its time would otherwise count as delivery time."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._live = Live(console=self._console, auto_refresh=False)
        self._devices: Sequence[Device] = ()
        self._drawing: asyncio.TimerHandle | None = None

    def watch(self, devices: Sequence[Device]) -> None:
        self._devices = devices
        self._draw()

    def received(self, device: Device, message: Message) -> None:
        if self._drawing is None:
            self._drawing = asyncio.get_running_loop().call_later(_REDRAW_SECONDS, self._draw)

    def say(self, text: str) -> None:
        # Not wrapped, so that a shown command can be copied.
        self._console.print(Text(printable(text)), soft_wrap=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._drawing is not None:
            self._drawing.cancel()
            self._draw()
        self._live.stop()

    def _draw(self) -> None:
        self._drawing = None
        side_by_side = Table.grid(expand=True)
        for _ in self._devices:
            side_by_side.add_column(ratio=1)
        side_by_side.add_row(*map(panel_of, self._devices))
        self._live.update(side_by_side, refresh=True)


def panel_of(device: Device) -> Panel:
    """Draw the messages of a device so far."""
    bars = [bar_of(states[-1]) for states in list(device.uploads().values())[-_BARS_SHOWN:]]
    news = [news_of(message) for message in device.messages if message["type"] in ("notification", "error")]
    return Panel(Group(*bars, *news[-_NEWS_SHOWN:]), title=printable(device.name), title_align="left")


def bar_of(state: Message) -> RenderableType:
    """Draw the state of an upload: its name and percentage, a bar, its message."""
    colour = _BAR_COLOURS.get(str(state.get("status")), "cyan")
    bar = ProgressBar(100, state["progress"], complete_style=colour, finished_style=colour)
    grid = Table.grid(expand=True, padding=(0, 1, 0, 0))
    grid.add_column(ratio=1)
    grid.add_column(justify="right", width=6)
    grid.add_row(Text(printable(state["fileName"]), "bold"), "")
    grid.add_row(bar, Text(f"{state['progress']:.1f}%"))
    grid.add_row(Text(printable(state["message"]), "dim"), "")
    return grid


def news_of(message: Message) -> Text:
    """Draw a notification or an error."""
    match message["data"]:
        case {"title": title, "message": words, "severity": severity}:
            return Text.assemble((printable(title), f"bold {_COLOURS.get(severity, 'white')}"), "  ", printable(words))
        case data:
            causes = "".join(f"\n{printable(line)}" for line in causes_of(data))
            return Text.assemble(
                (printable(data["code"]), "bold red"), "  ", printable(data["message"]), (causes, "dim")
            )


def printable(text: str) -> str:
    """Return `text` without control characters, so that a message cannot send commands to the terminal."""
    return "".join(character if character.isprintable() else "�" for character in text)
