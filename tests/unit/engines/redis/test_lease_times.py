"""The time from which on silence counts: a table of lives of a lease, and the checks of a node."""

from math import inf

import pytest

from tellwire.engines.redis.lease_times import Share, expiry

AHEAD = 1_700_000_000.0
"""The clock in Redis, beside the monotonic one of the node."""


@pytest.mark.parametrize(
    ("well_since", "node_left_at", "expires_at"),
    [
        (-inf, -inf, 130),
        (50, -inf, 130),
        (110, -inf, 140),
        (500, -inf, 530),
        (-inf, 90, 130),  # the worker has found another node, and published there
        (-inf, 120, 150),
        (-inf, 131, 130),  # it was silent before
        (120, 110, 150),
        (120, 140, 170),
    ],
)
def test_a_lease_lasts_from_its_state_or_from_when_its_worker_can_be_heard(
    well_since: float, node_left_at: float, expires_at: float
) -> None:
    assert expiry(100, 30, well_since, node_left_at) == expires_at


def test_however_many_nodes_die_a_lease_is_prolonged_once() -> None:
    died_at = -inf
    for now in range(100, 1000):
        if now % 20 == 0:
            died_at = now
        if now >= expiry(100, 30, -inf, died_at):
            break
    assert now <= 160


def test_a_share_that_is_checked_all_the_time_has_run_well_since_the_first_check() -> None:
    share = Share(range(128))
    assert {share.checked(now, now + AHEAD) for now in range(1000, 1100, 2)} == {1000 + AHEAD}


def test_a_share_that_nobody_has_checked_begins_anew() -> None:
    share = Share(range(128))
    share.checked(1000, 1000 + AHEAD)
    assert share.checked(1020, 1020 + AHEAD) == 1020 + AHEAD
    assert share.checked(1022, 1022 + AHEAD) == 1020 + AHEAD
    share.begin_anew()
    assert share.checked(1024, 1024 + AHEAD) == 1024 + AHEAD


def test_a_clock_in_redis_that_is_set_forward_makes_nobody_silent() -> None:
    share = Share(range(128))
    share.checked(1000, 1000 + AHEAD)
    assert share.checked(1002, 1002 + AHEAD + 60) == 1002 + AHEAD + 60
    assert share.checked(1004, 1004 + AHEAD + 60) == 1002 + AHEAD + 60


def test_a_clock_that_drifts_or_is_set_back_changes_nothing() -> None:
    share = Share(range(128))
    share.checked(1000, 1000 + AHEAD)
    assert share.checked(1002, 1002.5 + AHEAD) == pytest.approx(1000.5 + AHEAD)
    assert share.checked(1004, 1004 + AHEAD - 60) == pytest.approx(1000 + AHEAD - 60)
