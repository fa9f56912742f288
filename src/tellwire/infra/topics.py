"""The rules of topics as a variable of the functions."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tellwire.engines.aws.environment import TOPICS
from tellwire.retention import Retention
from tellwire.topic_settings import parse_topics


def topics_environment(topics: Sequence[Mapping[str, Any]] | None) -> dict[str, str]:
    """Return the variable with these rules; none if there are none.

    Raises:
        ConfigError: a rule is not valid.
    """
    if not topics:
        return {}
    rules = json.dumps([dict(rule) for rule in topics], separators=(",", ":"))
    parse_topics(rules, Retention())
    return {TOPICS: rules}
