"""The Dockerfile: its steps run one by one in fresh directories, and their result serves and is healthy.

Images cannot be pulled in tests. So each stage is a directory, FROM is the programs of this machine, and absolute paths
lead into the stage. `npm ci` is the one step that is not run again: `make` has run it, from the same lock file.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from bench.processes import free_port
from tests.conftest import SECRET
from tests.tools import require, require_module, until
from tests.unit.test_deploy import DEPLOY, instructions

ROOT = DEPLOY.parent
DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
NPM_CI = "cd clients && npm ci --ignore-scripts"
PLACES = ("/src", "/wheels", "/opt/tellwire", "/var/lib/tellwire")


class Stage:
    """A stage of the image, in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.here = directory
        directory.mkdir(parents=True)

    def path(self, text: str) -> str:
        """Return a text whose absolute paths lead into this stage."""
        return re.sub(
            f"(?<![\\w/])({'|'.join(PLACES)})(?=[/ :,'\\\"]|$)", lambda each: f"{self.directory}{each[1]}", text
        )

    def workdir(self, place: str) -> None:
        self.here = Path(self.path(place))
        self.here.mkdir(parents=True, exist_ok=True)

    def copy(self, words: list[str], stages: dict[str, "Stage"]) -> None:
        """Copy as COPY does, from the clone or from a stage: the contents of a directory, or files."""
        *sources, target = [each for each in words if not each.startswith("--")]
        origin = next((stages[each.removeprefix("--from=")] for each in words if each.startswith("--from=")), None)
        for source in sources:
            found = ROOT / source if origin is None else Path(origin.path(source))
            place = self.here / self.path(target)
            if found.is_dir():
                ignored = shutil.ignore_patterns("node_modules", "dist", "__pycache__", "tellwire.js")
                shutil.copytree(found, place, symlinks=True, ignore=None if origin else ignored, dirs_exist_ok=True)
            else:
                place = place / found.name if target.endswith("/") else place
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(found, place)

    def run(self, command: str) -> None:
        if command.startswith(NPM_CI):
            installed = require_module(ROOT / "clients", "esbuild").parent
            (self.directory / "src" / "clients" / "node_modules").symlink_to(installed)
            return
        done = subprocess.run(
            ["sh", "-ec", self.path(command)],
            cwd=self.here,
            env={name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"},
            capture_output=True,
            text=True,
            timeout=230,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def built(directory: Path) -> Stage:
    """Run the whole Dockerfile, and return its last stage."""
    stages: dict[str, Stage] = {}
    for name, text in instructions(DOCKERFILE):
        match name:
            case "FROM":
                label = text.split(" AS ")[1] if " AS " in text else "last"
                stage = stages[label] = Stage(directory / label)
            case "WORKDIR":
                stage.workdir(text)
            case "COPY":
                stage.copy(text.split(), stages)
            case "RUN":
                stage.run(text)
    return stages["last"]


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """The last stage, after all steps."""
    require("npm")
    if os.geteuid() != 0:
        pytest.skip("the builder of an image is root")
    # `pip install uv` is a step of the image: not into the environment of the tests.
    tools = tmp_path / "tools"
    subprocess.run([require("python3"), "-m", "venv", tools], timeout=100, check=True)
    monkeypatch.setenv("PATH", f"{tools}/bin{os.pathsep}{os.environ['PATH']}")
    last = built(tmp_path / "stages")
    home = Path(last.path("/var/lib/tellwire"))
    assert (home.stat().st_uid, home.stat().st_mode & 0o777) == (10001, 0o700)
    (script,) = Path(last.path("/opt/tellwire")).glob("lib/python3*/site-packages/tellwire/gateway/script/*.js")
    assert script.stat().st_size > 10_000
    return last


@pytest.mark.long
async def test_the_steps_of_the_image_make_a_gateway_that_serves(image: Stage, tmp_path: Path) -> None:
    found, port = dict(instructions(DOCKERFILE)), free_port()
    process = await asyncio.create_subprocess_exec(
        image.path("/opt/tellwire/bin/" + json.loads(found["ENTRYPOINT"])[0]),
        *json.loads(found["CMD"]),
        cwd=tmp_path,
        env={
            "TELLWIRE_JWT_SECRET": SECRET,
            "TELLWIRE_PORT": str(port),
            "TELLWIRE_METRICS": "true",
            "TELLWIRE_DATABASE": str(tmp_path / "live.sqlite3"),
        },
        stdout=-1,
        stderr=-1,
    )
    try:
        health = json.loads(found["HEALTHCHECK"].split("CMD ")[1].replace("8787", str(port)))

        async def is_healthy() -> bool:
            assert process.returncode is None, (await process.communicate())[1]
            done = await asyncio.to_thread(subprocess.run, health, capture_output=True, timeout=60, check=False)
            return done.returncode == 0

        await until(is_healthy)
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 60) == 0
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
