"""The configuration of docs/how-to/nginx.md, with a real nginx, a real certificate and our own client."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from bench.processes import free_port
from tellwire import create_notification_message
from tellwire.client import Client
from tests.conftest import API_KEY, Gateway, StartGateway
from tests.nginx import around, running_nginx
from tests.tools import until
from tests.unit.aws_api.authority import make_authority

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "nginx.md"


class Site(NamedTuple):
    """A gateway behind nginx."""

    gateway: Gateway
    port: int
    context: ssl.SSLContext
    log: Path

    async def status(self, path: str, *headers: str) -> int:
        """Return the status of the answer to a GET."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.context, server_hostname="localhost"
        )
        lines = [f"GET {path} HTTP/1.1", "Host: example.com", "Connection: close", *headers, "", ""]
        writer.write("\r\n".join(lines).encode())
        answer = await reader.read()
        writer.close()
        return int(answer.split()[1])


@pytest.fixture
async def site(start_gateway: StartGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    gateway = await start_gateway(trusted_proxies=("127.0.0.1",))
    _, bundle = make_authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    (block,) = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    port, log = free_port(), tmp_path / "access.log"
    # Nothing but places is replaced.
    places = {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/ssl/example.com.pem": f"{tmp_path}/server.pem",
        "/etc/ssl/example.com.key": f"{tmp_path}/server.pem",
        "/var/log/nginx/tellwire.log": str(log),
        "server 127.0.0.1:8787": f"server {gateway.url.removeprefix('http://')}",
    }
    for given, place in places.items():
        assert block.count(given) == 1, given
        block = block.replace(given, place)
    async with running_nginx(tmp_path, around(tmp_path, block), port):
        yield Site(gateway, port, ssl.create_default_context(cafile=bundle), log)


async def test_a_device_connects_through_tls_and_below_a_path(site: Site) -> None:
    async with Client(f"wss://localhost:{site.port}/live/", lambda _: site.gateway.token()) as client:
        await until(lambda: client.state.status == "open")
        await site.gateway.node.broadcaster.broadcast_to_user("user-1", create_notification_message("a", "b", "info"))
        async with asyncio.timeout(100):
            assert (await anext(aiter(client))).type == "notification"


async def test_paths_of_devices_and_pages_are_let_through_and_no_others(site: Site) -> None:
    user, key = f"Authorization: Bearer {site.gateway.token()}", f"Authorization: Bearer {API_KEY}"
    assert await site.status("/live/v1/uploads/row-errors?upload=moc-1") == 401
    assert await site.status("/live/v1/uploads/moc-1/row-errors", user) == 404
    assert await site.status("/live/client/tellwire.js") in (200, 404)
    assert await site.status("/live/") == 426
    for path in ("v1/stats", "v1/users?user=u", "v1/connections?user=u", "metrics", "console", "healthz", "readyz"):
        assert await site.status(f"/live/{path}", key) == 404, path
    assert await site.status("/v1/stats", key) in (403, 404)


async def test_nobody_chooses_their_address_and_no_token_is_logged(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    upgrade = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
    with caplog.at_level("INFO"):
        assert await site.status("/live/?token=secret", "X-Forwarded-For: 203.0.113.9", *upgrade) == 401
    assert "refused a connection from 127.0.0.1: 401 TOKEN_INVALID" in caplog.text
    await until(lambda: '"GET /live/" 401' in site.log.read_text())
    assert "secret" not in site.log.read_text()
