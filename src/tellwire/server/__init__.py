"""The WebSocket server: sockets, framing, handshakes, timers, and the HTTP server around them.

It is independent of its application: an `Application` (see `socket`) is called for each connection.
"""
