"""What the demo shows: what each device received, as it receives it.

On a terminal two panels side by side, with a bar for each upload and the other messages beneath; otherwise (a pipe, a
log) a line for each message. Nothing is shown because it was sent.
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
from tellwire.cli.screen import printable, unechoed_keys

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
    """Where the demo is watched."""

    def watch(self, devices: Sequence[Device]) -> None:
        """Show these devices from now on."""
        ...

    def received(self, device: Device, message: Message) -> None:
        """Show that a device received a message. It is in `device` already."""
        ...

    def say(self, text: str) -> None:
        """Say something about the demo itself."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def make_screen() -> Screen:
    """Return the screen that suits standard output."""
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
            # Whoever read it has gone (`| head`). The demo goes on; its exit code still tells.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def line_of(message: Message) -> str:
    """Return a message as one line; an empty one if it is nothing for people."""
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
    """Return a line for each cause in an error's details: how many, why, and which."""
    lines = []
    for cause in (error.get("details") or {}).get("causes", []):
        item, first = next((name, cause[name]) for name in ("rows", "images") if name in cause)
        which = ", ".join(map(str, first[:_ITEMS_SHOWN]))
        more = ", …" if cause["count"] > _ITEMS_SHOWN else ""
        lines.append(f"  {cause['count']:,} × {cause['reason']} ({item} {which}{more})")
    return lines


class Panels:
    """A panel for each device. Drawn a moment after something came: drawing takes time that would count as delivery."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._live = Live(console=self._console, auto_refresh=False)
        self._devices: Sequence[Device] = ()
        self._keys = unechoed_keys()
        self._drawing: asyncio.TimerHandle | None = None

    def watch(self, devices: Sequence[Device]) -> None:
        self._devices = devices
        self._draw()

    def received(self, device: Device, message: Message) -> None:
        if self._drawing is None:
            self._drawing = asyncio.get_running_loop().call_later(_REDRAW_SECONDS, self._draw)

    def say(self, text: str) -> None:
        # Not wrapped: a command that is shown is one to copy.
        self._console.print(Text(printable(text)), soft_wrap=True)

    def __enter__(self) -> Self:
        self._keys.__enter__()
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._drawing is not None:
            self._drawing.cancel()
            self._draw()
        self._live.stop()
        self._keys.__exit__(kind, error, trace)

    def _draw(self) -> None:
        self._drawing = None
        side_by_side = Table.grid(expand=True)
        for _ in self._devices:
            side_by_side.add_column(ratio=1)
        side_by_side.add_row(*map(panel_of, self._devices))
        self._live.update(side_by_side, refresh=True)


def panel_of(device: Device) -> Panel:
    """Draw what a device received so far."""
    bars = [bar_of(states[-1]) for states in list(device.uploads().values())[-_BARS_SHOWN:]]
    news = [news_of(message) for message in device.messages if message["type"] in ("notification", "error")]
    return Panel(Group(*bars, *news[-_NEWS_SHOWN:]), title=printable(device.name), title_align="left")


def bar_of(state: Message) -> RenderableType:
    """Draw the state of an upload: its name and percentage, a bar, its words."""
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
