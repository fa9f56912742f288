"""Messages of a transaction: published when it is committed, and only then."""

from collections.abc import Iterator

import pytest
from django.db import transaction

from tellwire.broadcast import Broadcaster, use_broadcaster
from tellwire.django import broadcast_to_topic_on_commit, broadcast_to_user_on_commit
from tellwire.errors import GatewayUnreachable
from tellwire.messages import create_message
from tellwire.testing import MemoryCarrier

PAID = create_message("paid", {"order": 1})


@pytest.fixture
def carrier() -> Iterator[MemoryCarrier]:
    carrier = MemoryCarrier()
    with use_broadcaster(Broadcaster(carrier)):
        yield carrier


def test_a_message_is_published_after_the_commit(carrier: MemoryCarrier) -> None:
    with transaction.atomic():
        broadcast_to_user_on_commit(7, PAID)
        broadcast_to_topic_on_commit("orders", PAID)
        assert carrier.sent == []
    assert len(carrier.sent) == 2
    assert [message["type"] for message in carrier.sent_to("7")] == ["paid"]


def test_nobody_is_told_of_a_transaction_that_is_rolled_back(carrier: MemoryCarrier) -> None:
    with pytest.raises(ValueError), transaction.atomic():
        broadcast_to_user_on_commit(7, PAID)
        raise ValueError
    assert carrier.sent == []


def test_without_a_transaction_it_is_published_now(carrier: MemoryCarrier) -> None:
    broadcast_to_user_on_commit(7, PAID)
    assert len(carrier.sent) == 1


def test_a_gateway_that_is_away_disturbs_no_view(carrier: MemoryCarrier) -> None:
    carrier.error = GatewayUnreachable("http://gateway", "away")
    with transaction.atomic():
        broadcast_to_user_on_commit(7, PAID)
    assert carrier.sent == []
