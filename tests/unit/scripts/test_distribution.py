"""The contents of the source distribution that `uv build` makes."""

import subprocess
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
UV = ROOT / ".tools" / "bin" / "uv"


@pytest.mark.skipif(not UV.exists(), reason="uv is not where `make setup` installs it")
def test_the_source_distribution_holds_sources_tests_and_documentation_only(tmp_path: Path) -> None:
    subprocess.run([UV, "build", "--sdist", "-q", "-o", tmp_path], cwd=ROOT, check=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = [name.partition("/")[2] for name in file.getnames()]
    rooms = {name.partition("/")[0] for name in names if "/" in name}
    assert rooms == {"src", "spec", "docs", "tests", "examples", "native", "scripts"}
    assert {"README.md", "CHANGELOG.md", "LICENSE", "src/tellwire/__init__.py", "docs/how-to/gateway.md"} <= set(names)
    assert any(name.startswith("tests/data/") for name in names)
    assert not [name for name in names if "node_modules" in name or "/dist/" in name]
