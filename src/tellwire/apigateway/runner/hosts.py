"""Host names of AWS that lead to this machine, in a process of Python.

`socket.getaddrinfo` is under urllib3, http.client, asyncio and the libraries on them, and gives host and port: so one
place is enough. Names in TLS and in HTTP stay as they are, and the certificate has them.
"""

import json
import os
import socket
from collections.abc import Mapping
from typing import Any, Final

_VARIABLE: Final = "TELLWIRE_LOCAL_HOSTS"
"""As `services.hosts.HOSTS_VARIABLE`, which would import more here."""

_resolve: Final = socket.getaddrinfo


def lead_hosts_here(environ: Mapping[str, str] | None = None) -> None:
    """Lead the host names in the environment's table here, in this process. Called again, it uses the new table."""
    written = (os.environ if environ is None else environ).get(_VARIABLE)
    if written is None:
        return
    table: dict[str, str | None] = json.loads(written)

    def getaddrinfo(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        address = address_of(host, table)
        return _resolve(*(address or (host, port)), *arguments, **options)

    socket.getaddrinfo = getaddrinfo


def address_of(host: Any, table: Mapping[str, str | None]) -> tuple[str, int] | None:
    """Return the address in place of a host's, or None if the host is not led here."""
    name = host.decode("latin-1") if isinstance(host, bytes) else host
    if not isinstance(name, str):
        return None
    name = name.lower().removesuffix(".")
    ends = [end for end in table if (name.endswith(end) if end.startswith(".") else name == end)]
    address = table[max(ends, key=len)] if ends else None
    if address is None:
        return None
    own_host, _, own_port = address.rpartition(":")
    return own_host.strip("[]"), int(own_port)
