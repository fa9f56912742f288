"""The frames that are handled in one turn of the event loop, shared among the connections that have some.

An event loop may hand over megabytes of one connection at once (uvloop: 8 MiB before it looks at another socket). So a
connection handles a slice, pauses, and goes on in the next turn, in line with the others that wait. However many frames
one client sends, and however many clients do, a turn stays short.
"""

import asyncio
from collections import deque
from typing import Protocol

from tellwire.limits import READ_BYTES_AT_ONCE, READ_BYTES_PER_TURN


class Reader(Protocol):
    """A connection that has received bytes."""

    def read(self, budget_bytes: int) -> int:
        """Handle frames until their cost reaches the budget. Return the cost; less than the budget: nothing is left."""
        ...

    def wait(self) -> None:
        """Read nothing from the socket until `go_on`."""
        ...

    def go_on(self) -> None:
        """Read from the socket again: everything received was handled."""
        ...


class ReadingTurns:
    """The budget of each turn. A connection whose slice was used up waits in line."""

    def __init__(self, bytes_at_once: int = READ_BYTES_AT_ONCE, bytes_per_turn: int = READ_BYTES_PER_TURN) -> None:
        self._bytes_at_once = bytes_at_once
        self._bytes_per_turn = bytes_per_turn
        self._left = bytes_per_turn
        self._is_scheduled = False
        # A dict for its order, and to know who waits.
        self._waiting: dict[Reader, None] = {}

    def received(self, reader: Reader) -> None:
        """Handle the frames of a connection: a slice now if this turn has room, and the rest in the next turns."""
        if reader in self._waiting:
            return
        self._schedule()
        if self._left > 0 and self._read(reader):
            return
        self._waiting[reader] = None
        reader.wait()

    def forget(self, reader: Reader) -> None:
        """Take a connection out of the line. It need not be there."""
        self._waiting.pop(reader, None)

    def _read(self, reader: Reader) -> bool:
        """Handle one slice. Return True if nothing is left."""
        cost = reader.read(self._bytes_at_once)
        self._left -= cost
        return cost < self._bytes_at_once

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._is_scheduled = False
        self._left = self._bytes_per_turn
        line = deque(self._waiting)
        while line and self._left > 0:
            reader = line.popleft()
            if reader not in self._waiting:
                continue
            if self._read(reader):
                self.forget(reader)
                reader.go_on()
            else:
                # To the end of both lines.
                self.forget(reader)
                self._waiting[reader] = None
                line.append(reader)
        # Whoever sends in the next turn, and is not in line, has a budget of its own.
        self._left = self._bytes_per_turn
        if self._waiting:
            self._schedule()
