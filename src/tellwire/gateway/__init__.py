"""The self-hosted server: sockets, sessions, and the HTTP API that producers publish to.

    bytes ─▶ socket ─▶ sessions ─▶ hub        a device connects and talks
    HTTP  ─▶ http_api ─▶ hub ─▶ outbox ─▶ socket ─▶ bytes     a message goes out

`node` puts the parts together; nothing else knows all of them.
"""

from tellwire.gateway.node import Node

__all__ = ["Node"]
