"""Event sources of a template: places with events for functions, each with a task that looks there after a call."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

from tellwire.apigateway.services.calls import AwsCall
from tellwire.apigateway.services.invoke import Invoker

Source = TypeVar("Source")


class EventSources(ABC, Generic[Source]):
    """The event sources of one kind, from `start` to `close`. Their tasks wake after each call that may have filled
    them.
    """

    def __init__(self, sources: Sequence[Source], functions: Invoker, url: str, region: str) -> None:
        self._sources = sources
        self._functions = functions
        self._url = url
        self._region = region
        self._tasks: list[asyncio.Task[None]] = []
        self._wakes: list[asyncio.Event] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begin to look into the sources."""
        self._loop = asyncio.get_running_loop()
        for source in self._sources:
            wake = asyncio.Event()
            wake.set()
            self._wakes.append(wake)
            self._tasks.append(asyncio.create_task(self._run(source, wake)))

    def called(self, call: AwsCall) -> None:
        """Look into the sources after a call, from any thread."""
        if self._loop is not None and self._wakes and self._may_fill(call):
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for wake in self._wakes:
            wake.set()

    async def close(self) -> None:
        """Stop looking."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @abstractmethod
    def _may_fill(self, call: AwsCall) -> bool:
        """Return True if there may be more in a source after this call."""

    @abstractmethod
    async def _run(self, source: Source, wake: asyncio.Event) -> None:
        """Invoke the function of a source with its events, whenever `wake` is set."""
