"""Broadcasters, and which one the functions use."""

import pytest

from tellwire import broadcast, producer
from tellwire.broadcast import Broadcaster, use_broadcaster
from tellwire.carriers.http import HttpCarrier
from tellwire.errors import ConfigError, InvalidMessage, MessageTooBig
from tellwire.http_client import http_base_url
from tellwire.messages import create_message, create_notification_message
from tellwire.model import Delivery, Target
from tellwire.testing import MemoryCarrier

HELLO = create_notification_message("Hello", "World", "info")


@pytest.fixture
def carrier() -> MemoryCarrier:
    return MemoryCarrier(Delivery(2, 1, 0))


async def test_each_function_sends_to_its_target_and_returns_the_delivery(carrier: MemoryCarrier) -> None:
    with use_broadcaster(Broadcaster(carrier)):
        assert await broadcast.broadcast_to_user("u", HELLO) == Delivery(2, 1, 0)
        await broadcast.broadcast_to_connection("c", HELLO)
        await broadcast.broadcast_to_connections(iter(["a", "b"]), HELLO)
        await broadcast.broadcast_to_all(HELLO)
    assert [target for target, _ in carrier.sent] == [
        Target(user="u"),
        Target(connection="c"),
        Target(connections=("a", "b")),
        Target(all=True),
    ]


async def test_a_message_that_is_too_big_is_refused_before_anything_is_sent(carrier: MemoryCarrier) -> None:
    with pytest.raises(MessageTooBig):
        await Broadcaster(carrier).broadcast_to_user("u", create_message("blob", "x" * 200_000))
    assert carrier.sent == []


async def test_a_lone_string_is_not_a_list_of_connections(carrier: MemoryCarrier) -> None:
    with pytest.raises(InvalidMessage, match="a list of non-empty strings"):
        await Broadcaster(carrier).broadcast_to_connections("abc", HELLO)


async def test_an_empty_user_is_refused(carrier: MemoryCarrier) -> None:
    with pytest.raises(InvalidMessage, match=r"target\.user: got ''"):
        await Broadcaster(carrier).broadcast_to_user("", HELLO)


def test_without_a_gateway_the_error_says_what_to_set() -> None:
    with pytest.raises(ConfigError, match="set TELLWIRE_URL"):
        producer.carrier_from_environment({})


def test_tellwire_url_names_the_gateway() -> None:
    carrier = producer.carrier_from_environment({"TELLWIRE_URL": "ws://gateway:8787/", "TELLWIRE_API_KEY": "k"})
    assert isinstance(carrier, HttpCarrier)
    assert carrier.url == "http://gateway:8787"


def test_a_gateway_behind_a_path_keeps_its_path() -> None:
    assert http_base_url("wss://example.com/live/") == "https://example.com/live"


@pytest.mark.parametrize(
    "url", ["", "gateway:8787", "ftp://gateway", "http://", "http://user:pass@h", "http://h?token=s3cret", "http://h:x"]
)
def test_what_is_not_a_gateways_address_is_refused_without_repeating_a_secret(url: str) -> None:
    with pytest.raises(ConfigError, match=r"gateway URL: got .*; allowed: http://host\[:port\]") as caught:
        http_base_url(url)
    assert "s3cret" not in str(caught.value)
    assert "pass" not in str(caught.value)


def test_use_broadcaster_ends_with_its_block(carrier: MemoryCarrier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcast, "default_carrier", lambda: pytest.fail("outside the block the default is used"))
    mine = Broadcaster(carrier)
    with use_broadcaster(mine):
        assert broadcast.current_broadcaster() is mine
    with pytest.raises(pytest.fail.Exception):
        broadcast.current_broadcaster()
