"""The self-hosted gateway: the application on the sockets, and the HTTP API that producers publish to.

    bytes ─▶ server.socket ─▶ application ─▶ conversation ─▶ broker     a client connects and sends
    HTTP  ─▶ http_api ─▶ broker ─▶ hub ─▶ outbox ─▶ bytes              a message is published

`node` puts the parts together; nothing else knows all of them.
"""

from tellwire.extras import needs_extra

with needs_extra("tellwire.gateway", "gateway"):
    from tellwire.gateway.node import Node

__all__ = ["Node"]
