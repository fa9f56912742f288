"""Programs that tests need and Python does not bring. Who has not installed one skips its tests; CI must run them."""

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest


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
