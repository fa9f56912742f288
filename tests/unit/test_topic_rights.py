"""The rights to topics: rules, claims, and functions of the program."""

import asyncio
import logging
from typing import Any

import pytest

from tellwire import topic_rights
from tellwire.errors import TopicRightsUnavailable
from tellwire.model import Identity, TokenStamp
from tellwire.testing import FakeClock
from tellwire.topic_rights import TopicRights
from tellwire.topics import TopicRule, TopicRules

USER = Identity("u1", 5.0, {"sub": "u1", "rooms": ["moc:*"], "role": "editor"}, TokenStamp("key"))
PLAIN = Identity("u1", 5.0, {"sub": "u1", "role": "editor"})
RULES = TopicRules(rules=[TopicRule(pattern="moc:*", publish="token"), TopicRule(pattern="news", subscribe="anyone")])


def rights(callback: Any = None, publish: Any = None) -> TopicRights:
    given = {"subscribe": callback, "publish": publish}
    callbacks: Any = {action: each for action, each in given.items() if each is not None}
    return TopicRights(RULES, FakeClock(), "rooms", callbacks)


async def test_without_a_right_there_is_none() -> None:
    found = rights()
    assert await found.may_subscribe(USER, "moc:1")
    assert not await found.may_subscribe(PLAIN, "moc:1")
    assert await found.may_subscribe(PLAIN, "news")
    assert not await found.may_publish(USER, "moc:1")


async def test_a_function_of_either_kind_decides_where_the_claim_does_not() -> None:
    asked: list[tuple[str, str]] = []

    def plain(identity: Identity, topic: str) -> bool:
        asked.append((identity.user_id, topic))
        return topic == "a"

    async def waiting(identity: Identity, topic: str) -> bool:
        await asyncio.sleep(0)
        return plain(identity, topic)

    for function in (plain, waiting):
        found = rights(function)
        assert [await found.may_subscribe(USER, topic) for topic in ("moc:1", "a", "b")] == [True, True, False]
    assert asked == [("u1", "a"), ("u1", "b")] * 2


async def test_to_publish_a_rule_and_a_function_of_its_own_must_agree() -> None:
    found = rights(lambda identity, topic: True, lambda identity, topic: topic != "moc:2")
    assert [await found.may_publish(PLAIN, topic) for topic in ("moc:1", "moc:2", "other")] == [True, False, False]
    assert not await rights(lambda identity, topic: True).may_publish(PLAIN, "moc:1")


async def test_a_function_that_raises_has_said_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(identity: Identity, topic: str) -> bool:
        raise RuntimeError("the database is away")

    with caplog.at_level(logging.ERROR), pytest.raises(TopicRightsUnavailable):
        await rights(broken).may_subscribe(PLAIN, "a")
    assert "the database is away" in caplog.text


async def test_a_function_that_does_not_return_has_said_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_rights, "TOPIC_RIGHTS_SECONDS", 0.05)

    async def hangs(identity: Identity, topic: str) -> bool:
        await asyncio.Event().wait()
        return True

    with pytest.raises(TopicRightsUnavailable):
        await rights(hangs).may_subscribe(PLAIN, "a")


def test_only_what_rights_need_is_kept_of_a_token(caplog: pytest.LogCaptureFixture) -> None:
    assert rights().needed(PLAIN) is None
    assert rights().needed(USER) == Identity("u1", 5.0, {"rooms": {"subscribe": ["moc:*"]}}, TokenStamp("key"))
    assert rights(lambda identity, topic: True).needed(PLAIN) is PLAIN
    wrong = Identity("u1", 5.0, {"rooms": ["moc 1"]})
    with caplog.at_level(logging.WARNING):
        assert rights().needed(wrong) is None
    assert "the token of 'u1': these topics do not count: rooms.subscribe: got 'moc 1'" in caplog.text
