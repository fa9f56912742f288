"""Zips for Lambda that `tellwire package-lambda` makes: their files, their sizes, and that they run."""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tellwire.cli import package_lambda
from tellwire.cli.app import run as tellwire
from tellwire.cli.package_lambda import PROCESSORS, ROOT, own_files

pytestmark = [pytest.mark.timeout(180), pytest.mark.long]  # wheels may have to be fetched first

WORKERS = ROOT / "examples" / "aws_parts_upload" / "s3_workers"
THIS_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
THIS_PROCESSOR = {wheels: lambdas for lambdas, wheels in PROCESSORS.items()}.get(os.uname().machine)
ELF_MACHINES = {"arm64": 183, "x86_64": 62}  # EM_AARCH64, EM_X86_64

# What Lambda's Python brings along.
RUNTIME = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six.py", "urllib3")


def pack(out: Path, *arguments: str) -> Path:
    """Make a zip. Without a network the test is skipped; in CI it must run."""
    done = subprocess.run(
        [sys.executable, "-m", "tellwire", "package-lambda", "--out", str(out), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    if re.search(r"[Cc]onnect error|dns error|Failed to fetch|timed out", done.stderr) and not os.environ.get("CI"):
        pytest.skip("there is no network, and no wheels in uv's cache")
    assert done.returncode == 0, done.stderr
    assert str(out) in done.stdout
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zips")


@pytest.fixture(scope="module", params=sorted(PROCESSORS))
def arch(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def layer(arch: str, folder: Path) -> Path:
    """The layer of tellwire[aws], for one processor and the Python of the example's template."""
    return pack(folder / f"{arch}.zip", "--arch", arch, "--layer")


@pytest.fixture(scope="module")
def opt(folder: Path) -> Path:
    """/opt of a Lambda: both layers of the example, for this machine and this Python, unpacked."""
    if THIS_PROCESSOR is None:
        pytest.skip(f"Lambda has no {os.uname().machine}")
    with pytest.MonkeyPatch.context() as patch:
        # Lambda's Python 3.11 is older than Pillow's wheels. This machine is not.
        patch.setitem(package_lambda.PYTHONS, THIS_PYTHON, "manylinux_2_28")
        here = ("--arch", THIS_PROCESSOR, "--python", THIS_PYTHON, "--layer")
        for name, more in (("tellwire", ()), ("workers", ("--add", "examples/parts_upload", "pillow"))):
            zipped = folder / f"{name}.zip"
            patch.chdir(ROOT)
            assert tellwire(["package-lambda", "--out", str(zipped), *here, *more]) == 0
            with zipfile.ZipFile(zipped) as archive:
                archive.extractall(folder / "opt")
    return folder / "opt" / "python"


def test_the_example_says_how_big_its_zips_are(folder: Path) -> None:
    page = (ROOT / "examples" / "aws_parts_upload" / "README.md").read_text()
    made = {
        "`build/tellwire.zip`": pack(folder / "said.zip", "--layer"),
        "is enough for producers": pack(folder / "said-producer.zip", "--layer", "tellwire"),
    }
    for words, zipped in made.items():
        (line,) = [each for each in page.splitlines() if words in each]
        said = float(line.split(" MB")[0].split()[-1])
        assert abs(zipped.stat().st_size / 1e6 - said) < 0.1 * said, line


# --- what is in them --------------------------------------------------------------------------------------------------


def test_a_zip_is_15_mb_at_most(layer: Path) -> None:
    assert layer.stat().st_size <= 15_000_000


def test_every_module_in_machine_code_is_for_that_processor_and_that_python(layer: Path, arch: str) -> None:
    found = 0
    with zipfile.ZipFile(layer) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            if content.startswith(b"\x7fELF"):
                found += 1
                assert int.from_bytes(content[18:20], "little") == ELF_MACHINES[arch], name
                assert re.search(rf"\.cpython-313-{PROCESSORS[arch]}-linux-gnu\.so$|\.abi3\.so$", name), name
    # msgspec, pyreqwest, cryptography, and cffi for it.
    assert found >= 4


def test_versions_are_those_of_the_lock_file(layer: Path) -> None:
    locked = {
        p["name"]: p["version"] for p in tomllib.loads((ROOT / "uv.lock").read_text())["package"] if "version" in p
    }
    with zipfile.ZipFile(layer) as archive:
        packed = dict(
            re.findall(r"^(?:Name|Version): (\S+)$", archive.read(name).decode(), re.M)
            for name in archive.namelist()
            if name.endswith(".dist-info/METADATA")
        )
    assert packed.keys() >= {"msgspec", "pyreqwest", "cryptography"}
    assert {name.lower(): version for name, version in packed.items()}.items() <= locked.items()


def test_there_is_nothing_in_it_that_a_function_does_not_need(layer: Path) -> None:
    with zipfile.ZipFile(layer) as archive:
        names = archive.namelist()
    assert all(name.startswith("python/") for name in names)
    assert "python/tellwire/sync.py" in names
    unwanted = re.compile(r"\.pyi$|/tests?/|/bin/|dist-info/(RECORD|WHEEL|INSTALLER|sboms)|\.lock$")
    assert [name for name in names if unwanted.search(name)] == []
    assert [name for name in names if "boto" in name] == []
    # Licences ask to be passed on.
    for package in ("msgspec", "pyreqwest", "cryptography", "cffi"):
        assert any(re.match(rf"python/{package}-[\d.]+\.dist-info/licenses/", name) for name in names), package


def test_packaging_is_reproducible(layer: Path, arch: str, folder: Path) -> None:
    again = pack(folder / f"{arch}-again.zip", "--arch", arch, "--layer")
    assert again.read_bytes() == layer.read_bytes()
    with zipfile.ZipFile(layer) as archive:
        entries = archive.infolist()
    assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    # Lambda runs as a user of its own.
    assert {entry.external_attr >> 16 for entry in entries} == {0o100644}


def test_what_producers_need_is_smaller_and_verifies_no_tokens(folder: Path) -> None:
    zipped = pack(folder / "producer.zip", "tellwire")
    with zipfile.ZipFile(zipped) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert {"tellwire", "msgspec", "pyreqwest"} <= tops
    assert tops.isdisjoint({"jwt", "cryptography", "cffi", "python"})
    assert zipped.stat().st_size <= 6_000_000


def test_rooms_whose_extra_is_not_wanted_are_left_out() -> None:
    def rooms(*packages: str) -> set[str]:
        return {target.parts[1] for target in own_files(packages)}

    servers = {"apigateway", "cli", "gateway", "infra", "testing"}
    assert rooms("tellwire").isdisjoint(servers)
    assert {"aws", "engines", "sync.py"} <= rooms("tellwire[aws]", "pillow")
    assert rooms("tellwire[aws]").isdisjoint(servers)
    assert rooms("tellwire[gateway,aws]") & servers == {"cli", "gateway"}
    assert rooms("tellwire[gateway,local,cdk]") >= servers
    assert rooms("pillow") == set()


# --- that it runs -----------------------------------------------------------------------------------------------------


def test_modules_are_compiled_for_where_they_run(opt: Path) -> None:
    (bytecode,) = (opt / "tellwire" / "__pycache__").glob("sync.*.pyc")
    content = bytecode.read_bytes()
    assert content[:4] == importlib.util.MAGIC_NUMBER
    assert content[4:8] == b"\x01\0\0\0"  # by a hash that is not compared (PEP 552)
    assert b"/opt/python/tellwire/sync.py" in content


def run(code: str, *paths: Path, **environment: str) -> str:
    """Run Python with the standard library and these paths only; return its output."""
    path = f"import sys; sys.path[:0] = {[str(path) for path in paths]!r}\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", "-c", path + code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_handlers_and_producers_need_nothing_but_the_layer(opt: Path) -> None:
    code = """
import tellwire, tellwire.sync, cryptography, pyreqwest
from tellwire.aws.handlers import connect, default, disconnect, sweep
from tellwire.producer import carrier_from_environment
from cryptography.hazmat.primitives.asymmetric import rsa
rsa.generate_private_key(65537, 2048)
places = {module.__file__.rsplit("/python/")[0] for module in (tellwire, cryptography, pyreqwest)}
functions = [callable(each) for each in (connect, default, disconnect, sweep)]
print(len(places), *functions, type(carrier_from_environment(__import__("os").environ)).__name__)
"""
    variables = {
        "CONNECTIONS_TABLE_NAME": "connections",
        "HISTORY_TABLE_NAME": "history",
        "WEBSOCKET_API_ENDPOINT": "https://abc.execute-api.us-east-1.amazonaws.com/prod",
        "TELLWIRE_JWT_SECRET": "x" * 40,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
    }
    assert run(code, opt, **variables).split() == ["1", "True", "True", "True", "True", "BrokerCarrier"]


def test_workers_need_nothing_but_their_layers_and_what_lambda_brings(opt: Path, tmp_path: Path) -> None:
    import boto3

    for name in RUNTIME:
        (tmp_path / name).symlink_to(Path(boto3.__file__).parents[1] / name)
    code = "import csv_worker, image_worker, guide_handler; print(csv_worker.handler.__name__)"
    assert run(code, WORKERS, opt, tmp_path) == "handler\n"


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_zip_that_is_too_big_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(package_lambda, "MAX_ZIP_BYTES", 1000)
    monkeypatch.setattr(package_lambda, "install", lambda packages, site, *_: site.mkdir())
    assert tellwire(["package-lambda", "--out", str(tmp_path / "big.zip")]) == 1
    assert re.search(
        r"package-lambda: big\.zip: got \d\.\d\d MB; allowed: 0\.00 MB\n  tellwire", capsys.readouterr().err
    )
    assert list(tmp_path.iterdir()) == []


def test_a_wheel_that_is_not_the_one_of_the_lock_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uv = package_lambda._uv

    def with_other_hashes(*arguments: str) -> None:
        uv(*arguments)
        if arguments[0] == "export":
            locked = Path(arguments[-1])
            locked.write_text(re.sub(r"sha256:.{10}", "sha256:0000000000", locked.read_text()))

    monkeypatch.setattr(package_lambda, "_uv", with_other_hashes)
    assert tellwire(["package-lambda", "--out", str(tmp_path / "x.zip"), "--arch", "x86_64"]) == 1
    assert "Hash mismatch" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["/etc/passwd", "../elsewhere", "no-such-folder", "spec"])
def test_what_cannot_be_added_is_named(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(package_lambda, "install", lambda packages, site, *_: site.mkdir())
    assert tellwire(["package-lambda", "--out", str(tmp_path / "x.zip"), "--add", path]) == 1
    assert f"--add: got {path!r}; allowed: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("extras", "wanted"),
    [
        ([], ["msgspec>=0.19", "uvloop>=0.21; sys_platform != 'win32'"]),
        (["aws"], ["msgspec>=0.19", "uvloop>=0.21; sys_platform != 'win32'", "cryptography>=44"]),
    ],
)
def test_without_a_clone_the_metadata_says_what_tellwire_needs(
    extras: list[str], wanted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    required = [
        "msgspec>=0.19",
        "uvloop>=0.21; sys_platform != 'win32'",
        "cryptography>=44; extra == 'aws'",
        "rich>=13; (sys_platform != 'win32') and extra == 'gateway'",
    ]
    monkeypatch.setattr(package_lambda, "_is_clone", lambda: False)
    monkeypatch.setattr("importlib.metadata.requires", lambda name: required)
    assert package_lambda._dependencies_of_tellwire(",".join(extras) or None) == wanted
