"""States of the project's own types, before any store has them."""

import json
from typing import Any

import pytest

from tellwire import InvalidMessage, MessageTooBig, Target, create_state_message
from tellwire.entry import with_version
from tellwire.own_states import on_state_expired
from tellwire.publication import Publication, given_key
from tellwire.publish_requests import read_publish
from tellwire.uploads import no_room

TOPIC = Target(topic="moc:1")


def state(data: Any = 7, ttl_seconds: float | None = None, target: Target = TOPIC) -> Publication:
    return Publication.of(target, create_state_message("count:er", "all:of it", data), ttl_seconds)


def test_the_key_has_the_type_and_devices_get_it_from_the_stream_alone() -> None:
    publication = state()
    assert publication.key == "state:count:er:all:of it"
    assert given_key(publication.type, publication.key) == "all:of it"
    assert "key" not in json.loads(publication.payload)
    entry = with_version(publication, 0, 3)
    assert json.loads(entry.payload)["key"] == "state:count:er:all:of it"


def test_it_is_for_a_user_or_a_topic() -> None:
    for target in (Target(all=True), Target(connections=("a",))):
        with pytest.raises(InvalidMessage, match="a user or a topic"):
            state(target=target)


@pytest.mark.parametrize("seconds", [0.5, 86_401])
def test_its_time_to_live_is_one_of_a_lease(seconds: float) -> None:
    with pytest.raises(InvalidMessage, match="1 to 86,400 seconds"):
        state(ttl_seconds=seconds)


@pytest.mark.parametrize("key", ["", "x" * 257, 7, None])
def test_a_wrong_key_is_refused(key: Any) -> None:
    with pytest.raises(InvalidMessage, match="key"):
        create_state_message("counter", key, 1)


def test_it_fits_into_a_message_with_its_key() -> None:
    with pytest.raises(MessageTooBig):
        state("x" * (128 * 1024 - 120))


def test_a_removal_names_the_version_that_it_was_made_of_and_has_no_lease() -> None:
    entry = with_version(state(ttl_seconds=30), 100, 3)
    assert on_state_expired(entry, 29, 129) is None
    removal = on_state_expired(entry, 30, 130)
    assert removal is not None
    assert (removal.replaces, removal.key, removal.is_final, removal.lease_seconds) == (3, entry.key, True, None)
    assert json.loads(removal.payload)["data"] is None
    assert on_state_expired(with_version(removal, 130, 4), 1e9, 1e9) is None


def test_over_http_the_key_is_beside_the_message() -> None:
    body = {"target": {"topic": "moc:1"}, "message": {"type": "editing", "data": 1}, "key": "a", "ttlSeconds": 30}
    publication = read_publish(json.dumps(body).encode())
    assert (publication.key, publication.lease_seconds) == ("state:editing:a", 30)
    known = {"type": "notification", "data": {"title": "a", "message": "b", "severity": "info"}}
    with pytest.raises(InvalidMessage, match="notification is no type of your own"):
        read_publish(json.dumps(body | {"message": known}).encode())
    with pytest.raises(InvalidMessage, match="key"):
        read_publish(json.dumps(body | {"key": ""}).encode())


def test_one_without_room_is_told_once_by_its_key() -> None:
    errors = [no_room(state(data)) for data in (1, 2)]
    assert errors[0].id == errors[1].id
    assert json.loads(errors[0].payload)["data"]["code"] == "TOO_MANY_STATES"
