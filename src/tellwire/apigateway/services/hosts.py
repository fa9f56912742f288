"""AWS's host names that lead to this machine: a table for worker processes. Pure.

Code that builds a host itself (`{apiId}.execute-api.{region}.amazonaws.com`, as AWS Chalice does) is led here by a hook
in its process: `runner/hosts.py` for Python, `hosts.cjs` for Node. Both read the table in `HOSTS_VARIABLE`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

HOSTS_VARIABLE: Final = "TELLWIRE_LOCAL_HOSTS"
"""JSON: the end of a host's name (`.amazonaws.com`, or a whole name), and `host:port` in its place, or null: not led.

The longest end that fits decides.
"""

NODE_PRELOAD: Final = Path(__file__).with_name("hosts.cjs")
"""The hook for Node: `node --require <this file>`."""

SUFFIXES: Final = (".amazonaws.com", ".api.aws", ".amazonaws.com.cn")
"""Ends of AWS's host names."""


def execute_api_suffix(region: str) -> str:
    """Return the end of the host names of APIs."""
    return f".execute-api.{region}.amazonaws.com"


def host_table(region: str, api: str, services: str | None, environment: Mapping[str, str]) -> str:
    """Return the value of `HOSTS_VARIABLE`.

    Args:
        region: the region of the API.
        api: the address of the API, as `host:port`.
        services: the address of the services that speaks TLS; None: only APIs are led here.
        environment: variables of the developer. Hosts of AWS in their URLs are meant, and are not led here.
    """
    table: dict[str, str | None] = {execute_api_suffix(region): api}
    if services is not None:
        table |= dict.fromkeys(SUFFIXES, services)
    for name, value in environment.items():
        host = urlsplit(value).hostname if name.startswith("AWS_ENDPOINT_URL") and "://" in value else None
        if host is not None and host.endswith(SUFFIXES):
            table |= {host: None, f".{host}": None}
    return json.dumps(table)
