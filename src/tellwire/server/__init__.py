"""The WebSocket server: sockets, framing, handshakes, timers, and the HTTP server around them.

It is independent of its application: an `Application` (see `sockets`) is called for each connection.
"""

from tellwire.extras import needs_extra

with needs_extra("tellwire.server", "gateway"):
    import websockets as _websockets  # noqa: F401 - imported here to name it if it is absent
