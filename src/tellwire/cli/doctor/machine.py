"""This machine: the address, the limit of descriptors, files with secrets, and packages."""

import errno
import importlib.util
import socket
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from tellwire.cli.doctor.findings import Finding, error, ok, warning
from tellwire.config import Settings
from tellwire.server import descriptors
from tellwire.server.server import authority_of

_TIMEOUT_SECONDS: Final = 3.0
_LARGEST_ANSWER: Final = 2_000_000


def descriptor_finding(limit: int | None, max_connections: int) -> Finding:
    """Compare the limit of open files with the connections that are allowed."""
    needed = max_connections + descriptors.RESERVED
    if limit is None or limit >= needed:
        return ok(
            "descriptors", f"{'no limit' if limit is None else f'{limit:,}'}, for {max_connections:,} connections"
        )
    remedy = f"LimitNOFILE={needed} of systemd, or ulimit -n {needed}; or lower max_connections"
    return warning("descriptors", f"{limit:,} open files are allowed, max_connections is {max_connections:,}", remedy)


def secret_file_finding(name: str, path: str, mode: int) -> Finding:
    """Look at the rights of a file with a secret."""
    if mode & 0o007:
        return error(name, f"everybody may read {path} ({mode & 0o777:o})", f"chmod 600 {path}")
    return ok(name, f"{path} ({mode & 0o777:o})")


def check_machine(settings: Settings) -> Iterator[Finding]:
    """Look at the address, the limits, the files and the packages."""
    yield _address(settings.host, settings.port)
    descriptors.raise_limit()
    yield descriptor_finding(descriptors.limit(), settings.max_connections)
    for name in settings.__struct_fields__:
        path = getattr(settings, name)
        if name.endswith("_file") and isinstance(path, str) and name not in ("topics_file", "webhooks_file"):
            yield secret_file_finding(name, path, stat.S_IMODE(Path(path).stat().st_mode))
    wants_metrics = settings.metrics or settings.metrics_port is not None
    if wants_metrics and importlib.util.find_spec("prometheus_client") is None:
        yield error("metrics", "prometheus-client is not installed", "pip install 'tellwire[metrics]'")


def _address(host: str, port: int) -> Finding:
    address = authority_of(host, port)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            listening.listen(1)
        except OSError as failed:
            if failed.errno == errno.EADDRINUSE:
                return _taken(address)
            return error(
                "address",
                f"{address}: {failed.strerror}",
                "Set host to an address of this machine, and a port above 1023",
            )
    return ok("address", f"{address} is free")


def _taken(address: str) -> Finding:
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{address}/openapi.json", timeout=_TIMEOUT_SECONDS) as answer:
            title = msgspec.json.decode(answer.read(_LARGEST_ANSWER), type=dict[str, msgspec.Raw]).get("info", b"")
    except (OSError, ValueError, msgspec.MsgspecError, urllib.error.URLError):
        title = b""
    if b"tellwire gateway" in bytes(title):
        return ok("address", f"{address}: a gateway of tellwire listens there")
    return error("address", f"{address}: another program listens there", "End it (ss -ltnp), or set another port")
