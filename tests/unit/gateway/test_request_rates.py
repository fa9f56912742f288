"""The pace of replays to one user, and the limits as a welcome tells them."""

import msgspec

from tellwire.gateway.request_rates import ReplayPace, RequestRates
from tellwire.limits import REPLAY_BURST_BYTES

MIB = 1024 * 1024


def test_a_welcome_tells_the_limits() -> None:
    assert msgspec.to_builtins(RequestRates(5, 10, 3).on_the_wire) == {
        "maxMessageBytes": 131072,
        "maxRequestsInFlight": 32,
        "maxRequestsPerSecond": 5,
        "maxRequestBurst": 10,
        "helloIntervalSeconds": 3,
        "maxSubscriptions": 100,
    }


def test_the_bytes_of_all_connections_of_a_user_are_paced_together() -> None:
    pace = ReplayPace(4 * MIB)
    assert pace.wait_seconds("u", REPLAY_BURST_BYTES, 100.0) == 0
    assert pace.wait_seconds("u", 2 * MIB, 100.0) == 0.5
    assert pace.wait_seconds("u", 2 * MIB, 100.0) == 1.0
    assert pace.wait_seconds("another", 2 * MIB, 100.0) == 0
    assert pace.wait_seconds("u", MIB, 200.0) == 0


def test_users_without_a_replay_for_long_are_forgotten() -> None:
    pace = ReplayPace(MIB)
    for number in range(1000):
        pace.wait_seconds(f"u{number}", MIB, 100.0 + 2 * number)
    assert len(pace._full_at) <= 2
