"""The npm packages, packed and installed as a user would, in projects of the kinds that people have.

Each project has its lock file, and runs the examples of the READMEs.
"""

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
    """The packages, built and packed."""
    require_module(CLIENTS, "typescript")
    directory = tmp_path_factory.mktemp("tarballs")
    run(require("npm"), "pack", "--workspaces", "--silent", "--pack-destination", directory, cwd=CLIENTS)
    return sorted(directory.iterdir())


def install(project: str, tarballs: list[Path], directory: Path) -> Path:
    """Return a copy of a project, with all it needs and the packages installed."""
    copy = Path(shutil.copytree(PROJECTS / project, directory / project))
    run(require("npm"), *INSTALL, *tarballs, cwd=copy)
    return copy


def borrow(project: Path, *names: str) -> None:
    """Link packages of clients/ into a project, which then need not be installed again."""
    for name in names:
        (project / "node_modules" / name).symlink_to(require_module(CLIENTS, name))


def example(package: str, language: str = "tsx", heading: str = "") -> str:
    """Return the first example in a language below a heading of a README."""
    readme = (CLIENTS / package / "README.md").read_text()
    found = re.search(rf"```{language}\n(.*?)```", readme[readme.index(heading) :], re.DOTALL)
    assert found is not None, f"{package}/README.md: there is no {language} below {heading!r}"
    return found[1]


def test_the_packages_hold_what_is_needed_and_no_more(tarballs: list[Path]) -> None:
    assert [each.name.rsplit("-", 1)[0] for each in tarballs] == [
        f"tellwire-{name}" for name in ("client", "elements", "react")
    ]
    for tarball in tarballs:
        files = run("tar", "tzf", tarball, cwd=tarball.parent).split()
        top = {name.removeprefix("package/").split("/")[0] for name in files}
        assert top == {"dist", "package.json", "README.md", "LICENSE"}
        assert {"package/dist/index.js", "package/dist/index.d.ts"} <= set(files)


def test_the_readme_and_the_guide_work_in_a_fresh_project(tarballs: list[Path], tmp_path: Path) -> None:
    app = example("react")
    assert len([line for line in app.splitlines() if line]) == 12
    project = install("vite", tarballs, tmp_path)
    (project / "src" / "App.tsx").write_text(app)
    shutil.copy(CLIENTS / "react" / "test" / "guide" / "panel.tsx", project / "src" / "Panel.tsx")

    said = run(require("npm"), "run", "build", cwd=project, VITE_WEBSOCKET_URL=URL)

    assert "warn" not in said.lower()
    # The timeline of `debug` is a file of its own, loaded when it is asked for.
    bundles = [each.read_text() for each in (project / "dist" / "assets").glob("*.js")]
    assert len([each for each in bundles if URL in each]) == 1, "VITE_WEBSOCKET_URL was not put in its place"


def test_the_hooks_pass_their_tests_packed_and_with_react_18(tarballs: list[Path], tmp_path: Path) -> None:
    project = install("react-18", tarballs, tmp_path)
    modules = project / "node_modules"
    borrow(project, "vitest", "typescript")
    node = require("node")
    assert run(node, "-p", "require('react-dom').version", cwd=project).startswith("18.")

    (project / "App.tsx").write_text(example("react"))
    run(node, modules / "typescript" / "bin" / "tsc", cwd=project)

    shutil.copytree(modules / "@tellwire" / "react" / "dist", project / "src")
    shutil.copytree(CLIENTS / "react" / "test", project / "test")
    run(node, modules / "vitest" / "vitest.mjs", "run", "--no-isolate", "test.tsx", cwd=project)


def test_jest_takes_both_packages_with_one_line_and_vitest_without(tarballs: list[Path], tmp_path: Path) -> None:
    line = example("core", "js", "## In Jest")
    assert line == example("react", "js", "## In tests")
    assert line.count("\n") == 1
    project = install("jest", tarballs, tmp_path)
    (project / "jest.config.cjs").write_text(f'module.exports = {{\n  testEnvironment: "jsdom",\n  {line}}};\n')
    (project / "App.jsx").write_text(example("react"))
    modules = project / "node_modules"
    assert "2 passed" in run(require("node"), modules / "jest" / "bin" / "jest.js", "--ci", "--runInBand", cwd=project)

    borrow(project, "vitest", "happy-dom")
    vitest = (modules / "vitest" / "vitest.mjs", "run", "--globals", "--environment", "happy-dom")
    assert "2 passed" in run(require("node"), *vitest, cwd=project, NO_COLOR="1")


def test_metro_bundles_both_packages_and_hermes_compiles_them(tarballs: list[Path], tmp_path: Path) -> None:
    project = install("react-native", tarballs, tmp_path)
    mobile = example("core", "ts", "## In React Native")
    (project / "Mobile.js").write_text(
        f'import {{ TellwireClient }} from "@tellwire/client";\n{mobile}\nexport {{ mobile }};\n'
    )
    (project / "App.js").write_text(example("react"))
    run(require("node"), "build.cjs", cwd=project)


def test_next_renders_the_readmes_page_on_the_server(tarballs: list[Path], tmp_path: Path) -> None:
    project = install("next", tarballs, tmp_path)
    (project / "app" / "uploads.jsx").write_text(f'"use client";\n\n{example("react")}')
    run(require("npm"), "run", "build", cwd=project, NEXT_TELEMETRY_DISABLED="1")
    page = (project / ".next" / "server" / "app" / "index.html").read_text()
    assert "<main><h1>Uploads of today</h1></main>" in page


def test_webpack_bundles_both_packages_without_a_warning(tarballs: list[Path], tmp_path: Path) -> None:
    project = install("webpack", tarballs, tmp_path)
    run(require("node"), "build.cjs", cwd=project)
    assert (project / "dist" / "main.js").stat().st_size > 0


def test_typescript_takes_both_packages_however_it_is_set_up(tarballs: list[Path], tmp_path: Path) -> None:
    project = install("tsc", tarballs, tmp_path)
    for file in (CLIENTS / "core" / "test" / "readme").iterdir():
        shutil.copy(file, project)
    (project / "App.tsx").write_text(example("react"))
    newest = require_module(CLIENTS, "typescript") / "bin" / "tsc"
    for name in ("nodenext", "node16", "bundler", "dom", "commonjs", "commonjs16"):
        run(require("node"), newest, "-p", f"{name}.json", cwd=project)
    run(require("node"), project / "node_modules" / "typescript" / "bin" / "tsc", "-p", "nodenext.json", cwd=project)
    wrong = project / "examples.ts"
    wrong.write_text(wrong.read_text() + 'mine.send("add_coment", { mocId: "1", text: "" });\n')
    with pytest.raises(AssertionError, match="add_coment"):
        run(require("node"), newest, "-p", "nodenext.json", cwd=project)


def test_the_views_of_the_docs_are_built_without_a_warning_and_work(tarballs: list[Path], tmp_path: Path) -> None:
    project = install("views", tarballs, tmp_path)
    for view in (CLIENTS.parent / "docs" / "examples").iterdir():
        assert len(view.read_text().splitlines()) < 35
        shutil.copy(view, project / "src")
    said = run(require("npm"), "run", "build", cwd=project)
    assert "built in" in said
    assert "svelte.dev/e/" not in said
    assert "warn" not in said.lower()

    borrow(project, "vitest", "happy-dom")
    vitest = (project / "node_modules" / "vitest" / "vitest.mjs", "run", "--environment", "happy-dom")
    assert "3 passed" in run(require("node"), *vitest, cwd=project, NO_COLOR="1")
