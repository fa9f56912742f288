"""Turns of reading: however much one connection sends, the others have their turn."""

import asyncio

from tellwire.server.reading import ReadingTurns

AT_ONCE, PER_TURN = 10, 25


class Sender:
    """A connection with so many frames, each of which costs 1. It records the turn in which each was handled."""

    turn = 0

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self.turns: list[int] = []
        self.is_waiting = False

    def read(self, budget_bytes: int) -> int:
        count = min(self.frames, budget_bytes)
        self.frames -= count
        self.turns += [Sender.turn] * count
        return count

    def wait(self) -> None:
        self.is_waiting = True

    def go_on(self) -> None:
        self.is_waiting = False


async def next_turn() -> None:
    Sender.turn += 1
    await asyncio.sleep(0)


async def test_a_few_frames_are_handled_at_once() -> None:
    sender = Sender(3)
    ReadingTurns(AT_ONCE, PER_TURN).received(sender)
    assert (sender.frames, sender.is_waiting) == (0, False)


async def test_a_flood_is_handled_in_slices_and_the_socket_waits() -> None:
    turns, flooder = ReadingTurns(AT_ONCE, PER_TURN), Sender(200)
    turns.received(flooder)
    assert (flooder.frames, flooder.is_waiting) == (190, True)
    while flooder.is_waiting:
        await next_turn()
    assert flooder.frames == 0
    most = max(flooder.turns.count(turn) for turn in set(flooder.turns))
    assert most <= PER_TURN + AT_ONCE


async def test_many_floods_share_a_turn_and_another_client_is_served_in_it() -> None:
    turns, flooders = ReadingTurns(AT_ONCE, PER_TURN), [Sender(100) for _ in range(10)]
    for each in flooders:
        turns.received(each)
    await next_turn()
    quiet = Sender(1)
    before = Sender.turn
    turns.received(quiet)
    while quiet.frames:
        await next_turn()
    assert Sender.turn - before <= 1
    while any(each.frames for each in flooders):
        await next_turn()
    for turn in range(Sender.turn + 1):
        assert sum(each.turns.count(turn) for each in flooders) <= 2 * PER_TURN + 2 * AT_ONCE
    # In line: none is finished long before the others begin.
    assert max(min(each.turns) for each in flooders) < min(max(each.turns) for each in flooders)


async def test_a_connection_that_is_gone_is_not_read_again() -> None:
    turns, gone = ReadingTurns(AT_ONCE, PER_TURN), Sender(100)
    turns.received(gone)
    turns.forget(gone)
    await next_turn()
    await next_turn()
    assert gone.frames == 90
