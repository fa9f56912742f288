"""The rules of topics: which history each keeps, and who may subscribe and publish. Pure.

    name of a topic ─▶ the first rule whose pattern matches, else the default ─▶ its history, presence and rights

A pattern is text in which `*` stands for any run of characters, also for none and also over `:`; `{user}` is the id of
the user who asks. Everything else is taken literally. Matching takes a time that grows with the name alone times the
number of stars, so no pattern and no name makes it slow.

The rule of a topic is the same whoever asks, so to find it `{user}` is any text. Where a rule lets anyone subscribe or
publish, it must be the user's id.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from msgspec import Struct

from tellwire.errors import TopicForbidden, shown
from tellwire.limits import MAX_CLAIMED_BYTES, MAX_CLAIMED_PATTERNS, MAX_TOPIC_BYTES
from tellwire.model import Identity
from tellwire.publication import Publication, StreamKey, is_of_escalations, topic_of
from tellwire.retention import OF_ESCALATIONS, Retention
from tellwire.text import is_text, is_topic

USER_PLACEHOLDER: Final = "{user}"
_RULES_CACHED: Final = 4096

CLAIM: Final = "topics"
"""The claim of a token with the patterns of the topics that its user may subscribe to."""


class TopicRule(Struct, frozen=True, kw_only=True):
    """The rule of the topics whose names match a pattern.

    `history` None: nothing is kept. `subscribe` "token": the token, or whoever else the server asks, must say so.
    """

    pattern: str = "*"
    history: Retention | None = Retention()
    presence: bool = False
    subscribe: Literal["token", "anyone"] = "token"
    publish: Literal["token", "anyone", "nobody"] = "nobody"

    def lets_subscribe(self, topic: str, user_id: str) -> bool:
        """Return True if a user may subscribe to a topic of this rule whatever the token says."""
        return self.subscribe == "anyone" and matches(self.pattern, topic, user_id)

    def lets_publish(self, topic: str, user_id: str) -> bool:
        """Return True if a user's client may publish to a topic of this rule whatever the token says."""
        return self.publish == "anyone" and matches(self.pattern, topic, user_id)


class TopicRules:
    """The rules of all topics, and the retention of each stream. `retention` is that of a user's stream.

    A topic that no rule matches keeps a history as a user's stream does. All parts of a server share one object, and
    ask it each time: `replace` changes it.
    """

    def __init__(self, retention: Retention | None = None, rules: Sequence[TopicRule] = ()) -> None:
        self.replace(retention, rules)

    def replace(self, retention: Retention | None = None, rules: Sequence[TopicRule] = ()) -> None:
        """Use these rules from now on."""
        self._retention = retention or Retention()
        self._rules = tuple(rules)
        self._default = TopicRule(history=self._retention)
        self._known: dict[str, TopicRule] = {}
        self.have_presence = any(each.presence for each in self._rules)
        """True if the users in some topics are told."""

    @property
    def retention(self) -> Retention:
        """The bounds of a user's stream."""
        return self._retention

    @property
    def rules(self) -> Sequence[TopicRule]:
        """The rules, in their order."""
        return self._rules

    @property
    def shortest_age_seconds(self) -> float:
        """The shortest age at which messages of a stream are removed."""
        kept = [each.history for each in self._rules if each.history is not None]
        return min(each.max_age_seconds for each in (self._retention, *kept))

    def has_presence(self, stream: StreamKey) -> bool:
        """Return True if the users in the topic of this stream are told."""
        topic = topic_of(stream)
        return topic is not None and self.of(topic).presence

    def of(self, topic: str) -> TopicRule:
        """Return the rule of a topic."""
        if not self._rules:
            return self._default
        rule = self._known.get(topic)
        if rule is None:
            if len(self._known) >= _RULES_CACHED:
                self._known.clear()
            rule = next((each for each in self._rules if _is_of(each, topic)), self._default)
            self._known[topic] = rule
        return rule

    def keeps(self, publication: Publication) -> bool:
        """Return True if a publication is kept in its stream."""
        topic = publication.target.topic
        return publication.stream is not None and (topic is None or self.of(topic).history is not None)

    def retention_of(self, stream: StreamKey) -> Retention | None:
        """Return the bounds of a stream; None: it is not kept."""
        topic = topic_of(stream)
        if topic is not None:
            return self.of(topic).history
        return OF_ESCALATIONS if is_of_escalations(stream) else self._retention


def _is_of(rule: TopicRule, topic: str) -> bool:
    return matches(rule.pattern.replace(USER_PLACEHOLDER, "*"), topic)


def is_pattern(pattern: object) -> bool:
    """Return True if a value is a pattern: a topic's name, of as many bytes, in which there may be `*` and `{user}`."""
    if not isinstance(pattern, str) or not is_text(pattern) or not 0 < len(pattern.encode()) <= MAX_TOPIC_BYTES:
        return False
    return is_topic(f"x{pattern.replace(USER_PLACEHOLDER, '').replace('*', '')}")


def matches(pattern: str, topic: str, user_id: str | None = None) -> bool:
    """Return True if a topic's name matches a pattern. `{user}` matches nothing if there is no `user_id`."""
    if USER_PLACEHOLDER in pattern:
        if user_id is None:
            return False
        # The user's id is split no further: a star in it is a star.
        parts = [part.replace(USER_PLACEHOLDER, user_id) for part in pattern.split("*")]
    else:
        parts = pattern.split("*")
    if len(parts) == 1:
        return topic == parts[0]
    first, *middle, last = parts
    if len(topic) < len(first) + len(last) or not topic.startswith(first) or not topic.endswith(last):
        return False
    place, end = len(first), len(topic) - len(last)
    for part in middle:
        found = topic.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True


class ClaimAuthorizer:
    """A `TopicAuthorizer` that goes by the rules and a claim of tokens, and asks nobody."""

    def __init__(self, rules: TopicRules, claim: str = CLAIM) -> None:
        self._rules = rules
        self._claim = claim

    async def may_subscribe(self, identity: Identity, topic: str) -> bool:
        return self._rules.of(topic).lets_subscribe(topic, identity.user_id) or self.claims(identity, topic)

    async def may_publish(self, identity: Identity, topic: str) -> bool:
        rule = self._rules.of(topic)
        if rule.publish == "token":
            return self.claims(identity, topic, to_publish=True)
        return rule.lets_publish(topic, identity.user_id)

    def claims(self, identity: Identity, topic: str, *, to_publish: bool = False) -> bool:
        """Return True if the token says that its user may subscribe, or publish."""
        found = claimed(identity.claims, self._claim)
        patterns = found.publish if to_publish else found.subscribe
        return any(matches(each, topic, identity.user_id) for each in patterns)


class Claimed(NamedTuple):
    """The patterns in a token. `refused` are the words for those that are not valid, or too many, and do not count."""

    subscribe: tuple[str, ...] = ()
    publish: tuple[str, ...] = ()
    refused: str = ""


def claimed(claims: Mapping[str, Any], name: str = CLAIM) -> Claimed:
    """Return the patterns in a claim: a list of those to subscribe to, or an object with lists of both kinds.

    At most `MAX_CLAIMED_PATTERNS` and `MAX_CLAIMED_BYTES` of both together; the others do not count.
    """
    given = claims.get(name)
    if given is None:
        return Claimed()
    kinds = given if isinstance(given, dict) else {"subscribe": given}
    refused: list[str] = [f"{name}.{each}" for each in kinds if each not in ("subscribe", "publish")]
    room = [MAX_CLAIMED_PATTERNS, MAX_CLAIMED_BYTES]
    subscribe, publish = (
        tuple(_valid(kinds.get(kind), f"{name}.{kind}", room, refused)) for kind in ("subscribe", "publish")
    )
    return Claimed(subscribe, publish, "; ".join(refused))


def bounded_claim(claims: Mapping[str, Any], name: str = CLAIM) -> dict[str, list[str]] | None:
    """Return the valid patterns in a claim as one that can be stored, and that is a claim again; None: it has none."""
    found = claimed(claims, name)
    kinds = {"subscribe": list(found.subscribe), "publish": list(found.publish)}
    return {kind: patterns for kind, patterns in kinds.items() if patterns} or None


def _valid(patterns: Any, name: str, room: list[int], refused: list[str]) -> Iterator[str]:
    """Yield the patterns that count, and note the first that does not. `room`: the patterns and bytes that may come."""
    if patterns is None:
        return
    if not isinstance(patterns, list):
        refused.append(f"{name}: got {shown(patterns)}; allowed: a list of patterns")
        return
    wrong = [each for each in patterns if not is_pattern(each)]
    if wrong:
        refused.append(f"{name}: got {shown(wrong[0])}; allowed: a topic with * and {USER_PLACEHOLDER}")
    for pattern in patterns:
        if not is_pattern(pattern):
            continue
        size = len(pattern.encode())
        if room[0] < 1 or room[1] < size:
            refused.append(f"{name}: got {len(patterns):,} patterns; allowed: {MAX_CLAIMED_PATTERNS} in all")
            return
        room[0], room[1] = room[0] - 1, room[1] - size
        yield pattern


NOT_CLAIMED: Final = (
    "this user has no right to it: the claim `topics` of the token has no pattern that matches, and no rule of "
    "TELLWIRE_TOPICS lets anyone subscribe"
)


def forbidden(topic: str) -> TopicForbidden:
    """Return the error about a topic that a user may not subscribe to."""
    return TopicForbidden(topic, NOT_CLAIMED)
