"""The command line as people use it: real processes, real signals, real exit codes."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tellwire.config import Settings, load_settings
from tests.conftest import API_KEY, SECRET, read

COMMAND = (sys.executable, "-c", "from tellwire.cli import main; main()")


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


@dataclass
class Result:
    code: int
    out: str
    err: str


async def tellwire(*arguments: str, **environment: str) -> Result:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, env=os.environ | environment, stdout=-1, stderr=-1
    )
    out, err = await asyncio.wait_for(process.communicate(), 45)
    assert process.returncode is not None
    return Result(process.returncode, out.decode(), err.decode())


def still_waiting(url: str) -> str:
    """Return the line with which `send` begins if an answer takes long, as on a busy machine."""
    return f"tellwire: no answer from {url} yet, trying again\n"


@dataclass
class Running:
    process: asyncio.subprocess.Process
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 45)


@contextlib.asynccontextmanager
async def serving(*arguments: str, port: int = 0, **environment: str) -> AsyncIterator[Running]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "serve", "--port", str(port), *arguments, env=os.environ | environment, stdout=-1, stderr=-1
    )
    assert process.stdout is not None
    try:
        first = (await asyncio.wait_for(process.stdout.readline(), 45)).decode()
        found = re.search(r"ws://127\.0\.0\.1:(\d+)", first)
        assert found, (first, (await process.communicate())[1])
        yield Running(process, int(found[1]))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def test_what_send_sends_is_what_a_device_receives() -> None:
    async with serving("--dev") as gateway:
        token = (await tellwire("token", "--user", "user-1")).out.strip()
        async with connect(f"ws://127.0.0.1:{gateway.port}?token={token}", proxy=None) as device:
            sent = await tellwire(
                "send", "--user", "user-1", "--url", gateway.url, "notification", "Hello", "World", "--severity", "info"
            )
            assert (sent.code, sent.out) == (0, "delivered 1, gone 0, failed 0\n")
            message = await read(device)
            assert list(message)[:3] == ["type", "data", "timestamp"]
            assert message["type"] == "notification"
            assert message["data"] == {"title": "Hello", "message": "World", "severity": "info"}


async def test_send_knows_every_kind_of_message() -> None:
    async with serving("--dev") as gateway:
        token = (await tellwire("token", "--user", "user-1")).out.strip()
        send = ("send", "--url", gateway.url)
        async with connect(f"ws://127.0.0.1:{gateway.port}?token={token}", proxy=None) as device:
            await tellwire(*send, "--all", "progress", "moc-1", "parts.csv", "50", "Half way", "--current-row", "5")
            assert (await read(device))["data"] == {
                "uploadId": "moc-1",
                "fileName": "parts.csv",
                "progress": 50,
                "message": "Half way",
                "currentRow": 5,
            }
            await tellwire(*send, "--user", "user-1", "error", "BAD_ROWS", "12 rows", "--details", '{"rows": [3]}')
            assert (await read(device))["data"]["details"] == {"rows": [3]}
            await tellwire(*send, "--all", "message", "maintenance", '{"minutes": 5}')
            assert (await read(device))["type"] == "maintenance"
            await tellwire(
                *(*send, "--user", "user-1", "message", "editing", '{"by": "Ada"}', "--key", "part-3", "--ttl", "30")
            )
            assert (await read(device))["key"] == "state:editing:part-3"
            gone = await tellwire(*send, "--connection", "nBUGZLR2Hhyb5qM=", "notification", "a", "b")
            assert gone.out == "delivered 0, gone 1, failed 0\n"


async def test_sigterm_closes_with_1012_and_exits_0() -> None:
    async with serving("--dev") as gateway:
        token = (await tellwire("token", "--user", "user-1")).out.strip()
        async with connect(f"ws://127.0.0.1:{gateway.port}?token={token}", proxy=None) as device:
            stopping = asyncio.create_task(gateway.stop())
            with pytest.raises(ConnectionClosed):
                await device.recv()
            assert (device.close_code, device.close_reason) == (1012, "Service restart")
            assert await stopping == 0


async def test_a_client_that_does_not_let_go_does_not_keep_the_server() -> None:
    async with serving("--dev", TELLWIRE_DRAIN_SECONDS="1") as gateway:
        token = (await tellwire("token", "--user", "user-1")).out.strip()
        async with connect(f"ws://127.0.0.1:{gateway.port}?token={token}", proxy=None) as device:
            device.transport.pause_reading()
            assert await gateway.stop() == 0
            device.transport.abort()


async def test_listen_prints_messages_and_comes_back_after_a_restart() -> None:
    async with serving("--dev") as gateway:
        port = gateway.port
        listener = await asyncio.create_subprocess_exec(
            *COMMAND, "listen", "--user", "user-1", "--url", gateway.url, stdout=-1, stderr=-1
        )
        assert listener.stdout is not None
        assert listener.stderr is not None
        assert b"listening on" in await asyncio.wait_for(listener.stderr.readline(), 45)
        await tellwire("send", "--user", "user-1", "--url", gateway.url, "notification", "First", "x")
        assert json.loads(await listener.stdout.readline())["data"]["title"] == "First"
        await gateway.stop()
    async with serving("--dev", port=port) as again:
        said = b""
        while b"listening on" not in said:
            said = await asyncio.wait_for(listener.stderr.readline(), 45)
        await tellwire("send", "--user", "user-1", "--url", again.url, "notification", "Second", "x")
        assert json.loads(await listener.stdout.readline())["data"]["title"] == "Second"
        listener.send_signal(signal.SIGINT)
        _, rest = await asyncio.wait_for(listener.communicate(), 45)
        assert listener.returncode == 130
        assert b"Traceback" not in rest


async def test_listen_shows_a_topic_that_the_token_made_here_allows() -> None:
    topic = "moc:1:comments"
    async with serving("--dev") as gateway:
        listener = await asyncio.create_subprocess_exec(
            *COMMAND, "listen", "--user", "user-1", "--url", gateway.url, "--topic", topic, stdout=-1, stderr=-1
        )
        assert listener.stdout is not None
        assert listener.stderr is not None
        said = b""
        while b"following moc:1:comments" not in said:
            said = await asyncio.wait_for(listener.stderr.readline(), 45)
        await tellwire("send", "--topic", topic, "--url", gateway.url, "message", "comment", '{"text": "Hi"}')
        shown = json.loads(await listener.stdout.readline())
        assert (shown["topic"], shown["data"]) == (topic, {"text": "Hi"})
        listener.send_signal(signal.SIGINT)
        await asyncio.wait_for(listener.communicate(), 45)
        assert listener.returncode == 130


async def test_listen_ends_with_words_when_its_topic_is_refused() -> None:
    async with serving("--dev") as gateway:
        token = (await tellwire("token", "--user", "user-1", "--topic", "moc:2:*")).out.strip()
        result = await tellwire("listen", "--url", gateway.url, "--topic", "moc:1:comments", TELLWIRE_TOKEN=token)
        assert result.code == 1
        assert "moc:1:comments: refused: this user may not follow it (TOPIC_FORBIDDEN). Use a token" in result.err
        assert (await tellwire("listen", "--user", "u", "--url", gateway.url, "--topic", "a b")).code == 2


async def test_listen_gives_up_on_a_token_that_is_refused() -> None:
    async with serving("--dev") as gateway:
        result = await tellwire("listen", "--url", gateway.url, TELLWIRE_TOKEN="a.b.c")
        assert result.code == 1
        assert result.err == "tellwire: refused: The token is not valid: it is malformed (4401 TOKEN_INVALID)\n"


async def test_listen_explains_a_token_of_its_own_that_is_refused(tmp_path: Path) -> None:
    async with serving("--dev", XDG_STATE_HOME=str(tmp_path / "other")) as gateway:
        result = await tellwire("listen", "--user", "u", "--url", gateway.url)
        assert result.code == 1
        assert "Tokens made here need the gateway's TELLWIRE_JWT_SECRET" in result.err


async def test_listen_ends_when_its_reader_has_left() -> None:
    async with serving("--dev") as gateway:
        reading, writing = os.pipe()
        listener = await asyncio.create_subprocess_exec(
            *COMMAND, "listen", "--user", "user-1", "--url", gateway.url, stdout=writing, stderr=-1
        )
        os.close(writing)
        assert listener.stderr is not None
        assert b"listening on" in await asyncio.wait_for(listener.stderr.readline(), 45)
        os.close(reading)
        await tellwire("send", "--user", "user-1", "--url", gateway.url, "notification", "a", "b")
        _, rest = await asyncio.wait_for(listener.communicate(), 45)
        assert (listener.returncode, rest) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
async def test_listen_says_when_it_cannot_write() -> None:
    async with serving("--dev") as gateway:
        full = os.open("/dev/full", os.O_WRONLY)
        listener = await asyncio.create_subprocess_exec(
            *COMMAND, "listen", "--user", "user-1", "--url", gateway.url, stdout=full, stderr=-1
        )
        os.close(full)
        assert listener.stderr is not None
        assert b"listening on" in await asyncio.wait_for(listener.stderr.readline(), 45)
        await tellwire("send", "--user", "user-1", "--url", gateway.url, "notification", "a", "b")
        _, rest = await asyncio.wait_for(listener.communicate(), 45)
        assert rest == b"tellwire: cannot write: No space left on device\n"
        assert listener.returncode == 1


async def test_send_says_what_is_wrong_with_the_api_key() -> None:
    async with serving("--dev", TELLWIRE_API_KEY=API_KEY) as gateway:
        send = ("send", "--user", "u", "--url", gateway.url, "notification", "a", "b")
        without = await tellwire(*send)
        missing = "tellwire: TELLWIRE_API_KEY is not set, and the gateway requires a key\n"
        assert (without.code, without.err.removeprefix(slow := still_waiting(gateway.url))) == (2, missing)
        wrong = await tellwire(*send, TELLWIRE_API_KEY="wr0ng")
        not_its = "tellwire: TELLWIRE_API_KEY is not the gateway's key\n"
        assert (wrong.code, wrong.err.removeprefix(slow)) == (2, not_its)
        assert (await tellwire(*send, TELLWIRE_API_KEY=API_KEY)).code == 0


async def test_serve_names_misspelt_variables() -> None:
    result = await tellwire("serve", TELLWIRE_JWTSECRET=SECRET)
    assert result.err.startswith("tellwire: TELLWIRE_JWTSECRET is set, but there is no such setting\n")
    assert "no way to verify tokens" in result.err
    assert SECRET not in result.err


async def test_the_development_secret_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    first = await tellwire("token", "--user", "u")
    secret = tmp_path / "state" / "tellwire" / "dev-secret"
    assert first.code == 0
    assert secret.stat().st_mode & 0o777 == 0o600
    content = secret.read_text()
    await tellwire("token", "--user", "u")
    assert secret.read_text() == content


async def test_a_development_secret_that_was_not_written_to_its_end_is_made_anew(tmp_path: Path) -> None:
    secret = tmp_path / "state" / "tellwire" / "dev-secret"
    secret.parent.mkdir(parents=True)
    secret.touch()
    result = await tellwire("token", "--user", "u")
    assert result.code == 0
    assert len(secret.read_text()) == 64
    assert secret.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in secret.parent.iterdir()] == ["dev-secret"]


async def test_the_command_is_a_module_too() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tellwire", "--version", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out.startswith(b"tellwire ")
    assert process.returncode == 0


async def test_config_is_toml_that_the_next_command_takes(tmp_path: Path) -> None:
    origins = "https://a.example,https://b.example"
    printed = await tellwire("config", TELLWIRE_JWT_SECRET=SECRET, TELLWIRE_ALLOWED_ORIGINS=origins, TELLWIRE_PORT="1")
    assert printed.code == 0
    file = tmp_path / "printed.toml"
    file.write_text(printed.out)
    settings = load_settings({}, file)
    assert settings == Settings(port=1, allowed_origins=tuple(origins.split(",")))
    again = await tellwire("config", "--config", str(file), TELLWIRE_JWT_SECRET=SECRET)
    values = [line.partition(" # ")[0].rstrip() for line in printed.out.splitlines()]
    assert [line.partition(" # ")[0].rstrip() for line in again.out.splitlines()] == values


async def test_config_says_where_each_value_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("port = 9\n")
    result = await tellwire("config", "--config", str(file), TELLWIRE_JWT_SECRET=SECRET)
    lines = {line.removeprefix("# ").partition(" ")[0]: line for line in result.out.splitlines()}
    assert lines["port"].endswith(f"# TELLWIRE_PORT: {file}")
    assert lines["jwt_secret"].endswith("# TELLWIRE_JWT_SECRET: environment")
    assert lines["host"].endswith("# TELLWIRE_HOST: default")
    assert lines["jwks_url"].endswith("# TELLWIRE_JWKS_URL: not set")
    assert lines["engine"].startswith('# engine = "sqlite" ')


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "no way to verify tokens"),
        ({"TELLWIRE_JWT_SECRET": SECRET, "TELLWIRE_ALLOWED_ORIGINS": "nonsense"}, "TELLWIRE_ALLOWED_ORIGINS"),
        ({"TELLWIRE_JWT_SECRET": SECRET, "TELLWIRE_TRUSTED_PROXIES": "10.0.0.0/99"}, "TELLWIRE_TRUSTED_PROXIES"),
        ({"TELLWIRE_JWKS": "{}"}, "JWKS"),
    ],
)
async def test_config_refuses_exactly_what_serve_refuses(environ: dict[str, str], words: str) -> None:
    served, checked = await tellwire("serve", **environ), await tellwire("config", "--check", **environ)
    assert (checked.code, checked.out) == (2, "")
    assert words in checked.err
    assert checked.err == served.err
    assert (await tellwire("config", **environ)).code == 2


async def test_config_check_of_good_settings_prints_nothing() -> None:
    for arguments, environ in (((), {"TELLWIRE_JWT_SECRET": SECRET}), (("--dev",), {})):
        result = await tellwire("config", "--check", *arguments, **environ)
        assert (result.code, result.out, result.err) == (0, "", "")


async def test_config_shows_everything_but_secrets() -> None:
    result = await tellwire("config", TELLWIRE_JWT_SECRET=SECRET, TELLWIRE_API_KEY=API_KEY, TELLWIRE_JWT_SECRETS="x")
    assert result.code == 0
    assert SECRET not in result.out
    assert API_KEY not in result.out
    assert "TELLWIRE_ALLOWED_ORIGINS" in result.out
    assert "COGNITO_USER_POOL_ID" in result.out
    assert result.err == "tellwire: TELLWIRE_JWT_SECRETS is set, but there is no such setting\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("dance",), "No such command 'dance'"),
        (("serve", "--port", "http"), "'http' is not a valid integer"),
        (("serve", "--port", "70000"), "--port: got 70000; allowed: a whole number, at most 65535"),
        (("serve",), "no way to verify tokens: set TELLWIRE_JWT_SECRET"),
        (("serve", "--dev", "--host", "0.0.0.0"), "loopback only"),
        (("serve", "--config", "missing.toml"), "there is no file 'missing.toml'"),
        (("token",), "Missing option '--user'"),
        (("token", "--user", "u", "--info", "Ann"), "--info: got 'Ann'; allowed: a JSON object"),
        (("token", "--user", "u", "--info", "[]"), "--info: got '[]'; allowed: a JSON object"),
        (("token", "--user", "u", "--ttl", "0"), "'--ttl': 0 is not in the range x>=1"),
        (("token", "--user", ""), "--user: got ''; allowed: a non-empty user id"),
        (("listen",), "one of --user ID or --token TOKEN"),
        (("listen", "--user", "u", "--url", "ftp://x"), "gateway URL: got 'ftp://x'; allowed: http://host[:port]"),
        (("send", "notification", "a", "b"), "one of --user ID, --topic NAME, --connection ID or --all"),
        (("send", "--user", "u"), "the message is missing: one of notification, progress, error, message"),
        (("send", "--user", "u", "--all", "notification", "a", "b"), "one of --user ID"),
        (("send", "--user", "u", "notification", "a", "b", "--severity", "bad"), "got 'bad'; allowed: error, info"),
        (("send", "--user", "u", "notification", "a", "b", "--action-url", "javascript:x"), "data.actionUrl"),
        (("send", "--user", "u", "progress", "a", "f", "101"), "data.progress: got 101; allowed"),
        (("send", "--user", "u", "progress", "a", "f", "nan"), "data.progress: got nan; allowed"),
        (("send", "--user", "u", "progress", "a", "f", "half"), "'half' is not a valid float"),
        (("send", "--user", "u", "error", "A", "b", "--details", "{"), "--details: got '{'; allowed: JSON"),
        (("send", "--user", "u", "message", "pong", "1"), "the protocol's own"),
    ],
)
async def test_bad_input_is_one_clear_line_and_exit_code_2(arguments: tuple[str, ...], words: str) -> None:
    result = await tellwire(*arguments)
    assert result.code == 2
    assert words in result.err
    assert result.err.count("\n") == 1
    assert result.err.startswith("tellwire: ")
    assert result.out == ""


async def test_a_gateway_that_is_not_there_is_exit_code_1() -> None:
    result = await tellwire("send", "--user", "u", "--url", "http://127.0.0.1:9", "notification", "a", "b")
    assert result.code == 1
    trying, failed = result.err.splitlines()
    assert trying == "tellwire: no answer from http://127.0.0.1:9 yet, trying again"
    assert failed.startswith("tellwire: The gateway at http://127.0.0.1:9 did not take the message: Connection ref")


async def test_serve_keeps_messages_in_the_file_that_is_named(tmp_path: Path) -> None:
    async with serving("--dev", "--database", str(tmp_path / "mine.db")):
        assert (tmp_path / "mine.db").stat().st_size > 0
        other = await tellwire("serve", "--dev", "--port", "0", "--database", str(tmp_path / "mine.db"))
        assert (other.code, "is another gateway using it?" in other.err) == (2, True)


async def test_a_port_that_is_taken_is_named() -> None:
    async with serving("--dev") as gateway:
        taken = await tellwire("serve", "--dev", "--port", str(gateway.port))
        assert taken.code == 2
        assert f"cannot listen on 127.0.0.1:{gateway.port}: Address already in use" in taken.err


@pytest.mark.parametrize(
    "command", [(), ("serve",), ("token",), ("listen",), ("send",), ("send", "notification"), ("config",)]
)
async def test_help_teaches(command: tuple[str, ...]) -> None:
    result = await tellwire(*command, "--help")
    assert result.code == 0
    assert "Usage: tellwire" in result.out


async def test_serve_raises_its_limit_of_open_files_and_says_when_none_is_left() -> None:
    resource = pytest.importorskip("resource")
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("serve", "--port", "0", "--dev"),
        env=os.environ | {"TELLWIRE_MAX_CONNECTIONS": "50000"},
        stdout=-1,
        stderr=-1,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 80)),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        first = (await asyncio.wait_for(process.stdout.readline(), 45)).decode()
        port = int(re.findall(r":(\d+)", first)[0])
        told = (await asyncio.wait_for(process.stderr.readline(), 45)).decode()
        assert "at most 40 connections" in told
        assert "the limit of open files is 80" in told
        taken = [await asyncio.open_connection("127.0.0.1", port) for _ in range(90)]
        line = (await asyncio.wait_for(process.stderr.readline(), 45)).decode()
        assert "no file descriptor is left (the limit is 80)" in line
        for _, writer in taken:
            writer.close()
    finally:
        process.kill()
        await process.communicate()
