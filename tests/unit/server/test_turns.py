"""Turns of connections: a few at a time, first come, first served."""

import asyncio

import pytest

from tellwire.server.turns import Turns


async def test_a_few_of_them_go_on_in_a_turn_and_the_others_before_they_do_again() -> None:
    turns = Turns(per_turn=2)
    taken: list[str] = []

    def greedy(name: str) -> None:
        taken.append(name)
        if len(taken) < 10:
            turns.add(lambda: greedy(name))

    for name in "abc":
        turns.add(lambda name=name: greedy(name))  # type: ignore[misc]
    assert taken == []
    await asyncio.sleep(0)
    assert taken == ["a", "b"]
    await asyncio.sleep(0)
    assert taken == ["a", "b", "c", "a"]
    for _ in range(10):
        await asyncio.sleep(0)
    assert taken[:10] == list("abcabcabca")


async def test_one_that_fails_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    turns = Turns()
    taken: list[int] = []

    def fail() -> None:
        raise RuntimeError("a fault")

    turns.add(fail)
    turns.add(lambda: taken.append(1))
    for _ in range(3):
        await asyncio.sleep(0)
    assert taken == [1]
    assert "a fault" in caplog.text
