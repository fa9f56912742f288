"""Installation of the peers' programs into folders of their own: npm packages by a lock file, or a venv.

A program is a folder of `programs`, with its server and exact versions. It is copied into the install folder with the
files of `programs/shared`, and installed again only if one of these has changed, or Node or Python.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"
_SHARED = PROGRAMS / "shared"
UV = Path(__file__).parents[2] / ".tools" / "bin" / "uv"
_SECONDS = 600.0


def install_packages(program: str, folder: Path) -> str | None:
    """Install the npm packages of a program. Return None, or why that is not possible."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return "needs Node and npm"
    version = _output([node, "--version"])
    return install_program(program, folder, version, [[npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]])


def install_venv(program: str, folder: Path) -> str | None:
    """Install the requirements of a program into a venv. Return None, or why that is not possible."""
    if not UV.exists():
        return "needs uv in .tools: run `make setup`"
    python = str(folder / "venv" / "bin" / "python")
    commands = [
        [str(UV), "venv", "--quiet", "--clear", "--python", sys.executable, "venv"],
        [str(UV), "pip", "install", "--quiet", "--python", python, "-r", "requirements.txt"],
    ]
    return install_program(program, folder, sys.version, commands)


def install_program(program: str, folder: Path, runtime: str, commands: Sequence[Sequence[str]]) -> str | None:
    """Copy a program and run the commands that install its packages, if it or its runtime has changed."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [path for source in (PROGRAMS / program, _SHARED) for path in sorted(source.iterdir()) if path.is_file()]
    for path in files:
        shutil.copy(path, folder)
    stamp, now = folder / "installed", _digest(runtime, files)
    if stamp.exists() and stamp.read_text() == now:
        return None
    stamp.unlink(missing_ok=True)
    for command in commands:
        if (why := refusal(command, folder)) is not None:
            return why
    stamp.write_text(now)
    return None


def package_version(program: str, package: str) -> str:
    """Return the version of an npm package that a program has."""
    dependencies = json.loads((PROGRAMS / program / "package.json").read_text())["dependencies"]
    return str(dependencies[package])


def required_version(program: str, package: str) -> str:
    """Return the version of a Python package that a program has."""
    found = re.search(rf"^{re.escape(package)}==(\S+)", (PROGRAMS / program / "requirements.txt").read_text(), re.M)
    assert found is not None
    return found[1]


def refusal(command: Sequence[str | Path], folder: Path) -> str | None:
    """Return None if a command succeeds, or the line that says why it did not: the first with an error."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            timeout=_SECONDS,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{Path(command[0]).name}: {error.__class__.__name__}"
    if done.returncode == 0:
        return None
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), f"{Path(command[0]).name} failed")


def _digest(runtime: str, files: Sequence[Path]) -> str:
    digest = hashlib.sha256(runtime.encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
