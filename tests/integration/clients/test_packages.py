"""The npm packages, packed and installed as a user would: in a fresh Vite project, and beside React 18."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.tools import missing, require, require_module

CLIENTS = Path(__file__).parents[3] / "clients"
PROJECTS = Path(__file__).parent / "projects"
INSTALL = (
    "install",
    "--no-save",
    "--prefer-offline",
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--loglevel=error",
)
URL = "wss://fresh.example.com/dev"

pytestmark = [pytest.mark.timeout(240), pytest.mark.long]


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a program that must succeed, and return its output."""
    # What npm tells the programs that it runs is about another project.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("npm_")}
    done = subprocess.run(
        command, cwd=cwd, env=inherited | environment, capture_output=True, text=True, timeout=180, check=False
    )
    said = done.stdout + done.stderr
    if done.returncode and re.search(r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT", said):
        missing("npm does not reach its registry")
    assert done.returncode == 0, said
    return said


@pytest.fixture(scope="module")
def tarballs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Both packages, built and packed."""
    require_module(CLIENTS, "typescript")
    directory = tmp_path_factory.mktemp("tarballs")
    run(require("npm"), "pack", "--workspaces", "--silent", "--pack-destination", directory, cwd=CLIENTS)
    return sorted(directory.iterdir())


def install(project: str, tarballs: list[Path], directory: Path) -> Path:
    """Return a copy of a project, with all it needs and the packages installed."""
    copy = Path(shutil.copytree(PROJECTS / project, directory / project))
    run(require("npm"), *INSTALL, *tarballs, cwd=copy)
    return copy


def example_of_the_readme() -> str:
    found = re.search(r"```tsx\n(.*?)```", (CLIENTS / "react" / "README.md").read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def test_both_packages_hold_what_is_needed_and_no_more(tarballs: list[Path]) -> None:
    assert [each.name.rsplit("-", 1)[0] for each in tarballs] == ["tellwire-client", "tellwire-react"]
    for tarball in tarballs:
        files = run("tar", "tzf", tarball, cwd=tarball.parent).split()
        top = {name.removeprefix("package/").split("/")[0] for name in files}
        assert top == {"dist", "package.json", "README.md", "LICENSE"}
        assert {"package/dist/index.js", "package/dist/index.d.ts"} <= set(files)


def test_the_readme_and_the_guide_work_in_a_fresh_project(tarballs: list[Path], tmp_path: Path) -> None:
    example = example_of_the_readme()
    assert len([line for line in example.splitlines() if line]) == 12
    project = install("vite", tarballs, tmp_path)
    (project / "src" / "App.tsx").write_text(example)
    shutil.copy(CLIENTS / "react" / "test" / "guide" / "panel.tsx", project / "src" / "Panel.tsx")

    said = run(require("npm"), "run", "build", cwd=project, VITE_WEBSOCKET_URL=URL)

    assert "warn" not in said.lower()
    (bundle,) = (project / "dist" / "assets").glob("*.js")
    assert URL in bundle.read_text(), "VITE_WEBSOCKET_URL was not put in its place"


def test_the_hooks_pass_their_tests_packed_and_with_react_18(tarballs: list[Path], tmp_path: Path) -> None:
    project = install("react-18", tarballs, tmp_path)
    modules = project / "node_modules"
    for name in ("vitest", "typescript"):
        (modules / name).symlink_to(require_module(CLIENTS, name))
    node = require("node")
    assert run(node, "-p", "require('react-dom').version", cwd=project).startswith("18.")

    (project / "App.tsx").write_text(example_of_the_readme())
    run(node, modules / "typescript" / "bin" / "tsc", cwd=project)

    shutil.copytree(modules / "@tellwire" / "react" / "dist", project / "src")
    shutil.copytree(CLIENTS / "react" / "test", project / "test")
    run(node, modules / "vitest" / "vitest.mjs", "run", "--no-isolate", "test.tsx", cwd=project)
