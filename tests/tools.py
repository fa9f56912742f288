"""What tests share: programs that Python does not bring, and how to wait for something.

Who has not installed a program skips its tests; CI must run them.
"""

import asyncio
import itertools
import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

SECONDS = 45.0
"""How long a test waits for what must happen: far more than it needs, and less than it may take itself."""


def missing(what: str) -> NoReturn:
    """Skip the test, or in CI fail it, saying what is not here."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}, and CI must run every test", pytrace=False)
    pytest.skip(what)


def require(*names: str) -> str:
    """Return the path of the first of these programs that is here."""
    beside_python = Path(sys.executable).parent
    places = f"{beside_python}{os.pathsep}{os.environ.get('PATH', '')}"
    found = next(filter(None, (shutil.which(name, path=places) for name in names)), None)
    return found or missing(f"there is no {names[0]} on this machine")


def require_module(directory: Path, name: str) -> Path:
    """Return where a package from npm is that belongs to a directory."""
    module = directory / "node_modules" / name
    return module if module.is_dir() else missing(f"{name} is not installed (make test installs it with npm)")


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


# Below those that the system gives to whoever asks for any: between a look and its use, nobody gets such a port.
_PORTS = itertools.count(10_000 + 13 * os.getpid() % 20_000)


def free_port() -> int:
    """Return a port of this machine for a program that cannot choose one itself."""
    for port in _PORTS:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError("there are ports without end")
