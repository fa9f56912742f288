"""Opening the engine, with a Redis that it can work with, and with others: in words, and without the secret."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest

from bench.processes import free_port
from tellwire.apigateway.certificate import Authority
from tellwire.cli.app import run
from tellwire.config import Settings
from tellwire.engines.redis.link.address import Endpoint, RedisAddress
from tellwire.engines.redis.link.dial import Dialer
from tellwire.engines.redis.link.scripts import script
from tellwire.engines.redis.link.store import RedisStore
from tellwire.engines.redis.node.channels import Channels
from tellwire.engines.registry import open_engine
from tellwire.errors import ConfigError, HistoryUnavailable
from tellwire.gateway import Node
from tellwire.gateway.worker import DRAIN, END, Worker
from tellwire.limits import REDIS_START_SECONDS
from tellwire.messages import create_message
from tellwire.model import Target
from tellwire.testing import FakeClock
from tests.conftest import API_KEY, SECRET, StartGateway
from tests.integration.test_cli import COMMAND, own_state
from tests.publications import for_user, publication
from tests.redis_server import RedisServer, running
from tests.tools import until

__all__ = ["own_state"]

PASSWORD = "pa55-word"


async def words_of(url: str) -> str:
    """Return the words with which the engine refuses a Redis."""
    with pytest.raises((ConfigError, HistoryUnavailable)) as caught:
        await open_engine(Settings(engine="redis", redis_url=url), FakeClock())
    assert PASSWORD not in repr(caught.value)
    return str(caught.value)


async def test_the_engine_opens_with_a_redis(redis_server: RedisServer) -> None:
    engine = await open_engine(Settings(engine="redis", redis_url=redis_server.url), FakeClock())
    assert engine.trouble() is None
    await engine.close()


async def test_a_wrong_or_missing_password_is_an_error_of_the_settings(tmp_path: Path) -> None:
    with running(tmp_path, "--requirepass", "the-right-one") as server:
        url = server.url.replace("//", f"//:{PASSWORD}@")
        assert "does not accept the user or password" in await words_of(url)
        assert "does not accept the user or password" in await words_of(server.url)


async def test_a_user_of_the_acl_with_the_rights_of_the_docs_can_open(tmp_path: Path) -> None:
    docs = (Path(__file__).parents[3] / "docs" / "how-to" / "nodes.md").read_text("utf-8")
    line = next(line.strip() for line in docs.splitlines() if line.strip().startswith("ACL SETUSER"))
    with running(tmp_path) as server:
        server.command(*line.replace("PASSWORD", PASSWORD).split())
        url = server.url.replace("//", f"//tellwire:{PASSWORD}@")
        engine = await open_engine(Settings(engine="redis", redis_url=url), FakeClock())
        published = await engine.broker.publish(for_user("anna", create_message("note", 1)))
        assert published.entry is not None
        await engine.broker.publish(publication(Target(all=True), create_message("note", 2)))
        assert engine.requests is not None
        await engine.requests.begin("anna", "r1")
        await engine.requests.finish("anna", "r1", b"answer")
        assert await engine.requests.begin("anna", "r1") == b"answer"
        await engine.forget_user("anna")
        await engine.close()
        server.command("ACL", "SETUSER", "tellwire", "-info")
        assert "may not use a command" in await words_of(url)


async def test_a_replica_is_refused_when_the_engine_opens(redis_server: RedisServer, tmp_path: Path) -> None:
    with running(tmp_path, "--replicaof", "127.0.0.1", str(redis_server.port)) as replica:
        assert "a replica, which takes no writes" in await words_of(replica.url)


async def test_a_redis_that_deletes_histories_when_it_is_full_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running(tmp_path, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as server:
        engine = await open_engine(Settings(engine="redis", redis_url=server.url), FakeClock())
        await engine.close()
    assert "maxmemory-policy allkeys-lru" in caplog.text


async def test_a_redis_that_is_started_a_moment_later_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = RedisServer(tmp_path)
    opening = asyncio.create_task(open_engine(Settings(engine="redis", redis_url=server.url), FakeClock()))
    await until(lambda: "waiting for Redis" in caplog.text)
    server.start()
    try:
        engine = await opening
        await engine.close()
    finally:
        server.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_a_node_that_waits_for_redis_at_once(number: signal.Signals) -> None:
    environment = {
        "TELLWIRE_ENGINE": "redis",
        "TELLWIRE_REDIS_URL": f"redis://127.0.0.1:{free_port()}",
        "TELLWIRE_JWT_SECRET": SECRET,
    }
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "serve", "--port", "0", env=os.environ | environment, stdout=-1, stderr=-1
    )
    assert process.stderr is not None
    async with asyncio.timeout(100):
        while b"waiting for Redis" not in (line := await process.stderr.readline()):
            assert line
    # A second signal would end it with a code of its own.
    process.send_signal(number)
    async with asyncio.timeout(REDIS_START_SECONDS / 2):
        out, err = await process.communicate()
    assert (process.returncode, out) == (0, b"")
    assert b"stopped before it was open" in err


@pytest.mark.parametrize("word", [DRAIN, END])
async def test_a_worker_that_waits_for_redis_obeys_its_supervisor_at_once(
    word: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(
        engine="redis", redis_url=f"redis://127.0.0.1:{free_port()}", jwt_secret=SECRET, api_key=API_KEY
    )
    ours, theirs = socket.socketpair()
    with ours, socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(Node(settings).serve(worker=Worker(1, listener, theirs)))
        await until(lambda: "waiting for Redis" in caplog.text)
        ours.send(word)
        async with asyncio.timeout(REDIS_START_SECONDS / 2):
            await serving


async def test_a_node_that_is_cancelled_while_it_waits_for_redis_is_not_stopped_but_cancelled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = Settings(engine="redis", redis_url=f"redis://127.0.0.1:{free_port()}", jwt_secret=SECRET)
    serving = asyncio.create_task(Node(settings).serve())
    await until(lambda: "waiting for Redis" in caplog.text)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_a_redis_that_loads_its_data_is_waited_for(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe, loading = Dialer._probe, ["1"]

    async def facts(dialer: Dialer, host: Endpoint) -> dict[str, str]:
        return await probe(dialer, host) | {"loading": loading.pop() if loading else "0"}

    monkeypatch.setattr(Dialer, "_probe", facts)
    engine = await open_engine(Settings(engine="redis", redis_url=redis_server.url), FakeClock())
    await engine.close()
    assert "waiting for Redis: Redis is loading its data" in caplog.text


async def test_a_redis_that_is_not_there_is_told_without_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tellwire.engines.redis.link.store.REDIS_START_SECONDS", 0)
    words = await words_of(f"redis://:{PASSWORD}@127.0.0.1:{free_port()}")
    assert words == "The history is not available: Redis cannot be reached"
    assert "no Sentinel can be reached" in await words_of(f"redis+sentinel://:{PASSWORD}@127.0.0.1:{free_port()}/main")
    assert "cannot be reached" in await words_of(f"redis+cluster://:{PASSWORD}@127.0.0.1:{free_port()}")


async def test_the_cause_is_told_why_there_is_no_connection(
    redis_server: RedisServer, start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellwire.engines.redis.link.store.REDIS_START_SECONDS", 0)
    assert "has no database of the number" in await words_of(f"{redis_server.url}/99")
    assert "cannot be resolved" in await words_of(f"redis://:{PASSWORD}@host.invalid")
    gateway = await start_gateway()
    assert "no Redis answers" in await words_of(gateway.url.replace("http", "redis"))


async def test_tls_trusts_the_authorities_that_the_address_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellwire.engines.redis.link.store.REDIS_START_SECONDS", 0)
    authority = Authority()
    key, certificate = authority.sign(["localhost", "127.0.0.1"])
    for name, content in (("key", key), ("cert", certificate), ("authority", authority.certificate)):
        (tmp_path / f"{name}.pem").write_bytes(content)
    tls_port = free_port()
    files = ("--tls-cert-file", str(tmp_path / "cert.pem"), "--tls-key-file", str(tmp_path / "key.pem"))
    options = ("--tls-port", str(tls_port), *files, "--tls-ca-cert-file", str(tmp_path / "authority.pem"))
    with running(tmp_path / "redis", *options, "--tls-auth-clients", "no"):
        url = f"rediss://127.0.0.1:{tls_port}"
        assert "certificate of Redis is not trusted (ssl_ca_certs)" in await words_of(url)
        store = RedisStore(RedisAddress.parse(f"{url}?ssl_ca_certs={tmp_path / 'authority.pem'}"))
        await store.open()
        assert await store.call(script("ping"), [b"{1}"], [1]) == b"1"
        heard: list[bytes] = []
        channels = Channels(store.address, store.endpoint)
        channels.start()
        await channels.subscribe(b"{1}:ch", heard.append).ready()
        await store.command("SPUBLISH", "{1}:ch", "over TLS", key=b"{1}:ch")
        await until(lambda: heard == [b"over TLS"])
        await channels.close()
        await store.close()


def test_the_command_line_masks_the_address_and_refuses_a_wrong_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TELLWIRE_ENGINE", "redis")
    monkeypatch.setenv("TELLWIRE_JWT_SECRET", "a-secret-for-tests-of-forty-characters..")
    monkeypatch.setenv("TELLWIRE_REDIS_URL", f"redis://:{PASSWORD}@host")
    assert run(["config"]) == 0
    monkeypatch.setenv("TELLWIRE_REDIS_URL", f"redis://:{PASSWORD}@host/x")
    assert run(["config", "--check"]) == 2
    output = capsys.readouterr()
    assert '# redis_url = "********"' in output.out
    assert "TELLWIRE_REDIS_URL: got an invalid path" in output.err
    assert PASSWORD not in output.out + output.err
