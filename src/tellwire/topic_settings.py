"""The setting `topics`: rules of topics as JSON, or as tables of `tellwire.toml`. Pure.

    [{"pattern": "moc:*:comments", "history": {"max_messages": 1000}, "presence": true, "subscribe": "token"}]

The first rule whose pattern matches is that of a topic. `history` false: nothing is kept; true, or left out: as much as
of a user; the bounds that an object leaves out are those of a user, too.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from tellwire.decode_errors import decoded
from tellwire.errors import ConfigError, InvalidMessage, shown
from tellwire.limits import MAX_TOPIC_BYTES, MAX_TOPIC_RULES
from tellwire.retention import Retention
from tellwire.topics import USER_PLACEHOLDER, TopicRule, is_pattern

SETTING: Final = "TELLWIRE_TOPICS"

_CHOICES: Final = {"subscribe": '"anyone" or "token"', "publish": '"anyone", "nobody" or "token"'}


class _Rule(Struct, forbid_unknown_fields=True):
    pattern: str
    history: dict[str, Any] | bool = True
    presence: bool = False
    subscribe: Literal["token", "anyone"] = "token"
    publish: Literal["token", "anyone", "nobody"] = "nobody"


_rules: Final = msgspec.json.Decoder(list[_Rule])


def parse_topics(given: str | Sequence[Any], retention: Retention) -> tuple[TopicRule, ...]:
    """Return the rules in a setting. `retention` is that of a user's stream.

    Raises:
        ConfigError: it is no list of rules; the text names the rule, the given value and the allowed ones.
    """
    try:
        rules = decoded(_rules, given.encode() if isinstance(given, str) else msgspec.json.encode(given))
    except InvalidMessage as error:
        field = "" if error.field == "message" else f" {error.field}"
        allowed = _CHOICES.get(error.field.rpartition(".")[2], error.allowed)
        allowed = allowed if field else f'a list of rules, such as [{{"pattern": "moc:*:comments"}}]; {allowed}'
        raise ConfigError(f"{SETTING}:{field} got {shown(error.given)}; allowed: {allowed}") from error
    except (TypeError, UnicodeEncodeError) as error:
        raise ConfigError(f"{SETTING}: cannot be read as JSON: {error}") from error
    if len(rules) > MAX_TOPIC_RULES:
        raise ConfigError(f"{SETTING}: got {len(rules):,} rules; allowed: at most {MAX_TOPIC_RULES:,}")
    return tuple(_rule(number, rule, retention) for number, rule in enumerate(rules))


def _rule(number: int, rule: _Rule, retention: Retention) -> TopicRule:
    if not is_pattern(rule.pattern):
        allowed = f"a topic of at most {MAX_TOPIC_BYTES} bytes, with * for any text and {USER_PLACEHOLDER} for a user"
        raise ConfigError(f"{SETTING}: [{number}].pattern: got {shown(rule.pattern)}; allowed: {allowed}")
    return TopicRule(
        pattern=rule.pattern,
        history=_history(number, rule.history, retention),
        presence=rule.presence,
        subscribe=rule.subscribe,
        publish=rule.publish,
    )


def _history(number: int, given: Mapping[str, Any] | bool, retention: Retention) -> Retention | None:
    if isinstance(given, bool):
        return retention if given else None
    if unknown := [name for name in given if name not in Retention.__struct_fields__]:
        allowed = ", ".join(Retention.__struct_fields__)
        raise ConfigError(f"{SETTING}: [{number}].history: got {shown(unknown[0])}; allowed: {allowed}")
    try:
        return msgspec.convert(msgspec.structs.asdict(retention) | dict(given), Retention)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        name = path.rstrip("`")
        allowed = reason.removeprefix("Expected ")
        raise ConfigError(
            f"{SETTING}: [{number}].history.{name}: got {shown(given[name])}; allowed: {allowed}"
        ) from error
