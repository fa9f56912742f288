"""Places of workers: their bounds, and whose turn it is."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from examples.parts_upload.places import Places


class Scene:
    """Workers that have a place until they are told to end."""

    def __init__(self, in_all: int, per_user: int) -> None:
        self.places = Places(in_all, per_user)
        self.working: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def begin(self, *names: str) -> None:
        """Begin workers; the first letter of a name is that of the user."""
        for name in names:
            self._ends[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._work(name))
            await settled()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await settled()

    async def cancel(self, name: str) -> None:
        self.tasks[name].cancel()
        await settled()

    async def _work(self, name: str) -> None:
        async with self.places.place(name[0]):
            self.working.append(name)
            try:
                await self._ends[name].wait()
            finally:
                self.working.remove(name)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_nobody_waits_for_the_uploads_of_another() -> None:
    scene = Scene(in_all=4, per_user=2)
    await scene.begin("a1", "a2", "a3", "a4", "b1")
    assert scene.working == ["a1", "a2", "b1"]
    await scene.end("a2")
    assert scene.working == ["a1", "b1", "a3"]


async def test_users_who_wait_take_turns() -> None:
    scene = Scene(in_all=2, per_user=2)
    await scene.begin("a1", "a2", "a3", "a4", "b1", "b2", "c1")
    begun = []
    for name in ("a1", "a2", "a3", "b1", "c1"):
        await scene.end(name)
        begun.append(scene.working[-1])
    assert begun == ["a3", "b1", "c1", "a4", "b2"]


@pytest.mark.parametrize("waits", [True, False])
async def test_the_place_of_a_cancelled_worker_is_free(waits: bool) -> None:
    scene = Scene(in_all=1, per_user=1)
    await scene.begin("a1", "a2", "a3")
    await scene.cancel("a2" if waits else "a1")
    if waits:
        await scene.end("a1")
    else:
        assert scene.working == ["a2"]
        await scene.end("a2")
    assert scene.working == ["a3"]


async def test_a_place_that_is_given_in_the_moment_of_the_cancel_is_given_on() -> None:
    scene = Scene(in_all=1, per_user=1)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(scene.places.place("a"))
        await scene.begin("a1", "a2")
        # The exit gives the place to a1, which is cancelled before it runs.
        await stack.aclose()
        scene.tasks["a1"].cancel()
    await settled()
    assert scene.working == ["a2"]


async def test_who_is_cancelled_while_waiting_uses_no_turn_of_their_user() -> None:
    scene = Scene(in_all=1, per_user=1)
    await scene.begin("a1", "b1", "b2", "c1")
    # In the same moment as the place becomes free.
    scene.tasks["b1"].cancel()
    await scene.end("a1")
    assert scene.working == ["b2"]
