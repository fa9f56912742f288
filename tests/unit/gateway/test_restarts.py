"""The waits between an end of a worker and its next start."""

from tellwire import limits
from tellwire.gateway.restarts import Restarts


def test_the_first_restart_is_at_once_and_later_ones_wait_longer_and_longer() -> None:
    restarts = Restarts()
    assert [restarts.wait_seconds(1) for _ in range(6)] == [0, 0.5, 1, 2, 4, 8]
    assert [restarts.wait_seconds(1) for _ in range(5)][-1] == limits.WORKER_LONGEST_WAIT_SECONDS


def test_a_worker_that_has_lived_for_a_while_was_not_broken() -> None:
    restarts = Restarts()
    for _ in range(4):
        restarts.wait_seconds(0)
    assert restarts.wait_seconds(limits.WORKER_STABLE_SECONDS) == 0
    assert restarts.wait_seconds(1) == 0.5


def test_so_many_ends_in_a_row_are_a_loop() -> None:
    restarts = Restarts()
    loops = []
    for _ in range(limits.WORKER_CRASHES):
        restarts.wait_seconds(0)
        loops.append(restarts.is_loop)
    assert loops == [False] * (limits.WORKER_CRASHES - 1) + [True]
