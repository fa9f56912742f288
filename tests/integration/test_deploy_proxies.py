"""The proxies of deploy/: a real nginx and a real Caddy with TLS before a gateway, with these files."""

import asyncio
import os
import re
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import pytest
import yaml
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bench.processes import free_port
from tellwire import Settings
from tellwire.auth import mint_token
from tellwire.gateway.node import Node
from tellwire.messages import create_message
from tests.conftest import API_KEY, SECRET, Gateway, offered, read
from tests.nginx import around
from tests.tools import SECONDS, require, until

PROXIES = Path(__file__).parents[2] / "deploy" / "proxies"
NAME = "live.example.com"
IDLE_SECONDS = 2
"""The proxy's timeout in the test; the gateway's pings come four times as often."""


@dataclass
class Proxied:
    """A gateway behind a proxy."""

    gateway: Gateway
    port: int
    directory: Path

    @asynccontextmanager
    async def device(
        self, source: str = "127.0.0.2", token: str = "", forwarded: str = ""
    ) -> AsyncIterator[ClientConnection]:
        """Connect from an address, which may say that it is another one."""
        context = ssl.create_default_context(cafile=self.directory / "certificate.pem")
        async with connect(
            f"wss://{NAME}:{self.port}/",
            host="127.0.0.1",
            port=self.port,
            local_addr=(source, 0),
            ssl=context,
            subprotocols=offered(token or mint_token(SECRET, "user-1")),
            additional_headers={"X-Forwarded-For": forwarded} if forwarded else {},
            proxy=None,
            ping_interval=None,
        ) as device:
            yield device

    async def curl(self, path: str, *options: str) -> str:
        """Return the version and the status of an answer, such as `2 200`."""
        process = await asyncio.create_subprocess_exec(
            *(require("curl"), "--silent", "--output", os.devnull, "--write-out", "%{http_version} %{http_code}"),
            *("--cacert", str(self.directory / "certificate.pem"), "--resolve", f"{NAME}:{self.port}:127.0.0.1"),
            *("--noproxy", "*", "--max-time", "60", "--path-as-is", *options, f"https://{NAME}:{self.port}{path}"),
            stdout=-1,
        )
        return (await process.communicate())[0].decode()

    def log(self) -> str:
        """Return the access log."""
        return (self.directory / "access.log").read_text()


def make_certificate(directory: Path) -> None:
    command = [
        *(require("openssl"), "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"),
        *("-keyout", "key.pem", "-out", "certificate.pem"),
    ]
    subprocess.run(command, cwd=directory, capture_output=True, timeout=60, check=True)


def write_nginx(directory: Path, port: int, gateway: int) -> tuple[str, ...]:
    text = (PROXIES / "nginx.conf").read_text()
    for place, value in {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "127.0.0.1:8787": f"127.0.0.1:{gateway}",
        f"/etc/letsencrypt/live/{NAME}/fullchain.pem": f"{directory}/certificate.pem",
        f"/etc/letsencrypt/live/{NAME}/privkey.pem": f"{directory}/key.pem",
        "/var/log/nginx/tellwire.log": f"{directory}/access.log",
        "proxy_read_timeout 90s": f"proxy_read_timeout {IDLE_SECONDS}s",
        "allow 10.0.0.0/8": "allow 127.0.0.10",
    }.items():
        assert place in text
        text = text.replace(place, value)
    (directory / "tellwire.conf").write_text(text)
    (directory / "nginx.conf").write_text(around(directory, f"include {directory}/tellwire.conf;"))
    return (require("nginx"), "-c", f"{directory}/nginx.conf", "-p", str(directory), "-e", "stderr")


def write_caddy(directory: Path, port: int, gateway: int) -> tuple[str, ...]:
    text = (PROXIES / "Caddyfile").read_text()
    for place, value in {
        f"\n{NAME} {{": f"\n{NAME}:{port} {{\n\tbind 127.0.0.1\n\ttls {directory}/certificate.pem {directory}/key.pem",
        "127.0.0.1:8787": f"127.0.0.1:{gateway}",
        "remote_ip 10.0.0.0/8": "remote_ip 127.0.0.10",
        "\tlog {": f"\tlog {{\n\t\toutput file {directory}/access.log",
    }.items():
        assert place in text
        text = text.replace(place, value)
    (directory / "Caddyfile").write_text(f"{{\n\tadmin off\n\tauto_https off\n}}\n{text}")
    return (require("caddy"), "run", "--config", f"{directory}/Caddyfile", "--adapter", "caddyfile")


@pytest.fixture(params=[write_nginx, write_caddy], ids=["nginx", "caddy"])
async def proxied(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Proxied]:
    settings = Settings(
        port=0,
        jwt_secret=SECRET,
        engine="memory",
        api_key=API_KEY,
        drain_seconds=1,
        trusted_proxies=("127.0.0.1",),
        ping_after_seconds=IDLE_SECONDS / 4,
    )
    make_certificate(tmp_path)
    node = Node(settings)
    port = free_port()
    async with node.running() as url:
        command = request.param(tmp_path, port, node.address[1])
        process = await asyncio.create_subprocess_exec(
            *command, env=os.environ | {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}, stderr=-1
        )
        try:
            await until(lambda: process.returncode is not None or _listens(port))
            assert process.returncode is None, (await process.communicate())[1]
            yield Proxied(Gateway(node, url), port, tmp_path)
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.communicate()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def test_a_device_is_told_through_the_proxy_and_lives_while_it_is_idle(proxied: Proxied) -> None:
    async with proxied.device() as device:
        since = monotonic()
        # Nothing is sent but pings.
        await until(lambda: monotonic() - since > 1.25 * IDLE_SECONDS)
        await proxied.gateway.node.broadcaster.broadcast_to_user("user-1", create_message("note", 1))
        assert (await read(device))["type"] == "note"


async def test_the_gateway_sees_the_address_that_the_proxy_sees_whatever_the_client_says(
    proxied: Proxied, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tellwire.gateway")
    async with proxied.device("127.0.0.3", token="wrong", forwarded="203.0.113.9") as device:
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(device.recv(), SECONDS)
    (line,) = (each for each in caplog.messages if "TOKEN_INVALID" in each)
    assert "127.0.0.3" in line


ROW_ERRORS = "/v1/uploads/row-errors?upload=u-1"
INSIDE = ("--interface", "127.0.0.10")


async def test_only_paths_of_devices_are_open_to_all_and_those_of_producers_to_the_inside(proxied: Proxied) -> None:
    key = ("-H", f"Authorization: Bearer {API_KEY}")
    token = ("-H", f"Authorization: Bearer {mint_token(SECRET, 'user-1')}")
    publish = (*key, "-d", '{"target": {"user": "u"}, "message": {"type": "note", "data": 1}}')
    assert await proxied.curl("/client/tellwire.js") in ("2 200", "2 404")
    assert await proxied.curl("/") == "2 426"
    assert await proxied.curl(ROW_ERRORS, *token) == "2 404"
    assert await proxied.curl("/v1/uploads/u-1/row-errors", *token) == "2 404"
    for path in ("/metrics", "/readyz", "/v1/stats", "/v1/connections?user=u", "/console", "/v1/uploads/../stats"):
        assert await proxied.curl(path, *key) == "2 404", path
    # Without a body: a proxy that refuses does not read it, and then curl may miss the answer.
    assert await proxied.curl("/v1/publish", *key, "-X", "POST") in ("2 403", "2 404")
    assert await proxied.curl("/v1/publish", *publish, *INSIDE) == "2 200"
    assert await proxied.curl("/v1/publish/batch", *key, "-d", "", *INSIDE) == "2 200"
    assert await proxied.curl("/v1/drain", *key, "-X", "POST", *INSIDE) == "2 404"


async def test_no_token_is_in_the_access_log(proxied: Proxied) -> None:
    token = mint_token(SECRET, "user-1")
    await proxied.curl(f"/?token={token}")
    async with proxied.device():
        pass
    await until(lambda: len(proxied.log().splitlines()) == 2)
    assert "426" in proxied.log()
    assert token.split(".")[2] not in proxied.log()
    assert "eyJ" not in proxied.log()


def test_the_file_for_traefik_opens_the_same_paths() -> None:
    found = yaml.safe_load((PROXIES / "traefik.yml").read_text())["http"]
    devices, producers = found["routers"]["tellwire-devices"], found["routers"]["tellwire-producers"]
    for router in (devices, producers):
        assert set(router.get("middlewares", [])) <= found["middlewares"].keys()
        assert router["service"] in found["services"]
        assert router["rule"].count("(") == router["rule"].count(")")
    assert re.findall(r"Path(?:Prefix|Regexp)?\(`(.*?)`\)", devices["rule"]) == [
        "/",
        "/client",
        "/client/",
        "^/v1/uploads/(.+/)?row-errors$",
    ]
    assert re.findall(r"Path\(`(.*?)`\)", producers["rule"]) == [
        "/v1/publish",
        "/v1/publish/batch",
        "/v1/uploads/row-errors",
    ]
    assert producers["middlewares"] == ["tellwire-inside"]
