"""The WebSocket server: sockets, framing, handshakes, timers, and the HTTP server around them.

It knows nothing of what it serves: an `Application` (see `socket`) is called for each connection.
"""
