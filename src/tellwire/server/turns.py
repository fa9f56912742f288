"""Turns of connections that have more to read than one turn of the event loop allows them.

A few of them in each turn of the event loop, first come, first served. Many connections that flood at once then share
what one would have, and a new request waits for none of them.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from tellwire.limits import HTTP_CONNECTIONS_PER_TURN


class Turns:
    """The waiting connections of one event loop, each as the function that takes its turn."""

    def __init__(self, per_turn: int = HTTP_CONNECTIONS_PER_TURN) -> None:
        self._per_turn = per_turn
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_scheduled = False

    def add(self, take_turn: Callable[[], None]) -> None:
        """Call `take_turn` in one of the next turns of the event loop."""
        self._waiting.append(take_turn)
        if not self._is_scheduled:
            self._schedule()

    def _schedule(self) -> None:
        self._is_scheduled = True
        asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        try:
            # One that takes its turn may wait again at once, behind the others.
            for _ in range(min(self._per_turn, len(self._waiting))):
                self._waiting.popleft()()
        finally:
            self._is_scheduled = False
            if self._waiting:
                self._schedule()
