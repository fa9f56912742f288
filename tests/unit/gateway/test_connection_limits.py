"""The limits of live connections."""

import pytest

from tellwire.gateway.connection_limits import ConnectionCounts, ConnectionLimits
from tellwire.server.refusal import Refusal


def refused(counts: ConnectionCounts, address: str) -> int | None:
    """Return the status of the refusal; None if there is none."""
    try:
        counts.admit(address)
    except Refusal as refusal:
        return refusal.status
    return None


def test_an_address_has_so_many_and_another_one_again_when_one_has_gone() -> None:
    counts = ConnectionCounts(ConnectionLimits(per_address=2))
    for _ in range(2):
        assert refused(counts, "198.51.100.7") is None
        counts.enter("198.51.100.7")
    assert refused(counts, "198.51.100.7") == 429
    assert refused(counts, "198.51.100.8") is None
    counts.leave("198.51.100.7")
    assert refused(counts, "198.51.100.7") is None
    counts.leave("198.51.100.7")
    assert counts._by_address == {}


def test_the_network_of_an_ipv6_customer_is_one_address_and_loopback_is_none() -> None:
    counts = ConnectionCounts(ConnectionLimits(per_address=1))
    counts.enter("2001:db8::1")
    assert refused(counts, "2001:db8::2") == 429
    for loopback in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        counts.enter(loopback)
        assert refused(counts, loopback) is None
        counts.leave(loopback)


def test_a_full_node_says_503_and_a_user_with_too_many_429() -> None:
    counts = ConnectionCounts(ConnectionLimits(per_user=3, in_all=2))
    counts.enter("198.51.100.7")
    assert refused(counts, "198.51.100.7") is None
    counts.enter("127.0.0.1")
    assert refused(counts, "198.51.100.8") == 503
    with pytest.raises(Refusal):
        counts.enter("198.51.100.8")
    counts.leave("127.0.0.1")
    assert refused(counts, "198.51.100.8") is None
    counts.admit_user(True)
    with pytest.raises(Refusal) as caught:
        counts.admit_user(False)
    assert (caught.value.status, caught.value.code) == (429, "TOO_MANY_CONNECTIONS")
    assert "3 at a time" in str(caught.value)
