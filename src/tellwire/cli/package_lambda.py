"""`tellwire package-lambda`: a zip of tellwire and the wheels it needs on AWS Lambda, for one processor and one Python.

    tellwire package-lambda --out function.zip                      tellwire[aws], to which a handler is added
    tellwire package-lambda --out layer.zip --layer                 the same as a layer
    tellwire package-lambda --out layer.zip --layer tellwire        for producers, without token verification
    tellwire package-lambda --out more.zip --layer --add app pillow another package, and your own modules

Rules:
- In a clone, versions and hashes of wheels are those of uv.lock. Elsewhere the versions are those that are installed
  beside tellwire. Nothing is built: a package without a wheel is an error.
- The same input gives the same bytes, so a deployment notices only real changes.
- Modules are compiled if that Python is on this machine: Lambda cannot store bytecode, and would compile at every cold
  start, which then takes twice as long.
- A zip over 15 MB is not written: Lambda would accept it, but every cold start would be slower.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Final

import click

SOURCE: Final = Path(__file__).resolve().parents[2]
"""The directory that tellwire is imported from."""

ROOT: Final = SOURCE.parent
"""The clone, if tellwire is imported from one."""

MAX_ZIP_BYTES: Final = 15_000_000

PROCESSORS: Final = {"arm64": "aarch64", "x86_64": "x86_64"}
"""Names of processors: Lambda's, and those of wheels."""

PYTHONS: Final = {"3.11": "manylinux_2_17", "3.12": "manylinux_2_28", "3.13": "manylinux_2_28"}
"""Lambda's Pythons, and their wheels' platforms: 3.11 has Amazon Linux 2 with glibc 2.26, later ones have 2.34."""

_TELLWIRE = re.compile(r"tellwire(?:\[(?P<extras>[\w,-]+)\])?")
_EXTRA = re.compile(r"""\s*(?:and\s+)?extra\s*==\s*['"](?P<name>[\w-]+)['"]""")
# Files for installers, tests and type checkers only. Licences are kept, as they require it; METADATA for versions.
_UNNEEDED_FOLDERS: Final = {"__pycache__", "bin", "sboms", "test", "tests"}
_UNNEEDED_SUFFIXES: Final = {".lock", ".pyc", ".pyi"}
_METADATA: Final = {"METADATA", "licenses"}

# Servers and tools for other machines, which could not be imported without what their extra brings.
_EXTRA_OF_ROOM: Final = {
    "apigateway": "local",
    "asgi": "gateway",
    "cli": "gateway",
    "client": "client",
    "gateway": "gateway",
    "infra": "cdk",
    "server": "gateway",
    "testing": "local",
}

Files = dict[PurePosixPath, Path]


class CannotPack(Exception):
    """The zip cannot be written. The text gives the reason."""


def pack(out: Path, packages: Sequence[str], arch: str, python: str, added: Sequence[Path], *, layer: bool) -> Files:
    """Write a zip, and return its files.

    Raises:
        CannotPack: a wheel is missing or not the one of uv.lock, a path to add does not exist, the zip is too big.
    """
    with tempfile.TemporaryDirectory(prefix="package-lambda-") as folder:
        site = Path(folder, "site")
        install(packages, site, arch, python)
        files = files_in(site) | own_files(packages) | added_files(added)
        files |= compiled(files, Path(folder, "compiled"), python, "/opt/python" if layer else "/var/task")
        unfinished = Path(folder, "zip")
        write_zip(unfinished, files, PurePosixPath("python" if layer else "."))
        if (size := unfinished.stat().st_size) > MAX_ZIP_BYTES:
            raise CannotPack(f"{out.name}: got {_mb(size)}; allowed: {_mb(MAX_ZIP_BYTES)}\n{contents(files)}")
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(unfinished, out)
        click.echo(f"{out}: {_mb(size)}, for Python {python} on {arch}\n{contents(files)}")
    return files


# --- contents ---------------------------------------------------------------------------------------------------------


def install(packages: Sequence[str], site: Path, arch: str, python: str) -> None:
    """Install packages with their dependencies into a folder, as wheels for another machine.

    Raises:
        CannotPack: uv failed; the text is its error.
    """
    site.mkdir()
    locked = site.with_name("locked.txt")
    if _is_clone():
        # What is in this repository has no place among constraints: it has a path, and no version.
        _uv("export", "--frozen", "--all-extras", "--all-groups", "--no-emit-local", "--output-file", str(locked))
    else:
        locked.write_text("".join(f"{each.name}=={each.version}\n" for each in metadata.distributions() if each.name))
    requirements: list[str] = []
    for package in packages:
        # tellwire itself is copied: only its dependencies are installed.
        own = _TELLWIRE.fullmatch(package)
        requirements += _dependencies_of_tellwire(own["extras"]) if own is not None else [package]
    platform = f"{PROCESSORS[arch]}-{PYTHONS[python]}"
    target = ("--target", str(site), "--python-platform", platform, "--python-version", python)
    _uv("pip", "install", "--only-binary", ":all:", *target, "--constraint", str(locked), *requirements)


def _is_clone() -> bool:
    return (ROOT / "uv.lock").is_file() and (ROOT / "pyproject.toml").is_file()


def _dependencies_of_tellwire(extras: str | None) -> list[str]:
    chosen = extras.split(",") if extras else []
    if _is_clone():
        return ["--requirements", str(ROOT / "pyproject.toml"), *(f"--extra={extra}" for extra in chosen)]
    wanted = (_wanted(each, chosen) for each in metadata.requires("tellwire") or ())
    return [each for each in wanted if each is not None]


def _wanted(requirement: str, extras: Sequence[str]) -> str | None:
    """Return a requirement of tellwire's metadata without its extra, if that is chosen or there is none."""
    package, _, marker = requirement.partition(";")
    extra = _EXTRA.search(marker)
    if extra is not None and extra["name"] not in extras:
        return None
    rest = _EXTRA.sub("", marker).strip()
    return f"{package.strip()}; {rest}" if rest else package.strip()


def _uv(*arguments: str) -> None:
    done = _run(_uv_program(), *arguments, "--quiet", "--python", sys.executable)
    if done.returncode:
        raise CannotPack(f"uv {arguments[0]}: {done.stderr.strip()}")


def _uv_program() -> str:
    beside = ROOT / ".tools" / "bin" / "uv"
    program = str(beside) if beside.exists() else shutil.which("uv")
    if program is None:
        raise CannotPack("there is no uv: pip install uv, or in a clone `make setup`")
    return program


def _run(*command: str) -> "subprocess.CompletedProcess[str]":
    folder = ROOT if _is_clone() else None
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - uv and Python


def compiled(files: Files, folder: Path, python: str, path_in_lambda: str) -> Files:
    """Return the bytecode of all modules for a version of Python; none if that can neither be found nor downloaded.

    It is not compared with its source (PEP 552, unchecked): nobody edits a zip.
    """
    program = _python(python)
    if program is None:
        click.echo(
            f"There is no Python {python} here to compile with, nor to download: a cold start will take twice as long.",
            err=True,
        )
        return {}
    for target, path in files.items():
        if target.suffix == ".py":
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / target)
    options = ("-q", "--invalidation-mode", "unchecked-hash", "-s", str(folder), "-p", path_in_lambda)
    done = _run(program, "-m", "compileall", *options, str(folder))
    if done.returncode:
        raise CannotPack(f"compileall: {(done.stdout + done.stderr).strip()}")
    return {PurePosixPath(path.relative_to(folder).as_posix()): path for path in folder.rglob("*.pyc")}


def _python(version: str) -> str | None:
    """Return the program of a Python: of PATH or uv, of pyenv, which switches on only some of its versions, or new."""
    find = (_uv_program(), "python", "find", "--no-python-downloads", "--no-project", version)
    if not (found := _run(*find)).returncode:
        return found.stdout.strip()
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for program in sorted(root.glob(f"versions/{version}*/bin/python{version}")):
        return str(program)
    _run(_uv_program(), "python", "install", "--no-bin", version)
    return None if (found := _run(*find)).returncode else found.stdout.strip()


def files_in(site: Path) -> Files:
    """Return the needed files of a folder of installed packages, by their path in the zip."""
    found = {PurePosixPath(path.relative_to(site).as_posix()): path for path in site.rglob("*") if path.is_file()}
    return {target: path for target, path in found.items() if is_needed(target)}


def is_needed(path: PurePosixPath) -> bool:
    """Return whether a file of an installed package is needed in a Lambda."""
    folders = path.parts[:-1]
    if not _UNNEEDED_FOLDERS.isdisjoint(folders) or path.suffix in _UNNEEDED_SUFFIXES or path.name == ".lock":
        return False
    return not folders or not folders[0].endswith(".dist-info") or path.parts[1] in _METADATA


def own_files(packages: Iterable[str]) -> Files:
    """Return tellwire's own modules, if it is one of the packages, without the rooms whose extra is not wanted."""
    found = [own for package in packages if (own := _TELLWIRE.fullmatch(package)) is not None]
    if not found:
        return {}
    wanted = {extra for own in found for extra in (own["extras"] or "").split(",")}
    files = {PurePosixPath(path.relative_to(SOURCE).as_posix()): path for path in _modules(SOURCE / "tellwire")}
    return {target: path for target, path in files.items() if _EXTRA_OF_ROOM.get(target.parts[1], "") in {"", *wanted}}


def added_files(added: Iterable[Path]) -> Files:
    """Return modules, and those in folders, by their given paths.

    Raises:
        CannotPack: there are none, or a path is not below the working directory.
    """
    files: Files = {}
    for path in added:
        if path.is_absolute() or ".." in path.parts:
            raise CannotPack(f"--add: got {str(path)!r}; allowed: a path below the working directory")
        found = [path] if path.is_file() else _modules(path)
        if not found:
            raise CannotPack(f"--add: got {str(path)!r}; allowed: a file, or a folder with Python modules in it")
        files |= {PurePosixPath(each.as_posix()): each for each in found}
    return files


def _modules(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.py") if is_needed(PurePosixPath(path.relative_to(folder).as_posix()))]


# --- the zip ----------------------------------------------------------------------------------------------------------


def write_zip(out: Path, files: Mapping[PurePosixPath, Path], root: PurePosixPath) -> None:
    """Write files into a zip: sorted, with one date, and readable by everyone, as Lambda needs them."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for target in sorted(files, key=str):
            entry = zipfile.ZipInfo(str(root / target), date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, so that the permissions below apply.
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, files[target].read_bytes())


def contents(files: Mapping[PurePosixPath, Path]) -> str:
    """Return a line for each package with its unpacked size, the biggest first."""
    sizes: Counter[str] = Counter()
    for target, path in files.items():
        sizes[target.parts[0].partition("-")[0].partition(".")[0]] += path.stat().st_size
    lines = [f"  {name:<16} {_mb(size):>8}" for name, size in sizes.most_common()]
    return "\n".join([*lines, f"  {'unpacked':<16} {_mb(sizes.total()):>8}"])


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1_000_000:.2f} MB"


# --- the command ------------------------------------------------------------------------------------------------------


@click.command("package-lambda")
@click.argument("packages", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE.zip", help="The zip to write.")
@click.option("--arch", type=click.Choice(list(PROCESSORS)), default="arm64", show_default=True, help="The processor.")
@click.option("--python", type=click.Choice(list(PYTHONS)), default="3.13", show_default=True, help="Lambda's Python.")
@click.option("--layer", is_flag=True, help="Put everything under python/, as layers need it.")
@click.option(
    "--add",
    "added",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="PATH",
    help="Modules to add, with this path.",
)
def package_lambda(
    packages: Sequence[str], out: Path, arch: str, python: str, layer: bool, added: Sequence[Path]
) -> None:
    """Pack PACKAGES for AWS Lambda; tellwire[aws] by default. Needs uv."""
    try:
        pack(out, packages or ["tellwire[aws]"], arch, python, added, layer=layer)
    except (CannotPack, OSError) as error:
        click.echo(f"package-lambda: {error}", err=True)
        raise click.exceptions.Exit(1) from None
