"""The parts of the server that work without a socket; tests/integration/gateway tests the others."""

import asyncio
import contextlib
from typing import Any

from tellwire.limits import CONNECTIONS_PER_TURN
from tellwire.server.sockets import Sockets
from tellwire.testing import FakeClock


class Due:
    """A connection that is due. It records the turn of the event loop in which its deadlines are checked."""

    turn = 0

    def __init__(self) -> None:
        self.due_slot = 0
        self.checked_in: list[int] = []

    def check_deadlines(self, now: float) -> None:
        self.checked_in.append(Due.turn)


async def test_many_connections_that_are_due_do_not_hold_up_the_event_loop() -> None:
    clock = FakeClock()
    application: Any = None
    sockets = Sockets(application, clock)
    connections = [Due() for _ in range(3 * CONNECTIONS_PER_TURN)]
    for each in connections:
        sockets.timers.put(each, clock.monotonic() + 0.5)

    async def count_turns() -> None:
        while True:
            Due.turn += 1
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(sockets.watch()), asyncio.create_task(count_turns())]
    await clock.advance(1)
    while not all(each.checked_in for each in connections):
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    turns = [turn for each in connections for turn in each.checked_in]
    assert len(turns) == len(connections)
    assert max(turns.count(turn) for turn in set(turns)) == CONNECTIONS_PER_TURN
