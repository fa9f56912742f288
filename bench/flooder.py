"""The hostile client: sends one flood until its time is over, and reads all that comes back. A process of its own."""

import selectors
import socket
import time
from contextlib import suppress

from bench.flood_kinds import Flood

_READ_BYTES = 1024 * 1024
_RETURN_SECONDS = 0.05  # as fast as the limit of handshakes per address lets one address in


class _Line:
    """One connection of the flood."""

    def __init__(self, flood: Flood, port: int, handshake: bytes) -> None:
        self._flood = flood
        self._left = memoryview(flood.first + flood.data)
        self._send_at = 0.0
        self.is_over = False
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        if flood.is_socket:
            self.socket.sendall(handshake)
            while b"\r\n\r\n" not in self.socket.recv(4096):
                pass
        self.socket.setblocking(False)

    def send(self, now: float) -> int:
        """Send as much as fits, unless it is too early. Return the number of bytes."""
        if now < self._send_at or not self._left:
            return 0
        sent = self.socket.send(self._left)
        self._left = self._left[sent:]
        if not self._left and not self._flood.once:
            self._left = memoryview(self._flood.data)
            self._send_at = now + self._flood.pause_seconds
        return sent

    def use(self, events: int, now: float) -> int:
        """Send and read as far as the socket allows. Return the number of bytes sent."""
        sent = 0
        try:
            if events & selectors.EVENT_WRITE:
                sent = self.send(now)
            if events & selectors.EVENT_READ:
                self.is_over = not self.socket.recv(_READ_BYTES)
        except BlockingIOError:
            pass
        except OSError:
            self.is_over = True
        return sent


class Flooder:
    """Its connections. Whoever is closed comes back."""

    def __init__(self, flood: Flood, port: int, handshake: bytes) -> None:
        self._flood, self._port, self._handshake = flood, port, handshake
        self._due = [0.0] * flood.connections
        self._selector = selectors.DefaultSelector()
        self.sent_bytes = 0
        self.closed = 0

    def run(self, seconds: float) -> None:
        """Flood for some seconds."""
        ends_at = time.monotonic() + seconds
        while (now := time.monotonic()) < ends_at:
            self._connect(now)
            for key, events in self._selector.select(0.01):
                self.sent_bytes += key.data.use(events, now)
                if key.data.is_over:
                    self._closed(key.data, now)
            if self._flood.pause_seconds:
                time.sleep(0.005)

    def _connect(self, now: float) -> None:
        late = [at for at in self._due if at <= now]
        self._due = [at for at in self._due if at > now] + [now + _RETURN_SECONDS] * len(late)
        for _ in late:
            with suppress(OSError):
                line = _Line(self._flood, self._port, self._handshake)
                self._selector.register(line.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, line)
                self._due.pop()

    def _closed(self, line: _Line, now: float) -> None:
        self._selector.unregister(line.socket)
        line.socket.close()
        self._due.append(now + max(_RETURN_SECONDS, self._flood.pause_seconds))
        self.closed += 1
