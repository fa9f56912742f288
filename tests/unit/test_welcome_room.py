"""Room for long welcomes."""

import asyncio
import contextlib

from tellwire.welcome_room import WelcomeRoom


class Welcomes:
    """Welcomes that hold their room until they are told to end."""

    def __init__(self, room: WelcomeRoom) -> None:
        self.room = room
        self.begun: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}

    def start(self, name: str, size: int) -> asyncio.Task[None]:
        self.ends[name] = asyncio.Event()
        return asyncio.create_task(self._send(name, size))

    async def _send(self, name: str, size: int) -> None:
        async with self.room.taken(size):
            self.begun.append(name)
            await self.ends[name].wait()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_long_welcomes_wait_for_room_in_the_order_of_their_arrival() -> None:
    welcomes = Welcomes(WelcomeRoom(room_bytes=100))
    tasks = [welcomes.start(name, size) for name, size in (("a", 60), ("b", 60), ("c", 10), ("d", 90))]
    await settled()
    # The third would fit, and waits for its turn, or small ones could keep a big one out.
    assert (welcomes.begun, welcomes.room.taken_bytes) == (["a"], 60)
    welcomes.ends["a"].set()
    await settled()
    assert (welcomes.begun, welcomes.room.taken_bytes) == (["a", "b", "c"], 70)
    for end in welcomes.ends.values():
        end.set()
    await asyncio.gather(*tasks)
    assert (welcomes.begun, welcomes.room.taken_bytes) == (["a", "b", "c", "d"], 0)


async def test_one_that_is_longer_than_the_room_has_it_alone() -> None:
    welcomes = Welcomes(WelcomeRoom(room_bytes=100))
    tasks = [welcomes.start("huge", 1000), welcomes.start("small", 1)]
    await settled()
    assert (welcomes.begun, welcomes.room.taken_bytes) == (["huge"], 100)
    for end in welcomes.ends.values():
        end.set()
    await asyncio.gather(*tasks)
    assert welcomes.room.taken_bytes == 0


async def test_a_client_that_is_gone_gives_its_room_back_and_leaves_the_queue() -> None:
    welcomes = Welcomes(WelcomeRoom(room_bytes=100))
    tasks = [welcomes.start(name, 80) for name in ("a", "b", "c")]
    await settled()
    for task in (tasks[1], tasks[0]):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await settled()
    assert (welcomes.begun, welcomes.room.taken_bytes) == (["a", "c"], 80)
    welcomes.ends["c"].set()
    await tasks[2]
    assert welcomes.room.taken_bytes == 0


async def test_one_that_is_cancelled_in_the_moment_it_gets_its_room_gives_it_back() -> None:
    welcomes = Welcomes(WelcomeRoom(room_bytes=100))
    first, second = welcomes.start("a", 80), welcomes.start("b", 80)
    await settled()
    welcomes.ends["a"].set()
    await first
    second.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await second
    assert welcomes.room.taken_bytes == 0


def test_a_short_welcome_needs_no_room() -> None:
    room = WelcomeRoom(long_bytes=100)
    assert (room.is_long(100), room.is_long(101)) == (False, True)
