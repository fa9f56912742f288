"""A gate for workers of the example: how far an upload is does not depend on the speed of the machine."""

import asyncio
from collections import Counter


class Gate:
    """The pause of workers that wait until it is opened; each may do `batches` more before."""

    def __init__(self, batches: int = 0) -> None:
        self._batches = batches
        self._pauses: Counter[object] = Counter()
        self._opened = asyncio.Event()

    async def __call__(self) -> None:
        """Wait; a worker that was let go rests between its batches, in which it hears that it was cancelled."""
        worker = asyncio.current_task()
        self._pauses[worker] += 1
        if self._pauses[worker] > self._batches:
            await self._opened.wait()
        await asyncio.sleep(0.5)

    def open(self) -> None:
        """Send all workers on."""
        self._opened.set()
