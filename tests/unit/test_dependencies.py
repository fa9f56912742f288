"""The oldest versions of other packages that may be installed are safe ones."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]

UNSAFE = [
    ("cryptography", "44.0.0", "its OpenSSL does not end a handshake with raw public keys (CVE-2024-12797)"),
    ("cryptography", "46.0.4", "it takes public keys that are in no proper subgroup (CVE-2026-26007)"),
    ("flask", "3.1.0", "it takes its oldest key for the newest (CVE-2025-47278)"),
]


def requirements(package: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    return [found for found in map(Requirement, listed) if found.name == package]


@pytest.mark.parametrize(("package", "version", "reason"), UNSAFE)
def test_no_unsafe_version_may_be_installed(package: str, version: str, reason: str) -> None:
    assert requirements(package), package
    assert not [each for each in requirements(package) if each.specifier.contains(version)], reason


def test_every_package_has_a_lowest_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    without = [each for each in listed if not each.startswith("tellwire[") and ">=" not in each]
    assert without == []
