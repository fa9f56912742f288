"""The deadline in nested blocks, threads and tasks."""

import asyncio
import math
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

import tellwire.aws
from tellwire.aws_api.deadline import deadline, remaining_seconds
from tellwire.background import run
from tellwire.limits import DEADLINE_MARGIN_SECONDS


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time of this module alone, which stands still."""
    clock = SimpleNamespace(now=1000.0)
    # The package has a function of the module's name.
    monkeypatch.setattr(sys.modules["tellwire.aws_api.deadline"], "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


class Context:
    """The part of a Lambda function's context that is used."""

    def __init__(self, milliseconds: int) -> None:
        self.milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self.milliseconds


def test_without_a_deadline_there_is_all_the_time() -> None:
    assert remaining_seconds() == math.inf


@pytest.mark.parametrize("time_left", [Context(3000), 3, 3.0])
def test_a_block_ends_half_a_second_before_the_function(time_left: Any, clock: SimpleNamespace) -> None:
    with deadline(time_left):
        assert remaining_seconds() == 3 - DEADLINE_MARGIN_SECONDS == 2.5
        clock.now += 2
        assert remaining_seconds() == 0.5
        clock.now += 1
        assert remaining_seconds() == -0.5
    assert remaining_seconds() == math.inf


def test_none_is_no_limit() -> None:
    with deadline(None):
        assert remaining_seconds() == math.inf


def test_a_function_without_time_has_none() -> None:
    with deadline(Context(0)):
        assert remaining_seconds() < 0


def test_the_time_is_asked_for_once_when_the_block_begins(clock: SimpleNamespace) -> None:
    context = Context(3000)
    with deadline(context):
        context.milliseconds = 9000
        clock.now += 1
        assert remaining_seconds() == 1.5


@pytest.mark.parametrize(("inner", "left"), [(2, 1.5), (10, 2.5), (None, 2.5)])
def test_a_block_inside_another_cannot_have_more_time(inner: Any, left: float) -> None:
    with deadline(3):
        with deadline(inner):
            assert remaining_seconds() == left
        assert remaining_seconds() == 2.5


def test_a_block_that_fails_ends_too() -> None:
    with pytest.raises(KeyError), deadline(3):
        raise KeyError
    assert remaining_seconds() == math.inf


async def left() -> float:
    return remaining_seconds()


def test_a_deadline_applies_on_the_background_loop() -> None:
    with deadline(3):
        assert run(left()) == 2.5
    assert run(left()) == math.inf


async def test_a_deadline_applies_to_the_tasks_of_its_block_only() -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def other() -> float:
        begun.set()
        await may_end.wait()
        return remaining_seconds()

    before = asyncio.create_task(other())
    await begun.wait()
    with deadline(3):
        within = asyncio.create_task(other())
        assert await asyncio.to_thread(remaining_seconds) == 2.5
        may_end.set()
        assert await before == math.inf
    assert await within == 2.5


def test_another_thread_has_its_own_time() -> None:
    found: list[float] = []
    with deadline(3):
        thread = threading.Thread(target=lambda: found.append(remaining_seconds()))
        thread.start()
        thread.join()
    assert found == [math.inf]


def test_deadline_has_a_public_name() -> None:
    assert tellwire.aws.deadline is deadline
