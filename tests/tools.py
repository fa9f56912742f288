"""Helpers of tests: programs that are not Python packages, and waiting for a condition.

Without a program its tests are skipped; in CI they fail.
"""

import asyncio
import inspect
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

SECONDS = 100.0
"""The timeout of a wait in a test: far above the usual time, and below the timeout of the test."""


def missing(what: str) -> NoReturn:
    """Skip the test, or in CI fail it, and name the missing program."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}, and CI must run every test", pytrace=False)
    pytest.skip(what)


def require(*names: str) -> str:
    """Return the path of the first of these programs that is installed."""
    beside_python = Path(sys.executable).parent
    places = f"{beside_python}{os.pathsep}{os.environ.get('PATH', '')}"
    found = next(filter(None, (shutil.which(name, path=places) for name in names)), None)
    return found or missing(f"there is no {names[0]} on this machine")


def require_module(directory: Path, name: str) -> Path:
    """Return the path of an npm package that is installed in a directory."""
    module = directory / "node_modules" / name
    return module if module.is_dir() else missing(f"{name} is not installed (make test installs it with npm)")


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so. The condition may be asynchronous."""
    async with asyncio.timeout(SECONDS):
        while not (await found if inspect.isawaitable(found := condition()) else found):
            await asyncio.sleep(0.01)
