"""Optional packages that are missing: each part names its extra."""

import importlib
import subprocess
import sys

import pytest

from tellwire.extras import needs_extra


@pytest.mark.parametrize(
    ("part", "package", "extra"),
    [
        ("tellwire.gateway", "starlette", "gateway"),
        ("tellwire.server", "websockets", "gateway"),
        ("tellwire.celery", "celery", "celery"),
        ("tellwire.django", "django", "django"),
        ("tellwire.infra", "aws_cdk", "cdk"),
        ("tellwire.testing.api_gateway", "websockets", "local"),
        ("tellwire.client", "websockets", "client"),
        ("tellwire.engines.redis", "redis", "redis"),
        ("tellwire.engines.redis", "hiredis", "redis"),
    ],
)
def test_a_part_without_its_package_names_the_extra(
    part: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(sys.modules):
        if name == part or name.startswith((f"{part}.", "tellwire.server", "tellwire.auth")):
            monkeypatch.delitem(sys.modules, name)
    for name in [package, *(name for name in list(sys.modules) if name.startswith(f"{package}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module(part)
    assert f"pip install 'tellwire[{extra}]'" in str(caught.value)
    assert (caught.value.name or "").partition(".")[0] == package


def test_a_plain_install_makes_tokens_and_names_the_extra_for_their_verification() -> None:
    code = """
import sys
sys.modules["cryptography"] = None
from tellwire import mint_token
from tellwire.auth import mint_token as same
print(mint_token("x" * 32, "ada").count("."), mint_token is same)
try:
    from tellwire.auth import Jwks
except ModuleNotFoundError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "2 True\ntellwire.auth.Jwks needs cryptography: pip install 'tellwire[gateway]'\n"


def test_nothing_but_the_engine_redis_imports_redis() -> None:
    others = "tellwire, tellwire.gateway, tellwire.sync, tellwire.cli.serve, tellwire.engines.registry"
    engines = "tellwire.engines.memory.engine, tellwire.engines.sqlite.engine"
    code = f"import sys, {others}, {engines}; print({{'redis', 'hiredis'}} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "set()\n"


def test_a_module_of_ours_that_is_missing_is_not_an_extra() -> None:
    with pytest.raises(ModuleNotFoundError, match="No module named"), needs_extra("tellwire.x", "x"):
        importlib.import_module("tellwire.no_such_module")
