"""The setting `topics`, from the environment, a file and tellwire.toml."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tellwire.config import RELOADED, load_settings
from tellwire.errors import ConfigError
from tellwire.retention import Retention
from tellwire.topic_settings import parse_topics
from tellwire.topics import TopicRule

USUAL = Retention(max_messages=77)


def test_rules_are_taken_from_json_with_the_bounds_of_a_user() -> None:
    text = """[
        {"pattern": "moc:*:comments", "history": {"max_messages": 5}, "presence": true, "publish": "token"},
        {"pattern": "live:*", "history": false, "subscribe": "anyone"},
        {"pattern": "{user}"}
    ]"""
    assert parse_topics(text, USUAL) == (
        TopicRule(pattern="moc:*:comments", history=Retention(max_messages=5), presence=True, publish="token"),
        TopicRule(pattern="live:*", history=None, subscribe="anyone"),
        TopicRule(pattern="{user}", history=USUAL),
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("", "TELLWIRE_TOPICS: got ''; allowed: a list of rules, such as"),
        ("{}", "TELLWIRE_TOPICS: got {}; allowed: a list of rules"),
        ("[1]", "TELLWIRE_TOPICS: [0] got 1; allowed: a value of type object"),
        ('[{"pattern": "a"}, {}]', "TELLWIRE_TOPICS: [1].pattern got nothing; allowed: a value; it is required"),
        ('[{"pattern": "a b"}]', "TELLWIRE_TOPICS: [0].pattern: got 'a b'; allowed: a topic of at most 256 bytes"),
        ('[{"pattern": "a", "presnce": true}]', "[0].presnce got True; allowed: no such field here"),
        ('[{"pattern": "a", "subscribe": "all"}]', '[0].subscribe got \'all\'; allowed: "anyone" or "token"'),
        ('[{"pattern": "a", "publish": true}]', '[0].publish got True; allowed: "anyone", "nobody" or "token"'),
        ('[{"pattern": "a", "history": 5}]', "[0].history got 5"),
        (
            '[{"pattern": "a", "history": {"messages": 5}}]',
            "[0].history: got 'messages'; allowed: max_age_seconds, max",
        ),
        ('[{"pattern": "a", "history": {"max_messages": 0}}]', "[0].history.max_messages: got 0; allowed: `int` >= 1"),
        (json.dumps([{"pattern": "a"}] * 1001), "got 1,001 rules; allowed: at most 1,000"),
    ],
)
def test_an_error_says_what_was_given_and_what_is_allowed(given: str, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        parse_topics(given, USUAL)


@pytest.mark.parametrize("form", ["environment", "file", "toml"])
def test_the_setting_has_the_forms_of_others(form: str, tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    config = tmp_path / "tellwire.toml"
    config.write_text("history_max_messages = 3\n")
    rules: Any = [{"pattern": "live:*", "history": False}]
    match form:
        case "environment":
            environ["TELLWIRE_TOPICS"] = json.dumps(rules)
        case "file":
            (tmp_path / "topics.json").write_text(json.dumps(rules))
            environ["TELLWIRE_TOPICS_FILE"] = str(tmp_path / "topics.json")
        case _:
            config.write_text('history_max_messages = 3\n[[topics]]\npattern = "live:*"\nhistory = false\n')
    rules = load_settings(environ, config).topic_rules
    assert rules.of("live:1").history is None
    assert rules.of("other").history.max_messages == 3


def test_wrong_rules_stop_the_settings_and_they_are_reloaded() -> None:
    with pytest.raises(ConfigError, match="TELLWIRE_TOPICS: got"):
        load_settings({"TELLWIRE_TOPICS": "moc:*"})
    assert "topics" in RELOADED
