"""Sources of credentials: the environment, or botocore's chain, with real files and programs."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tellwire.aws_api.credentials import CredentialsSource, find_credentials
from tellwire.aws_api.sigv4 import Credentials
from tellwire.errors import ConfigError
from tests.unit.aws_api.conftest import Configure, StartService
from tests.unit.aws_api.scripted import Response

KEYS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "s3cret"}


@pytest.fixture
def make_program(tmp_path: Path, configure: Configure) -> Callable[..., Path]:
    """Configure a program that prints new credentials each time; return a file with a line for each run."""

    def make(expires_in_seconds: float, body: str = "") -> Path:
        expires_at = (datetime.now(UTC) + timedelta(seconds=expires_in_seconds)).isoformat()
        answer = {"Version": 1, "SecretAccessKey": "s3cret", "SessionToken": "t0ken", "Expiration": expires_at}
        runs, program = tmp_path / "runs", tmp_path / "program.py"
        program.write_text(
            f"import json\n{body}\n"
            f"runs = open({str(runs)!r}, 'a+'); runs.write('ran\\n'); runs.seek(0)\n"
            f"print(json.dumps({answer!r} | {{'AccessKeyId': f'AKID{{len(runs.readlines())}}'}}))\n"
        )
        configure(f"[default]\ncredential_process = {sys.executable} -S -E {program}\n")
        return runs

    return make


def source() -> CredentialsSource:
    return find_credentials(os.environ)


async def test_the_environment_goes_before_everything_else(configure: Configure) -> None:
    configure("[default]\naws_access_key_id = OTHER\naws_secret_access_key = other\n")
    assert await find_credentials(KEYS).current() == Credentials("AKID", "s3cret")
    assert await find_credentials({**KEYS, "AWS_PROFILE": "missing"}).current() == Credentials("AKID", "s3cret")


async def test_a_session_has_a_token() -> None:
    found = await find_credentials({**KEYS, "AWS_SESSION_TOKEN": "t0ken"}).current()
    assert found == Credentials("AKID", "s3cret", "t0ken")
    assert (await find_credentials({**KEYS, "AWS_SESSION_TOKEN": ""}).current()).session_token is None


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN"])
@pytest.mark.parametrize("value", ["w1th-line-end\n", "w1th space", "w1th\x01", "w1thé"])
def test_credentials_that_no_header_can_carry_are_refused_without_quoting_them(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match="printable ASCII") as caught:
        find_credentials({**KEYS, name: value})
    assert "w1th" not in str(caught.value)


async def test_a_secret_without_its_key_is_ignored(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    configure("[default]\naws_access_key_id = OTHER\naws_secret_access_key = other\n")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    assert await source().current() == Credentials("OTHER", "other")


async def test_a_key_without_its_secret_is_an_error(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    configure("[default]\naws_access_key_id = OTHER\naws_secret_access_key = other\n")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    with pytest.raises(ConfigError, match="Partial credentials"):
        await source().current()


async def test_a_profile_is_found(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(
        "[default]\naws_access_key_id = OTHER\naws_secret_access_key = other\n"
        "[profile work]\naws_access_key_id = AKID\naws_secret_access_key = s3cret\naws_session_token = t0ken\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "work")
    assert await source().current() == Credentials("AKID", "s3cret", "t0ken")


def test_the_credentials_file_is_read(configure: Configure) -> None:
    file = Path(os.environ["AWS_SHARED_CREDENTIALS_FILE"])
    file.write_text("[default]\naws_access_key_id = AKID\naws_secret_access_key = s3cret\n")
    assert asyncio.run(source().current()) == Credentials("AKID", "s3cret")


async def test_a_line_end_in_a_file_is_none_of_a_token(configure: Configure) -> None:
    configure("[default]\naws_access_key_id = AKID\naws_secret_access_key = s3cret\naws_session_token = a\n  w1th\n")
    with pytest.raises(ConfigError, match="printable ASCII") as caught:
        await source().current()
    assert "w1th" not in str(caught.value)


async def test_missing_credentials_are_an_error_that_names_the_settings(configure: Configure) -> None:
    with pytest.raises(ConfigError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or"):
        await source().current()


async def test_a_profile_that_is_not_there_is_named(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "missing")
    with pytest.raises(ConfigError, match="missing"):
        await source().current()


@pytest.mark.parametrize("module", ["botocore.session", "botocore.exceptions"])
async def test_without_botocore_only_the_environment_is_used(
    module: str, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert await find_credentials(KEYS).current() == Credentials("AKID", "s3cret")
    with pytest.raises(ConfigError, match="or install botocore"):
        await source().current()


async def test_temporary_ones_are_renewed_before_they_expire(
    make_program: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellwire.aws_api.credentials._CACHED_SECONDS", 0.0)
    make_program(expires_in_seconds=60)  # botocore renews a quarter of an hour before
    found = source()
    first, second = await found.current(), await found.current()
    assert first.session_token == "t0ken"
    assert first.access_key_id != second.access_key_id


async def test_lasting_ones_are_asked_for_once(
    make_program: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellwire.aws_api.credentials._CACHED_SECONDS", 0.0)
    runs = make_program(expires_in_seconds=7200)
    found = source()
    assert [(await found.current()).access_key_id for _ in range(3)] == ["AKID1"] * 3
    assert runs.read_text() == "ran\n"


async def test_botocore_is_not_asked_for_every_request(make_program: Callable[..., Path]) -> None:
    make_program(expires_in_seconds=60)
    found = source()
    assert await found.current() == await found.current()


async def test_many_requests_at_once_look_for_credentials_once(make_program: Callable[..., Path]) -> None:
    runs = make_program(expires_in_seconds=7200)
    found = source()
    several = await asyncio.gather(*(found.current() for _ in range(16)))
    assert {each.access_key_id for each in several} == {"AKID1"}
    assert runs.read_text() == "ran\n"


async def test_the_event_loop_goes_on_while_they_are_looked_for(
    make_program: Callable[..., Path], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "gate")
    make_program(expires_in_seconds=7200, body=f"open({str(tmp_path / 'gate')!r}).read()")
    looking = asyncio.create_task(source().current())
    await asyncio.sleep(0)  # which does not come back if the program is waited for here: it ends by what comes next
    await asyncio.to_thread((tmp_path / "gate").write_text, "go")
    assert (await looking).access_key_id == "AKID1"


@pytest.mark.parametrize(
    ("expires_in_seconds", "body"), [(-60, ""), (7200, "raise SystemExit(1)")], ids=["expired", "failing"]
)
async def test_credentials_that_cannot_be_renewed_are_a_matter_of_configuration(
    expires_in_seconds: float, body: str, make_program: Callable[..., Path]
) -> None:
    make_program(expires_in_seconds, body)
    with pytest.raises(ConfigError, match="AWS credentials: ") as caught:
        await source().current()
    assert "s3cret" not in str(caught.value)


async def test_a_role_that_may_not_be_taken_is_a_matter_of_configuration(
    configure: Configure, start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not you</Message></Error></ErrorResponse>"
    sts = await start_service(Response(403, refusal, {"Content-Type": "text/xml"}))
    configure(
        "[profile work]\nrole_arn = arn:aws:iam::123456789012:role/worker\nsource_profile = me\nregion = eu-west-1\n"
        "[profile me]\naws_access_key_id = AKID\naws_secret_access_key = s3cret\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
    with pytest.raises(ConfigError, match=r"AWS credentials: .*AccessDenied.*Not you"):
        await source().current()
    assert sts.requests


def test_botocore_is_not_imported_when_the_environment_has_keys() -> None:
    program = (
        "import asyncio, json, os, sys\n"
        "from tellwire.aws_api.credentials import find_credentials\n"
        "found = asyncio.run(find_credentials(os.environ).current())\n"
        "print(json.dumps([found.access_key_id, sorted(m for m in sys.modules if m.startswith('boto'))]))\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], env=os.environ | KEYS, capture_output=True, text=True)
    answer: Any = json.loads(ran.stdout or "null")
    assert (answer, ran.stderr) == (["AKID", []], "")
