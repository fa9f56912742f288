"""Streams in Redis: the history of several nodes, and of producers without HTTP.

    append ─▶ append.lua: duplicate? late? room? ─▶ kept, trimmed, and sent to the channel of its stream, as one step
    read ──▶ read.lua; a stream that is not there begins first

The script decides, so it does not matter how many processes write. Only the parts of an upload are followed here: their
whole is made of the known state, and kept only in place of that one.
"""

import asyncio
import functools
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Final
from weakref import WeakValueDictionary

from msgspec import Struct, structs

from tellwire.engines.redis.keys import Names, upload_of
from tellwire.engines.redis.link.scripts import script, time_of
from tellwire.engines.redis.link.store import Call, RedisStore
from tellwire.engines.redis.link.waiting import Answer, Answers, Argument, Bulks, Joinable
from tellwire.engines.redis.state_rows import (
    head_seconds,
    pack,
    pack_escalated,
    pack_rules,
    read_page,
    read_replay,
    read_state,
    trust_text,
)
from tellwire.entry import Entry, with_offset, with_version
from tellwire.errors import HistoryUnavailable, InvalidMessage, TellwireError, TooManyEscalations
from tellwire.escalation import EscalationRules, waiting
from tellwire.limits import (
    MAX_ESCALATIONS,
    REDIS_BUCKETS,
    REDIS_JOINED_BYTES,
    REDIS_JOINED_CALLS,
    REDIS_KEYS_CACHED,
    REDIS_PART_ATTEMPTS,
    REDIS_READS_AT_ONCE,
)
from tellwire.messages import Escalation
from tellwire.model import new_epoch
from tellwire.ports import Clock, SystemClock
from tellwire.position import Position, StreamEnd
from tellwire.publication import Publication, StreamKey, is_of_user, stream_of, topic_of
from tellwire.retention import Retention
from tellwire.stream import DEFAULT_RETENTION, HistoryPage, Replay, is_kept
from tellwire.topics import TopicRules
from tellwire.upload_states import successor

_APPEND: Final = script("append")
_BEGIN: Final = script("begin")
_FORGET: Final = script("forget")
_READ: Final = script("read")
_PAGE: Final = script("page")
_RENEW: Final = script("renew")
_STATE: Final = script("state")

_KINDS: Final = ("meta", "life", "log", "ids", "heads", "states", "running", "ended", "leases", "conns")
_META, _LIFE, _LOG, _, _HEADS, _STATES, _, _, _LEASES, _ = range(len(_KINDS))
_OF_BUCKETS: Final = frozenset(("life", "leases"))
_MEMBERS_AT_ONCE: Final = 1000
_BUCKETS_AT_ONCE: Final = 64
# Different bounds of topics, of which a project has a few.
_RULES_CACHED: Final = 64


class Outcome(Struct, frozen=True, gc=False):
    """The outcome of a publication. `entry` is None if it was not kept; `state` is then the known state of its key, if
    that is the reason, without its payload. `receivers` are the ids of the user's connections or, of a topic, the nodes
    that have subscribers, each followed by their number.
    """

    entry: Entry | None
    receivers: Sequence[bytes] = ()
    state: Entry | None = None
    has_no_room: bool = False


_NOT_KEPT: Final = Outcome(None)


class _Conflict(Struct, frozen=True):
    """Another state is known than the one that a publication was made for."""

    known: Entry | None
    now: float


class RedisHistory:
    """A `History` in Redis, of users' streams with this `retention`, and of topics with that of their rules.

    `known_end` returns the end of all that this node has handed on of a stream.

    `trusts_restart` returns True if a Redis that was started again has everything that it has acknowledged, and None if
    that is not known yet. If it is False, all streams have another epoch then.
    """

    def __init__(
        self,
        store: RedisStore,
        names: Names,
        clock: Clock | None = None,
        retention: Retention = DEFAULT_RETENTION,
        *,
        topics: TopicRules | None = None,
        trusts_restart: Callable[[], bool | None] = lambda: False,
        known_end: Callable[[StreamKey], StreamEnd | None] = lambda stream: None,
        escalations: EscalationRules | None = None,
    ) -> None:
        self._store = store
        self._names = names
        self._time = time_of(clock or SystemClock())
        self._retention = retention
        self._trusts_restart = trusts_restart
        self._known_end = known_end
        self._topics = topics or TopicRules(retention)
        self._escalations = escalations or EscalationRules()
        self._rules = {trust: pack_rules(retention, trust_text(trust)) for trust in (None, False, True)}
        self._topic_rules = functools.lru_cache(_RULES_CACHED)(pack_rules)
        self._keys = functools.lru_cache(REDIS_KEYS_CACHED)(self._make_keys)
        self._append_words = functools.lru_cache(REDIS_KEYS_CACHED)(self._make_append_words)
        self._common: dict[bytes, tuple[str, Bulks]] = {}
        self._reads = asyncio.Semaphore(REDIS_READS_AT_ONCE)
        self._turns: WeakValueDictionary[tuple[StreamKey, str], asyncio.Lock] = WeakValueDictionary()

    async def append(self, publication: Publication) -> Entry | None:
        return _entry_of(publication, await self.keep(publication))

    async def append_all(self, publications: Sequence[Publication]) -> list[Entry | None]:
        entries: list[Entry | None] = []
        for publication, outcome in zip(publications, await self.keep_all(publications), strict=True):
            if isinstance(outcome, TellwireError):
                raise outcome
            entries.append(_entry_of(publication, outcome))
        return entries

    async def append_linked(self, publications: Sequence[Publication]) -> list[Entry | None]:
        return [outcome.entry for outcome in await self.keep_linked(publications)]

    async def read(self, stream: StreamKey, cursor: str | None, version: int | None = None) -> Replay:
        retention = self._retention_of(stream)
        named = Position.parse(cursor)
        epoch, offset = named or ("end" if cursor is None else "start", 0)
        bounds = (
            retention.finished_keep_seconds,
            retention.max_age_seconds,
            retention.running_max_age_seconds,
            retention.max_messages,
        )
        keys = self._keys(stream)
        args = [self._time(), epoch, offset, "" if version is None else version, *map(_text, bounds)]
        call = Call(_READ, [keys[_META], keys[_LIFE], keys[_LOG], keys[_HEADS], keys[_STATES]], args)
        return read_replay(stream, await self._read(stream, call), cursor, version, retention)

    async def page(self, stream: StreamKey, before: int | None, limit: int, max_bytes: int) -> HistoryPage:
        keys, retention = self._keys(stream), self._retention_of(stream)
        bounds = (limit, max_bytes, retention.max_messages, _text(retention.max_age_seconds))
        args = [self._time(), "" if before is None else before, *bounds]
        answer = await self._read(stream, Call(_PAGE, [keys[_META], keys[_LIFE], keys[_LOG]], args))
        return read_page(answer)

    async def state(self, stream: StreamKey, key: str) -> Entry | None:
        return (await self._state(stream, key)).known

    async def end(self, stream: StreamKey) -> StreamEnd | None:
        epoch, offset, version = await self._store.command(
            "HMGET", key := self._keys(stream)[_META], "e", "o", "s", key=key, writes=False
        )
        return None if epoch is None else StreamEnd(Position(epoch.decode(), int(offset)), int(version))

    def known_end(self, stream: StreamKey) -> StreamEnd | None:
        return self._known_end(stream)

    async def position(self, stream: StreamKey) -> Position | None:
        end = await self.end(stream)
        return None if end is None else end.position

    async def forget(self, stream: StreamKey) -> None:
        await self._store.call(_FORGET, self._keys(stream)[:-1], [stream])

    async def leased_uploads(self) -> AsyncIterator[Entry]:
        for first in range(0, REDIS_BUCKETS, _BUCKETS_AT_ONCE):
            buckets = range(first, min(first + _BUCKETS_AT_ONCE, REDIS_BUCKETS))
            for members in await asyncio.gather(*map(self._leased, buckets)):
                for member in members:
                    entry = await self.state(*upload_of(member))
                    if entry is not None and entry.lease_expires_at is not None:
                        yield entry

    async def close(self) -> None:
        """Do nothing: the store belongs to the engine."""

    # --- what the broker and the node need ---------------------------------------------------------------------------

    def keeps(self, publication: Publication) -> bool:
        """Return True if a publication is kept: it has a stream, and the rules of topics do not say otherwise."""
        stream = publication.stream
        return stream is not None and (
            publication.target.topic is None or self._topics.retention_of(stream) is not None
        )

    def keep_soon(self, publication: Publication, done: Callable[[Outcome | Exception], None]) -> None:
        """Keep a publication that is no part, and send it to the channel of its stream. `done` gets the outcome, or
        `HistoryUnavailable`: it is not kept, as far as anybody knows; or `InvalidMessage`: its escalation is not
        allowed.
        """

        def take(answer: Any) -> None:
            done(answer if isinstance(answer, Exception) else _outcomes([publication], answer)[0])

        try:
            call = self._append([publication], take)
        except InvalidMessage as error:
            done(error)
        else:
            self._store.begin(call)

    async def keep(self, publication: Publication) -> Outcome:
        """Keep a publication, and send it to the channel of its stream.

        Raises:
            HistoryUnavailable: it is not kept, as far as anybody knows.
            InvalidMessage: its escalation is not allowed.
        """
        if publication.part is not None:
            return await self._keep_part(publication)
        return _outcomes([publication], await self._appended([publication]))[0]

    async def keep_linked(self, publications: Sequence[Publication]) -> list[Outcome]:
        """Keep publications of which the others depend on the first, and send them.

        Raises:
            HistoryUnavailable: none of them is kept, as far as anybody knows.
        """
        return _outcomes(publications, await self._appended(publications, is_linked=True))

    async def keep_all(self, publications: Sequence[Publication]) -> list[Outcome | TellwireError]:
        """Keep and send these, one after the other. An error is the outcome of its publication."""
        outcomes: list[Outcome | TellwireError] = []
        start = 0
        for index, publication in enumerate(publications):
            if publication.part is None and publication.escalation is None:
                continue
            outcomes += await self._keep_plain(publications[start:index])
            start = index + 1
            try:
                outcomes.append(await self.keep(publication))
            except (HistoryUnavailable, InvalidMessage) as error:
                outcomes.append(error)
        return outcomes + await self._keep_plain(publications[start:])

    async def renew(self, stream: StreamKey, seen: StreamEnd) -> StreamEnd:
        """Give a stream a new epoch if Redis has less of it than was seen in this one. Returns its end, with the last
        version that it has given out.

        Raises:
            HistoryUnavailable: nobody knows.
        """
        args = [*self._new_args(stream), seen.position.epoch, seen.position.offset, seen.version]
        epoch, offset, version = await self._store.call(_RENEW, self._keys(stream)[:_LEASES], args)
        return StreamEnd(Position(epoch.decode(), offset), version)

    # --- calls --------------------------------------------------------------------------------------------------------

    async def _read(self, stream: StreamKey, call: Call) -> Sequence[Any]:
        """Return the answer of a script that reads a log; a stream that is not there begins first."""
        async with self._reads:
            answer = await self._store.call(call.script, call.keys, call.args)
            if not answer:
                answer = (await self._store.call_together([self._begin(stream), call]))[1]
            if not answer:
                raise HistoryUnavailable("Redis has another master than a moment ago")
            found: Sequence[Any] = answer
            return found

    def _make_keys(self, stream: StreamKey) -> list[bytes]:
        return self._names.all_of_stream(_KINDS, stream, _OF_BUCKETS)

    def _make_append_words(self, stream: StreamKey) -> tuple[bytes, Bulks, Bulks, bool]:
        """Return the first key, all of them, and the first arguments of a call of `append.lua`; True: of a user."""
        keys = self._make_keys(stream)
        names = Bulks.of((self._names.channel(stream), stream))
        return keys[0], Bulks.of(keys), names, is_of_user(stream)

    def _append(
        self,
        publications: Sequence[Publication],
        done: Callable[[Any], None],
        is_wanted: Callable[[], bool] | None = None,
        *,
        expected: int | None = None,
        is_linked: bool = False,
    ) -> Joinable:
        stream = stream_of(publications[0])
        key, keys, names, is_of_user = self._append_words(stream)
        trust = self._trusts_restart()
        rules = self._rules[trust] if is_of_user else self._rules_of_others(stream, trust)
        if publications[0].escalation is not None:
            keys, words = self._escalated_words(publications[0], publications[0].escalation, keys, trust)
        else:
            words = [new_epoch(), "1" if is_linked else "", len(publications)]
            for each in publications:
                words += (pack(each, expected), each.payload)
        args = Bulks.of(words)
        args = Bulks(names.count + args.count, names.data + args.data)
        return Joinable(_APPEND, key, keys, self._common_words(rules), args, done, is_wanted)

    async def _appended(
        self, publications: Sequence[Publication], *, expected: int | None = None, is_linked: bool = False
    ) -> Sequence[Any]:
        """Return the answer of `append.lua` for publications of one stream."""
        answer = Answer()
        self._store.begin(
            self._append(publications, answer.take, answer.is_wanted, expected=expected, is_linked=is_linked)
        )
        found: Sequence[Any] = await answer
        return found

    def _escalated_words(
        self, publication: Publication, escalation: Escalation, keys: Bulks, trust: bool | None
    ) -> tuple[Bulks, list[Argument]]:
        """Return the keys, and the arguments after the names, of a call for a message with its escalation."""
        self._escalations.check(escalation)
        state = waiting(publication, escalation)
        stream = stream_of(state)
        _, keys_of_state, _, _ = self._append_words(stream)
        packed = pack_escalated(
            publication, state, self._rules_of_others(stream, trust), self._names.channel(stream).decode(), new_epoch()
        )
        keys = Bulks(keys.count + keys_of_state.count, keys.data + keys_of_state.data)
        return keys, [new_epoch(), "e", 1, packed, publication.payload]

    def _rules_of_others(self, stream: StreamKey, trust: bool | None) -> bytes:
        is_of_topic = topic_of(stream) is not None
        return self._topic_rules(self._retention_of(stream), trust_text(trust), is_of_topic=is_of_topic)

    def _common_words(self, rules: bytes) -> Bulks:
        now, known = self._time(), self._common.get(rules)
        if known is None or known[0] != now:
            if len(self._common) >= _RULES_CACHED:
                self._common.clear()
            known = self._common[rules] = (now, Bulks.of((now, rules)))
        return known[1]

    def _retention_of(self, stream: StreamKey) -> Retention:
        """Return the bounds of a stream; those of a user's for a topic that its rule says is not kept."""
        return self._topics.retention_of(stream) or self._retention

    def _begin(self, stream: StreamKey) -> Call:
        return Call(_BEGIN, self._keys(stream)[:_LEASES], self._new_args(stream))

    def _new_args(self, stream: StreamKey) -> list[str | int]:
        kept_seconds = head_seconds(self._retention_of(stream))
        return [self._time(), trust_text(self._trusts_restart()), new_epoch(), kept_seconds]

    async def _keep_plain(self, publications: Sequence[Publication]) -> list[Outcome | TellwireError]:
        if not publications:
            return []
        # Publications of one stream that are next to each other are one call.
        parts = list(_of_one_stream(publications))
        answers = Answers(len(parts))
        for index, part in enumerate(parts):
            self._store.begin(self._append(part, answers.done(index), answers.is_wanted))
        outcomes: list[Outcome | TellwireError] = []
        for part, answer in zip(parts, await answers.all(), strict=True):
            outcomes += [answer] * len(part) if isinstance(answer, HistoryUnavailable) else _outcomes(part, answer)
        return outcomes

    async def _state(self, stream: StreamKey, key: str) -> _Conflict:
        keys = self._keys(stream)
        answer = await self._store.call(_STATE, [keys[_HEADS], keys[_STATES]], [self._time(), key])
        return self._known(stream, key, *answer)

    def _known(self, stream: StreamKey, key: str, now: bytes, head: bytes, payload: bytes) -> _Conflict:
        entry = read_state(stream, key, head, payload) if head and payload else None
        is_there = entry is not None and is_kept(entry, self._retention_of(stream), float(now))
        return _Conflict(entry if is_there else None, float(now))

    async def _leased(self, bucket: int) -> list[bytes]:
        members: list[bytes] = []
        key = self._names.of_bucket("leases", bucket)
        while True:
            first = len(members)
            page = await self._store.command("ZRANGE", key, first, first + _MEMBERS_AT_ONCE - 1, key=key, writes=False)
            members += page
            if len(page) < _MEMBERS_AT_ONCE:
                return members

    # --- the parts of an upload ---------------------------------------------------------------------------------------

    async def _keep_part(self, publication: Publication) -> Outcome:
        stream, key = stream_of(publication), publication.key or ""
        # One after the other, so that those of one process are not in each other's way, and keep their order.
        async with self._turns.setdefault((stream, key), asyncio.Lock()):
            conflict = await self._state(stream, key)
            for _ in range(REDIS_PART_ATTEMPTS):
                known = conflict.known
                if known is not None and known.id == publication.id:
                    return _NOT_KEPT
                following = successor(publication, known, conflict.now)
                if following is None:
                    return Outcome(None, state=known)
                answer = await self._appended([following], expected=0 if known is None else known.number)
                now, (kind, *found) = answer[0], answer[3]
                if kind != b"conflict":
                    return _outcomes([following], answer)[0]
                conflict = self._known(stream, key, now, *found)
        raise HistoryUnavailable(f"{REDIS_PART_ATTEMPTS} attempts to write this state were overtaken by other writers")


def _of_one_stream(publications: Sequence[Publication]) -> Iterator[list[Publication]]:
    """Yield the publications in their order, together those of one stream that are next to each other."""
    for _, those in itertools.groupby(publications, key=stream_of):
        part: list[Publication] = []
        size = 0
        for each in those:
            if part and (len(part) >= REDIS_JOINED_CALLS or size + len(each.payload) > REDIS_JOINED_BYTES):
                yield part
                part, size = [], 0
            part.append(each)
            size += len(each.payload)
        yield part


def _entry_of(publication: Publication, outcome: Outcome) -> Entry | None:
    if outcome.has_no_room and publication.escalation is not None:
        raise TooManyEscalations(MAX_ESCALATIONS)
    return outcome.entry


def _text(number: float) -> str:
    return repr(number)


def _outcomes(publications: Sequence[Publication], answer: Sequence[Any]) -> list[Outcome]:
    """Read an answer of `append.lua`."""
    stored_at, epoch, receivers, *found = answer
    return [
        _outcome(publication, float(stored_at), epoch, receivers, *each)
        for publication, each in zip(publications, found, strict=True)
    ]


def _outcome(
    publication: Publication, now: float, epoch: bytes, receivers: Sequence[bytes], kind: bytes, *found: Any
) -> Outcome:
    match kind:
        case b"kept" if publication.key is None:
            return Outcome(with_offset(publication, now, epoch.decode(), found[0]), receivers)
        case b"kept":
            return Outcome(with_version(publication, now, found[0]), receivers)
        case b"changed":
            head = read_state(stream_of(publication), publication.key or "", found[1], b"")
            following = structs.replace(publication, run=head.run, past_runs=head.past_runs)
            return Outcome(with_version(following, now, found[0]), receivers)
        case b"late" if found[0]:
            return Outcome(None, state=read_state(stream_of(publication), publication.key or "", found[0], b""))
        case b"no room":
            return Outcome(None, has_no_room=True)
    return _NOT_KEPT
