"""Settings that all nodes and producers of a Redis share: the schema of its data, the bounds of histories, and the
rules of topics.

Whoever publishes keeps and trims the stream, so all must have the same bounds. A node writes them when it starts;
producers without HTTP read them when they begin, and from time to time. A script that meets the data of another version
of it would fail halfway, and the first half would stay. So a process with another schema does not begin.
"""

import logging
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec

from tellwire.decode_errors import DECODE_ERRORS
from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.scripts import script
from tellwire.engines.redis.link.store import RedisStore
from tellwire.errors import ConfigError, HistoryUnavailable
from tellwire.limits import REDIS_SETTINGS_SECONDS
from tellwire.ports import Clock
from tellwire.retention import Retention
from tellwire.topics import TopicRule, TopicRules

T = TypeVar("T")

logger = logging.getLogger("tellwire.engines.redis")

SCHEMA: Final = 1
"""Raise it when a script changes its data in Redis."""

_SHARE: Final = script("share_settings")
_retention: Final = msgspec.json.Decoder(Retention)
_rules: Final = msgspec.json.Decoder(Sequence[TopicRule])
_encode: Final = msgspec.json.Encoder().encode


async def write_settings(store: RedisStore, names: Names, topics: TopicRules) -> None:
    """Write the bounds and rules of this node, in place of those that another one has written.

    Raises:
        ConfigError: what is in Redis has another schema.
        HistoryUnavailable: Redis is away.
    """
    await _write(store, names, _texts(topics), "")


async def keep_settings(store: RedisStore, names: Names, topics: TopicRules, clock: Clock) -> None:
    """Write them again where they are missing, as in a Redis that was flushed, and those of a node that has other rules
    than before. It never returns.
    """
    written = _texts(topics)
    while True:
        await clock.sleep(REDIS_SETTINGS_SECONDS)
        texts = _texts(topics)
        try:
            await _write(store, names, texts, "1" if texts == written else "")
            written = texts
        except HistoryUnavailable:
            pass  # the store has logged it
        except Exception:
            logger.exception("the settings that all nodes share cannot be written, trying again")


async def read_settings(store: RedisStore, names: Names) -> TopicRules:
    """Return the bounds of the nodes and their rules of topics; the usual ones if no node has ever started.

    Raises:
        ConfigError: what is in Redis has another schema.
        HistoryUnavailable: Redis is away.
    """
    keys = _keys(names)
    schema, retention, rules = await store.command("MGET", *keys, key=keys[0], writes=False)
    if schema is not None:
        _require(schema, names)
    return TopicRules(_decoded(_retention, retention, Retention()), _decoded(_rules, rules, []))


def _decoded(decoder: msgspec.json.Decoder[T], text: bytes | None, usual: T) -> T:
    try:
        return usual if text is None else decoder.decode(text)
    except DECODE_ERRORS:
        return usual  # somebody else has written it


def _texts(topics: TopicRules) -> tuple[bytes, bytes]:
    return _encode(topics.retention), _encode(topics.rules)


async def _write(store: RedisStore, names: Names, texts: tuple[bytes, bytes], others_stay: str) -> None:
    _require(await store.call(_SHARE, _keys(names), [SCHEMA, *texts, others_stay]), names)


def _keys(names: Names) -> list[bytes]:
    return [names.of_nodes(kind) for kind in ("schema", "retention", "topics")]


def _require(schema: Any, names: Names) -> None:
    if schema != b"%d" % SCHEMA:
        given = schema.decode(errors="replace")
        raise ConfigError(
            f"TELLWIRE_REDIS_URL: got a Redis with schema {given}, of another version of tellwire; allowed: {SCHEMA}. "
            f"Set another redis_prefix, or delete all keys that begin with {names.prefix}: to begin again"
        )
