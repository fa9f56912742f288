"""A timer of the event loop that can be started anew."""

import asyncio
from collections.abc import Callable


class Timer:
    """At most one call at a time: a new start takes the place of the one before."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None

    @property
    def runs(self) -> bool:
        return self._handle is not None

    def start(self, seconds: float, callback: Callable[..., None], *arguments: object) -> None:
        self.stop()
        self._handle = self._loop.call_later(seconds, callback, *arguments)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
