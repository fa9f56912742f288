"""Broadcasters, and which one the functions use."""

import asyncio
import copy
import pickle
from pathlib import Path
from typing import Any, cast

import pytest

from tellwire import broadcast, producer, sync
from tellwire.broadcast import Broadcaster, is_online, use_broadcaster
from tellwire.carriers.http import HttpCarrier
from tellwire.errors import (
    CannotRunHere,
    ConfigError,
    GatewayRefused,
    GatewayUnreachable,
    HistoryUnavailable,
    InvalidMessage,
    MessageTooBig,
)
from tellwire.http_client import http_base_url
from tellwire.messages import create_message, create_notification_message, create_upload_progress_message
from tellwire.model import Delivery, Target
from tellwire.progress import track_upload
from tellwire.publication import Publication
from tellwire.testing import MemoryCarrier

HELLO = create_notification_message("Hello", "World", "info")


@pytest.fixture(autouse=True)
def new_episode() -> None:
    broadcast.attempts_of_process.cache_clear()


@pytest.fixture
def carrier() -> MemoryCarrier:
    return MemoryCarrier(Delivery(2, 1, 0))


async def test_each_function_sends_to_its_target_and_returns_the_delivery(carrier: MemoryCarrier) -> None:
    with use_broadcaster(Broadcaster(carrier)):
        assert await broadcast.broadcast_to_user("u", HELLO) == Delivery(2, 1, 0)
        assert await broadcast.broadcast_to_topic("moc:1", HELLO) == Delivery(2, 1, 0)
        await broadcast.broadcast_to_connection("c", HELLO)
        await broadcast.broadcast_to_connections(iter(["a", "b"]), HELLO)
        await broadcast.broadcast_to_all(HELLO)
    assert [target for target, _ in carrier.sent] == [
        Target(user="u"),
        Target(topic="moc:1"),
        Target(connection="c"),
        Target(connections=("a", "b")),
        Target(all=True),
    ]


async def test_whether_a_user_is_online_is_asked_of_the_carrier(carrier: MemoryCarrier) -> None:
    carrier.online.add("ann")
    with use_broadcaster(Broadcaster(carrier)):
        assert [await is_online(each) for each in ("ann", "ben")] == [True, False]
        assert await asyncio.to_thread(sync.is_online, "ann")
        for nobody in ("", None, 5, "x" * 3000):
            with pytest.raises(InvalidMessage, match="user_id: got"):
                await is_online(cast("Any", nobody))
        carrier.error = HistoryUnavailable("away")
        with pytest.raises(HistoryUnavailable):
            await is_online("ann")


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


@pytest.mark.parametrize("topic", ["", "a b", "a*", "{user}", "x" * 257, None])
async def test_a_topic_that_is_none_is_refused(carrier: MemoryCarrier, topic: Any) -> None:
    with pytest.raises(InvalidMessage, match=r"target\.topic: got "):
        await Broadcaster(carrier).broadcast_to_topic(topic, HELLO)
    assert await Broadcaster(carrier).try_broadcast_to_topic(topic, HELLO) is None
    assert carrier.sent == []


async def test_a_target_that_is_none_is_named(carrier: MemoryCarrier) -> None:
    nobody: Any = None
    with pytest.raises(InvalidMessage, match=r"target\.user: got None; allowed: a non-empty string"):
        await Broadcaster(carrier).broadcast_to_user(nobody, HELLO)
    with pytest.raises(InvalidMessage, match=r"target\.connection: got None; allowed: a non-empty string"):
        await Broadcaster(carrier).broadcast_to_connection(nobody, HELLO)
    with pytest.raises(InvalidMessage, match=r"target\.connections: got None; allowed: a list of non-empty strings"):
        await Broadcaster(carrier).broadcast_to_connections(nobody, HELLO)


async def test_the_forms_that_never_raise_return_the_delivery(carrier: MemoryCarrier) -> None:
    with use_broadcaster(Broadcaster(carrier)):
        assert await broadcast.try_broadcast_to_user("u", HELLO) == Delivery(2, 1, 0)
        assert await broadcast.try_broadcast_to_connection("c", HELLO) == Delivery(2, 1, 0)
        assert await broadcast.try_broadcast_to_connections(iter(["a", "b"]), HELLO) == Delivery(2, 1, 0)
        assert await broadcast.try_broadcast_to_all(HELLO) == Delivery(2, 1, 0)
    assert [target for target, _ in carrier.sent] == [
        Target(user="u"),
        Target(connection="c"),
        Target(connections=("a", "b")),
        Target(all=True),
    ]


@pytest.mark.parametrize(
    "error",
    [GatewayUnreachable("http://g", "away"), GatewayRefused(401, "API_KEY_WRONG", "no"), OSError("disk"), KeyError(1)],
)
async def test_they_return_none_whatever_a_carrier_raises(
    carrier: MemoryCarrier, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    carrier.error = error
    broadcaster = Broadcaster(carrier)
    for _ in range(5):
        assert await broadcaster.try_broadcast_to_user("u", HELLO) is None
        assert await broadcaster.try_broadcast_to_connection("c", HELLO) is None
        assert await broadcaster.try_broadcast_to_connections(["c"], HELLO) is None
        assert await broadcaster.try_broadcast_to_all(HELLO) is None
    assert broadcaster.failures == 20
    assert [type(error).__name__ in each for each in caplog.messages] == [True]  # once per episode
    carrier.error = None
    assert await broadcaster.try_broadcast_to_all(HELLO) == Delivery(2, 1, 0)
    assert caplog.messages[1:] == ["messages are published again; 20 were not"]
    carrier.error = error
    await broadcaster.try_broadcast_to_all(HELLO)
    assert len(caplog.messages) == 3  # another episode


@pytest.mark.parametrize("message", [create_message("blob", "x" * 200_000), create_message("bad", object()), None, {}])
async def test_they_return_none_for_a_wrong_argument(
    carrier: MemoryCarrier, message: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with use_broadcaster(Broadcaster(carrier)) as broadcaster:
        assert await broadcast.try_broadcast_to_user("u", message) is None
        assert await broadcast.try_broadcast_to_user("", HELLO) is None
        assert await broadcast.try_broadcast_to_user(5, HELLO) is None  # type: ignore[arg-type]
        assert await broadcast.try_broadcast_to_connections("abc", HELLO) is None
        assert await broadcast.try_broadcast_to_connections(5, HELLO) is None  # type: ignore[arg-type]
    assert (carrier.sent, broadcaster.failures) == ([], 5)


async def test_messages_to_no_user_between_others_are_logged_once(
    carrier: MemoryCarrier, caplog: pytest.LogCaptureFixture
) -> None:
    # As a web application publishes for visitors, of whom few are signed in.
    broadcaster = Broadcaster(carrier)
    for visitor in ("user-1", None) * 20:
        await broadcaster.try_broadcast_to_user(visitor, HELLO)  # type: ignore[arg-type]
    assert broadcaster.failures == 20
    assert len(caplog.messages) == 1
    assert "target.user: got None" in caplog.messages[0]


async def test_they_return_none_without_a_gateway(caplog: pytest.LogCaptureFixture) -> None:
    assert await broadcast.try_broadcast_to_user("u", HELLO) is None
    assert await broadcast.try_broadcast_to_connection("c", HELLO) is None
    assert await broadcast.try_broadcast_to_connections(["c"], HELLO) is None
    assert await broadcast.try_broadcast_to_all(HELLO) is None
    assert "ConfigError: no gateway to publish to: set TELLWIRE_URL" in caplog.text


async def test_a_cancellation_passes_through_them(carrier: MemoryCarrier) -> None:
    carrier.error = asyncio.CancelledError()  # type: ignore[assignment]
    with pytest.raises(asyncio.CancelledError):
        await Broadcaster(carrier).try_broadcast_to_all(HELLO)


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


def test_a_producers_key_may_be_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("# of the workers\nworker:publish:k\n")
    from_file = {"TELLWIRE_API_KEY_FILE": str(file)}
    assert producer.api_key_from_environment(from_file) == "k"
    assert producer.api_key_from_environment({"TELLWIRE_API_KEY": " k "}) == "k"
    assert producer.api_key_from_environment({}) is None
    with pytest.raises(ConfigError, match="got both"):
        producer.api_key_from_environment(from_file | {"TELLWIRE_API_KEY": "k"})
    with pytest.raises(ConfigError, match=r"TELLWIRE_API_KEY_FILE: .* cannot be read: No such file"):
        producer.api_key_from_environment({"TELLWIRE_API_KEY_FILE": str(tmp_path / "none")})


async def test_messages_publications_and_deliveries_pass_to_another_process(carrier: MemoryCarrier) -> None:
    upload = create_upload_progress_message("moc-1", "parts.csv", 50, "Half")
    publication = Publication.of(Target(user="user-1"), upload)
    for each in (upload, publication, await carrier.deliver(publication)):
        assert pickle.loads(pickle.dumps(each)) == each == copy.deepcopy(each)


def test_a_track_upload_does_not(carrier: MemoryCarrier) -> None:
    with pytest.raises(CannotRunHere, match="call track_upload in the other process"):
        pickle.dumps(track_upload("user-1", "moc-1", "parts.csv", broadcaster=Broadcaster(carrier)))
