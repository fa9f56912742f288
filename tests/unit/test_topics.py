"""Patterns of topics, their rules, and the patterns in tokens."""

import time
from typing import Any

import pytest

from tellwire.limits import MAX_CLAIMED_PATTERNS, MAX_TOPIC_BYTES
from tellwire.model import Identity
from tellwire.publication import topic_stream, user_stream
from tellwire.retention import Retention
from tellwire.topics import ClaimAuthorizer, TopicRule, TopicRules, bounded_claim, claimed, is_pattern, matches

FEW = Retention(max_messages=5)


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("moc:1", "moc:1", True),
        ("moc:1", "moc:12", False),
        ("moc:1", "MOC:1", False),
        ("*", "anything:at:all", True),
        ("moc:*", "moc:", True),
        ("moc:*", "moc", False),
        ("moc:*:comments", "moc:1:comments", True),
        ("moc:*:comments", "moc:1:2:comments", True),
        ("moc:*:comments", "moc::comments", True),
        ("moc:*:comments", "moc:comments", False),  # the parts do not overlap
        ("*a*b*", "xaxbx", True),
        ("*a*b*", "xbxax", False),
        ("a*a", "a", False),
        ("a**a", "aa", True),
        ("moc.1", "mocx1", False),  # a dot is a dot
        ("[m]oc", "moc", False),
        ("user:{user}", "user:u1", True),
        ("user:{user}", "user:u2", False),
        ("{user}:{user}", "u1:u1", True),
        ("user:{user}:*", "user:u1:x", True),
        ("user:{user}:*", "user:u11:x", False),
    ],
)
def test_a_pattern_matches_by_stars_and_the_user_and_else_literally(pattern: str, topic: str, expected: bool) -> None:
    assert matches(pattern, topic, "u1") is expected


def test_a_users_id_is_taken_literally() -> None:
    assert not matches("user:{user}", "user:u1", "*")
    assert not matches("user:{user}:x", "user:anything:x", "a*")
    assert not matches("user:{user}", "user:u1", "{user}")
    assert not matches("user:{user}", "user:u1", None)


@pytest.mark.parametrize("pattern", ["*" * 256, "*a" * 128, "a*" * 128, "*" + "aab*" * 63, "{user}*" * 36])
def test_no_pattern_is_slow(pattern: str) -> None:
    topic = "a" * (MAX_TOPIC_BYTES - 1) + "b"
    began = time.process_time()
    for _ in range(100):
        matches(pattern, topic, "a")
    # A backtracking match of such a pattern would take years.
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", True),
        ("{user}", True),
        ("moc:*:comments", True),
        ("é:*", True),
        ("x" * 256, True),
        ("x" * 257, False),
        ("", False),
        ("a b", False),
        ("a\n", False),
        ("{topic}", False),
        ("{user", False),
        ("{{user}}", False),
        ("\ud800", False),
        (5, False),
        (None, False),
    ],
)
def test_a_pattern_has_the_characters_of_a_topic(pattern: object, expected: bool) -> None:
    assert is_pattern(pattern) is expected


def test_the_first_rule_that_matches_is_that_of_a_topic_and_others_keep_what_a_user_keeps() -> None:
    rules = TopicRules(
        FEW,
        [TopicRule(pattern="moc:*:live", history=None), TopicRule(pattern="moc:*", presence=True, history=FEW)],
    )
    assert rules.retention_of(topic_stream("moc:1:live")) is None
    assert rules.retention_of(topic_stream("moc:1")) == FEW
    assert rules.of("moc:1").presence
    assert not rules.of("other").presence
    assert rules.retention_of(topic_stream("other")) == FEW
    assert rules.retention_of(user_stream("moc:1:live")) == FEW


def test_the_rule_of_a_topic_does_not_depend_on_who_asks() -> None:
    own = TopicRule(pattern="user:{user}:notes", history=None, subscribe="anyone", publish="anyone")
    rules = TopicRules(FEW, [own])
    assert rules.of("user:u1:notes") is own
    assert own.lets_subscribe("user:u1:notes", "u1")
    assert own.lets_publish("user:u1:notes", "u1")
    assert not own.lets_subscribe("user:u1:notes", "u2")
    assert not own.lets_publish("user:u1:notes", "u2")


def test_replaced_rules_count_at_once() -> None:
    rules = TopicRules(FEW, [TopicRule(pattern="moc:*", history=None)])
    assert rules.retention_of(topic_stream("moc:1")) is None
    rules.replace(FEW, [TopicRule(pattern="other:*", history=None)])
    assert rules.retention_of(topic_stream("moc:1")) == FEW


@pytest.mark.parametrize(
    ("claim", "subscribe", "publish"),
    [
        (None, (), ()),
        (["a", "b:*"], ("a", "b:*"), ()),
        ({"subscribe": ["a"], "publish": ["b"]}, ("a",), ("b",)),
        ({"publish": ["b"]}, (), ("b",)),
        ([], (), ()),
    ],
)
def test_a_claim_is_a_list_or_an_object_of_two(
    claim: Any, subscribe: tuple[str, ...], publish: tuple[str, ...]
) -> None:
    found = claimed({} if claim is None else {"topics": claim})
    assert (found.subscribe, found.publish, found.refused) == (subscribe, publish, "")


@pytest.mark.parametrize(
    ("claim", "subscribe", "words"),
    [
        ("moc:*", (), "topics.subscribe: got 'moc:*'; allowed: a list of patterns"),
        ({"subscribe": "*"}, (), "topics.subscribe: got '*'; allowed: a list"),
        (["a", 5, "b c", "d"], ("a", "d"), "topics.subscribe: got 5; allowed: a topic with * and {user}"),
        ({"subscribe": ["a"], "admin": ["*"]}, ("a",), "topics.admin"),
        ([f"t{number}" for number in range(200)], tuple(f"t{number}" for number in range(100)), "got 200 patterns"),
        (["x" * 256] * 100, ("x" * 256,) * 32, "got 100 patterns"),
    ],
)
def test_wrong_patterns_do_not_count_and_are_named(claim: Any, subscribe: tuple[str, ...], words: str) -> None:
    found = claimed({"topics": claim})
    assert found.subscribe == subscribe
    assert words in found.refused
    assert len(found.refused) < 1000


def test_the_bounds_hold_for_both_kinds_together() -> None:
    many = [f"t{number}" for number in range(80)]
    found = claimed({"topics": {"subscribe": many, "publish": many}})
    assert len(found.subscribe) + len(found.publish) == MAX_CLAIMED_PATTERNS


def test_the_claim_that_is_stored_is_a_claim_again() -> None:
    claims = {"rooms": {"subscribe": ["a", 5], "publish": []}, "role": "x"}
    stored = bounded_claim(claims, "rooms")
    assert stored == {"subscribe": ["a"]}
    assert claimed({"rooms": stored}, "rooms").subscribe == ("a",)
    assert bounded_claim({"topics": ["a b"]}) is None


async def test_rules_and_claims_decide_together() -> None:
    rules = TopicRules(
        FEW,
        [
            TopicRule(pattern="news", subscribe="anyone"),
            TopicRule(pattern="chat:*", publish="token"),
            TopicRule(pattern="wall", subscribe="anyone", publish="anyone"),
        ],
    )
    authorizer = ClaimAuthorizer(rules, "rooms")
    claims = {"rooms": {"subscribe": ["chat:*", "moc:{user}"], "publish": ["chat:1", "news"]}}
    user, nobody = Identity("u1", 0, claims), Identity("u2", 0, {"topics": ["*"]})
    topics = ("news", "chat:1", "chat:2", "moc:u1", "moc:u2", "wall")
    assert [await authorizer.may_subscribe(user, topic) for topic in topics] == [True, True, True, True, False, True]
    assert [await authorizer.may_publish(user, topic) for topic in topics] == [False, True, False, False, False, True]
    assert [await authorizer.may_subscribe(nobody, topic) for topic in topics] == [True, *[False] * 4, True]
    assert [await authorizer.may_publish(nobody, topic) for topic in topics] == [*[False] * 5, True]
