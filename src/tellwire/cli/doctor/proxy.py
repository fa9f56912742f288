"""The way from outside: does a handshake pass, does an address arrive, does an idle socket live."""

import asyncio
import time
from typing import Final
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from tellwire.cli.admin import Admin
from tellwire.cli.doctor.findings import Finding, error, ok, warning
from tellwire.errors import TellwireError
from tellwire.model import is_loopback

_TIMEOUT_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 70.0
_SET_HEADER: Final = "Let the proxy set it; nginx: proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"


class SeenAddress(msgspec.Struct, rename="camel"):
    """The address of a client, as the gateway has it: its own, or one that a proxy has forwarded."""

    address: str
    has_header: bool
    is_forwarded: bool


def address_finding(url: str, seen: SeenAddress) -> Finding:
    """Look at the address of a client that came through a proxy."""
    if seen.is_forwarded:
        return ok("client address", f"{seen.address}, by X-Forwarded-For of a trusted proxy")
    if seen.has_header:
        remedy = f'Set trusted_proxies = ["{seen.address}"], the address or network of the proxy'
        return error(
            "client address", f"X-Forwarded-For of {seen.address} is not trusted: all clients share one limit", remedy
        )
    if is_loopback(urlsplit(url).hostname) and not is_loopback(seen.address):
        return ok("client address", seen.address)
    return warning(
        "client address", f"{seen.address}: no X-Forwarded-For arrives", f"If a proxy is there: {_SET_HEADER}"
    )


def idle_finding(lived_seconds: float, code: int | None) -> Finding:
    """Look at the time for which an idle socket lived."""
    if lived_seconds >= _IDLE_SECONDS:
        return ok("idle socket", f"lived {_IDLE_SECONDS:g} seconds")
    found = f"was cut after {lived_seconds:.0f} seconds ({code or 'without a close'})"
    return error("idle socket", found, "Raise the proxy's timeout above 60 s; nginx: proxy_read_timeout 75s;")


async def check_proxy(url: str, token: str | None, *, is_slow: bool) -> list[Finding]:
    """Connect through the public address."""
    findings = []
    try:
        seen = await asyncio.to_thread(Admin(url).ask, "GET", "/v1/client-address", SeenAddress)
        findings.append(address_finding(url, seen))
    except TellwireError as refused:
        findings.append(
            warning("client address", f"cannot be asked: {refused}", "Set TELLWIRE_API_KEY with the scope admin")
        )
    if token is None:
        remedy = "Pass --token, or set TELLWIRE_JWT_SECRET"
        return [*findings, warning("handshake", "not tried: there is no token", remedy)]
    return [*findings, *await _handshake(url, token, is_slow=is_slow)]


async def _handshake(url: str, token: str, *, is_slow: bool) -> list[Finding]:
    address = url.replace("http", "ws", 1) if url.startswith("http") else url
    upgrade = "Let the proxy pass Upgrade and Connection: see docs/how-to/nginx.md"
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            device = await connect(address, additional_headers={"Authorization": f"Bearer {token}"}, proxy=None)
    except InvalidStatus as refused:
        return [error("handshake", f"{url} answers {refused.response.status_code}", upgrade)]
    except (OSError, WebSocketException, TimeoutError) as failed:
        return [error("handshake", f"{url}: {type(failed).__name__}: {str(failed)[:200]}", upgrade)]
    began_at, code = time.monotonic(), None
    try:
        async with asyncio.timeout(_IDLE_SECONDS if is_slow else 0.2):
            while True:
                await device.recv()
    except ConnectionClosed as closed:
        code = closed.rcvd.code if closed.rcvd else None
        if not is_slow:
            return [error("handshake", f"{url}: closed at once ({code})", "See the gateway's log")]
        return [ok("handshake", f"{url} is open"), idle_finding(time.monotonic() - began_at, code)]
    except TimeoutError:
        idle = [idle_finding(_IDLE_SECONDS, None)] if is_slow else []
        return [ok("handshake", f"{url} is open"), *idle]
    finally:
        await device.close()
