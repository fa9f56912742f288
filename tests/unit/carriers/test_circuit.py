"""The circuit breaker, on a clock of the test."""

import asyncio
from dataclasses import dataclass

import pytest

from tellwire.carriers.circuit import Circuit, is_urgent, urgent
from tellwire.limits import CIRCUIT_FIRST_SECONDS, CIRCUIT_LONGEST_SECONDS


@dataclass
class Time:
    now: float = 1000.0


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr("tellwire.carriers.circuit.monotonic", lambda: time.now)
    return time


def test_it_is_closed_until_something_used_up_its_time(time: Time) -> None:
    circuit = Circuit()
    assert [circuit.enter(2) for _ in range(3)] == ["free"] * 3
    circuit.failed()
    assert circuit.is_open
    assert (circuit.enter(2), circuit.seconds_left) == ("stop", CIRCUIT_FIRST_SECONDS)


def test_one_probe_at_a_time_passes(time: Time) -> None:
    circuit = Circuit()
    circuit.failed()
    time.now += CIRCUIT_FIRST_SECONDS
    assert [circuit.enter(2) for _ in range(3)] == ["probe", "stop", "stop"]
    circuit.succeeded()
    assert circuit.enter(2) == "free"


def test_a_probe_that_never_ended_makes_room_for_another(time: Time) -> None:
    circuit = Circuit()
    circuit.failed()
    time.now += CIRCUIT_FIRST_SECONDS
    assert circuit.enter(2) == "probe"
    time.now += 2
    assert circuit.enter(2) == "probe"


def test_the_wait_doubles_up_to_the_longest(time: Time) -> None:
    circuit = Circuit()
    waits = []
    for _ in range(5):
        circuit.failed()
        waits.append(circuit.seconds_left)
        time.now += circuit.seconds_left
        assert circuit.enter(2) == "probe"
    assert waits == [1, 2, 4, CIRCUIT_LONGEST_SECONDS, CIRCUIT_LONGEST_SECONDS]
    circuit.succeeded()
    circuit.failed()
    assert circuit.seconds_left == CIRCUIT_FIRST_SECONDS


def test_many_that_fail_at_once_open_it_once(time: Time) -> None:
    circuit = Circuit()
    for _ in range(10):
        circuit.failed()
    assert circuit.seconds_left == CIRCUIT_FIRST_SECONDS


async def test_a_block_is_urgent_for_its_own_task_alone() -> None:
    async def elsewhere() -> bool:
        return is_urgent()

    other = asyncio.create_task(elsewhere())
    with urgent():
        assert is_urgent()
        assert not await other
    assert not is_urgent()
