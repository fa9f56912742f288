"""A gateway inside another program's ASGI server: one port, one process.

application   `tellwire_app`: the ASGI application, which opens its node and closes it
keeper        the task that holds the node open
siblings      workers of one server, of which only one may use an engine of one process
sockets       the front of the node: its WebSockets, and their drain
connection    one WebSocket of the server
handshake     the request in a scope, and refusals as ASGI events
"""

from tellwire.extras import needs_extra

with needs_extra("tellwire.asgi", "gateway"):
    from tellwire.asgi.application import TellwireApp, tellwire_app

__all__ = ["TellwireApp", "tellwire_app"]
