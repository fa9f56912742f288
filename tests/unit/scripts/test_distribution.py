"""The distributions that `uv build` makes: their contents are those of the repository, and a wheel works alone."""

import json
import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Sequence
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from re import findall, match, sub

import pytest

from tests.tools import missing

ROOT = Path(__file__).resolve().parents[3]
UV = ROOT / ".tools" / "bin" / "uv"
SCRIPT = "src/tellwire/gateway/script/tellwire.js"
ROOMS = {"src", "spec", "docs", "tests", "examples", "native", "scripts", "bench", "deploy"}
PAGES = {"ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md"}

pytestmark = pytest.mark.skipif(not UV.exists(), reason="uv is not where `make setup` installs it")


def tracked() -> set[str]:
    """Return the files of the repository, and the script that a build takes with it."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    if not (ROOT / SCRIPT).is_file():
        missing("the script of the elements is not built (make script builds it with npm)")
    return {name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()} | {SCRIPT}


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source distribution, and the wheel that is built of it."""
    directory = tmp_path_factory.mktemp("dist")
    subprocess.run([UV, "build", "-q", "-o", directory], cwd=ROOT, timeout=200, check=True)
    (archive,), (wheel,) = directory.glob("*.tar.gz"), directory.glob("*.whl")
    return archive, wheel


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as file:
        (name,) = (each for each in file.namelist() if each.endswith(".dist-info/METADATA"))
        return message_from_bytes(file.read(name))


def test_the_source_distribution_holds_the_files_of_the_repository_and_no_others(
    distributions: tuple[Path, Path],
) -> None:
    with tarfile.open(distributions[0]) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    expected = {name for name in tracked() if name.partition("/")[0] in ROOMS | PAGES}
    # hatchling adds the last three.
    assert names == expected | {".gitignore", "PKG-INFO", "pyproject.toml"}


def test_the_wheel_holds_the_package_with_the_built_script_and_nothing_else(distributions: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(distributions[1]) as file:
        names = set(file.namelist())
    package = {name.removeprefix("src/") for name in tracked() if name.startswith("src/")}
    (info,) = {name.partition("/")[0] for name in names if ".dist-info/" in name}
    added = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
    assert names == package | {f"{info}/{name}" for name in added}
    assert {"tellwire/py.typed", SCRIPT.removeprefix("src/")} <= names


def test_the_metadata_says_all_that_an_index_shows(distributions: tuple[Path, Path]) -> None:
    found = metadata(distributions[1])
    assert (found["Name"], found["License-Expression"], found["License-File"]) == ("tellwire", "MIT", "LICENSE")
    assert found["Requires-Python"] == ">=3.11"
    assert found["Summary"]
    addresses = dict(each.split(", ", 1) for each in found.get_all("Project-URL", []))
    assert addresses.keys() == {"Homepage", "Documentation", "Changelog", "Issues"}
    # Those of the npm packages.
    assert {address.split("/")[2:5] == ["github.com", "tellwire", "tellwire"] for address in addresses.values()} == {
        True
    }
    classifiers = found.get_all("Classifier", [])
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)} <= set(classifiers)


def test_links_and_pictures_of_the_description_lead_somewhere_from_an_index(distributions: tuple[Path, Path]) -> None:
    description = str(metadata(distributions[1]).get_payload())
    links = findall(r"\]\(([^)]+)\)", description)
    assert len(links) > 10
    here = "https://github.com/tellwire/tellwire/blob/main/"
    raw = "https://raw.githubusercontent.com/tellwire/tellwire/main/"
    for link in links:
        assert link.startswith(("https://", "#")), link
        for prefix in (here, raw):
            assert not link.startswith(prefix) or (ROOT / link.removeprefix(prefix).partition("#")[0]).exists(), link
    assert all(link.startswith("https://raw.") for link in findall(r"!\[[^]]*\]\(([^)]+)\)", description))


def run(command: Sequence[str | Path]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
@pytest.mark.parametrize("minor", [11, 12, 13])
def test_a_wheel_installs_and_runs_on_every_python_that_is_here(
    distributions: tuple[Path, Path], tmp_path: Path, minor: int
) -> None:
    version = f"3.{minor}"
    # pyenv keeps its versions beside the path, and only some of them are switched on.
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    path = os.pathsep.join([*(str(each) for each in pyenv.glob(f"{version}.*/bin")), os.environ["PATH"]])
    if (python_here := shutil.which(f"python{version}", path=path)) is None:
        pytest.skip(f"there is no Python {version} on this machine")
    environment = tmp_path / "environment"
    run([UV, "venv", "-q", "--python", python_here, environment])
    python = environment / "bin" / "python"
    install: list[str | Path] = [UV, "pip", "install", "-q", "--python", python]
    run([*install, f"{distributions[1]}"])
    plain = "import tellwire, tellwire.sync; print(tellwire.create_message('note', 1).type)"
    assert run([python, "-c", plain]) == "note\n"
    bare = subprocess.run([environment / "bin" / "tellwire"], capture_output=True, text=True, timeout=60, check=False)
    assert bare.returncode != 0
    assert "pip install 'tellwire[gateway]'" in bare.stderr
    run([*install, f"tellwire[gateway,redis,metrics] @ {distributions[1].as_uri()}"])
    assert run([environment / "bin" / "tellwire", "--version"]).startswith("tellwire")
    modules = "tellwire.gateway, tellwire.gateway.metrics, tellwire.engines.redis, tellwire.client, tellwire.asgi"
    assert run([python, "-W", "error", "-c", f"import {modules}"]) == ""


def test_the_changelog_has_the_form_that_tools_read() -> None:
    headings = findall(r"(?m)^##+ .*", (ROOT / "CHANGELOG.md").read_text())
    assert headings[0] == "## [Unreleased]"
    kinds = {f"### {kind}" for kind in ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")}
    for heading in headings[1:]:
        assert heading in kinds or match(r"## \[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d$", heading), heading


def test_the_bill_of_materials_has_each_package_with_its_version_and_hash(tmp_path: Path) -> None:
    command = next(
        each.replace("\\\n", " ") for each in findall(r"(?s)uv export .*?\.json", (ROOT / "Makefile").read_text())
    )
    extras = findall(r"addprefix --extra ,([^)]*)", command)[0].split()
    words = sub(r"\$\(.*?\)", "", command).split()[1:-1]
    bill = tmp_path / "bill.json"
    subprocess.run([UV, *words, bill, *(f"--extra={each}" for each in extras)], cwd=ROOT, timeout=60, check=True)
    found = json.loads(bill.read_text())
    assert found["bomFormat"] == "CycloneDX"
    components = {each["name"]: each for each in found["components"]}
    assert {"msgspec", "pyreqwest", "uvicorn", "redis", "prometheus-client"} <= components.keys()
    for each in components.values():
        assert each["version"] in each["purl"]
        assert any(one.get("hashes") for one in each["externalReferences"])
