"""A tutorial that is gone through: its files written, its commands typed, its page opened."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from playwright.async_api import Page, async_playwright, expect

from scripts.tutorial.page import BROWSER, Pressed, Seen, Step, Typed, Written, pattern
from scripts.tutorial.terminal import Terminal

SECONDS: Final = 240.0
"""The timeout of one step: installing takes a while on a slow line."""

_OF_THIS_ENVIRONMENT: Final = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")


class Reader:
    """A reader who does each step of the page, in an empty folder."""

    def __init__(self, folder: Path, packages: Path, tell: Callable[[str], None]) -> None:
        self._folder = folder
        self._environ = environment(packages)
        self._tell = tell
        self._terminals: dict[str, Terminal] = {}
        self._page: Page | None = None
        self._stack = AsyncExitStack()

    async def go_through(self, steps: list[Step]) -> None:
        """Do all steps.

        Raises:
            TerminalError: a command failed, or did not show what the page says.
            AssertionError: the browser did not show it.
        """
        async with self._stack:
            for step in steps:
                await self._do(step)

    async def _do(self, step: Step) -> None:
        match step:
            case Written(name, text):
                self._tell(f"write {name}")
                (self._project / name).write_text(text)
            case Typed(name, lines, runs_on):
                self._tell(f"{name}: {lines[-1]}")
                await (await self._terminal(name)).type(lines, runs_on=runs_on)
            case Pressed(url, button):
                self._tell(f"open {url} and press {button}")
                self._page = await self._stack.enter_async_context(browser())
                await self._page.goto(url)
                await self._page.get_by_role("button", name=button, exact=True).click()
            case Seen(place, lines):
                self._tell(f"{place} shows: {lines[-1]}")
                for line in lines:
                    await self._see(place, line)

    async def _see(self, place: str, line: str) -> None:
        if place == BROWSER:
            assert self._page is not None
            await expect(self._page.get_by_text(pattern(line)).first).to_be_visible(timeout=SECONDS * 1000)
        else:
            await self._terminals[place].shows(line)

    async def _terminal(self, name: str) -> Terminal:
        if name not in self._terminals:
            terminal = self._terminals[name] = Terminal(name, SECONDS)
            await terminal.start(self._folder, self._environ)
            self._stack.push_async_callback(terminal.close)
        return self._terminals[name]

    @property
    def _project(self) -> Path:
        """The folder that the first commands have made."""
        (project,) = (each for each in self._folder.iterdir() if each.is_dir())
        return project


def environment(packages: Path) -> dict[str, str]:
    """Return the environment of somebody who has this Python alone, and the packages that are built from here."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _OF_THIS_ENVIRONMENT and not name.startswith("TELLWIRE_")
    }
    python = Path(getattr(sys, "_base_executable", sys.executable)).parent
    # As the page about installing says.
    return kept | {"PIP_FIND_LINKS": str(packages), "PATH": f"{python}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


@asynccontextmanager
async def browser() -> AsyncIterator[Page]:
    """Open a page of Chromium.

    Raises:
        FileNotFoundError: there is none.
    """
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        raise FileNotFoundError("there is no chromium on this machine")
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            async with asyncio.timeout(SECONDS):
                page = await chromium.new_page()
            yield page
        finally:
            await chromium.close()
