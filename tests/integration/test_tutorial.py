"""The tutorial, typed as it is written, with the wheel of this checkout in a fresh environment and a real browser."""

import subprocess
from pathlib import Path

import pytest

from bench.processes import free_port
from scripts.tutorial.__main__ import PAGE, PORTS, ROOT
from scripts.tutorial.page import steps
from scripts.tutorial.typing import Reader
from tellwire.gateway.client_script import SCRIPT
from tests.tools import missing, require

UV = ROOT / ".tools" / "bin" / "uv"


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder with the wheel of this checkout."""
    require("chromium", "chromium-browser", "google-chrome")
    if not SCRIPT.is_file() or not UV.exists():
        missing("the page's script is not built (make script does, with npm)")
    folder = tmp_path / "packages"
    subprocess.run([UV, "build", "--wheel", "-q", "-o", folder], cwd=ROOT, check=True, timeout=200)
    return folder


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_the_tutorial_works_as_it_is_written(tmp_path: Path, packages: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    done: list[str] = []
    await Reader(folder, packages, done.append).go_through(
        steps(PAGE.read_text("utf-8"), {port: free_port() for port in PORTS})
    )
    assert done[-1] == "Browser shows: Import complete"
