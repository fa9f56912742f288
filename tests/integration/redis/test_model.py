"""The history in Redis against the pure `Stream`: several histories write at once, and each reads the same.

What happens to one stream, in any order: messages, states, parts, duplicates, linked publications, time, a stream that
is forgotten, another master. The model gets the same, and has the same answers.
"""

import asyncio
import itertools
import json
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tellwire.engines.redis.history import RedisHistory
from tellwire.engines.redis.keys import Names, bucket_of, upload_of
from tellwire.engines.redis.link.address import RedisAddress
from tellwire.engines.redis.link.store import RedisStore
from tellwire.engines.redis.state_rows import _read_message
from tellwire.entry import Entry
from tellwire.marks import MARKS, marked, marks_of, marks_state
from tellwire.messages import UploadProgress, UploadProgressMessage, UploadStatus, create_message
from tellwire.model import timestamp
from tellwire.position import Position
from tellwire.publication import Publication, user_stream
from tellwire.retention import Retention
from tellwire.stream import HistoryPage, Replay, Stream, seen_state
from tellwire.testing import FakeClock
from tests.publications import for_user
from tests.redis_server import RedisServer

T = TypeVar("T")

STREAM = user_stream("anna")
NODES = 3
RETENTION = Retention(max_messages=5, max_states=2, max_age_seconds=100, finished_keep_seconds=30)
STATUSES: list[UploadStatus] = ["running", "running", "stalled", "complete", "complete", "failed", "cancelled"]
VERSION_STEP = 1_000_000
UPLOADS = st.builds(
    UploadProgress,
    upload_id=st.sampled_from(["u1", "u2", "ü", "u4"]),
    file_name=st.just("f"),
    progress=st.sampled_from([0, 40, 99]),
    message=st.just(""),
    status=st.sampled_from(STATUSES),
    run=st.sampled_from([None, "a", "b", "c"]),
    lease_seconds=st.sampled_from([None, 30]),
)


def as_read(entry: Entry | None) -> object:
    if entry is None:
        return None
    fields = (entry.key, entry.number, entry.id, entry.status, entry.run, entry.stored_at, entry.parts)
    message = json.loads(entry.payload)
    return (*fields, dict(entry.past_runs), message["data"], entry.lease_expires_at, entry.ttl_seconds)


def as_replayed(replay: Replay) -> object:
    messages = [json.loads(message) for message in replay.messages]
    told = [(message["data"], message["cursor"].rpartition(":")[2]) for message in messages]
    return replay.recovered, replay.cursor, told, [as_read(entry) for entry in replay.snapshot]


def as_paged(page: HistoryPage) -> object:
    messages = [json.loads(message) for message in page.messages]
    return page.more, [(message["data"], message["cursor"].rpartition(":")[2]) for message in messages]


class Model(RuleBasedStateMachine):
    """Histories of several nodes on one Redis, and the stream that they share."""

    server: RedisServer
    prefix: str
    numbers = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).numbers += 1
        self.clock = FakeClock()
        self.names = Names(f"{self.prefix}-{self.numbers}")
        self.runner = asyncio.Runner()
        self.run(self._open())
        self.sent: list[Publication] = []
        self.said = 0
        self.stream = self._begun(0)

    async def _open(self) -> None:
        self.stores = [RedisStore(RedisAddress.parse(self.server.url)) for _ in range(NODES)]
        self.nodes = [RedisHistory(store, self.names, self.clock, RETENTION) for store in self.stores]

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def teardown(self) -> None:
        async def close() -> None:
            for store in self.stores:
                await store.close()

        self.run(close())
        self.runner.close()

    def _begun(self, above: int) -> Stream:
        position = Position.parse(self.run(self.nodes[0].read(STREAM, None)).cursor)
        assert position is not None
        assert position.offset == 0
        version = max(int(self.clock.now() * 1000), above)
        return Stream(position.epoch, 0, version, retention=RETENTION)

    @rule(node=st.integers(0, NODES - 1), ttl_seconds=st.sampled_from([None, None, 20.0]))
    def say(self, node: int, ttl_seconds: float | None) -> None:
        self.said += 1
        note = for_user("anna", create_message("note", self.said))
        self._append(node, msgspec.structs.replace(note, ttl_seconds=ttl_seconds))
        # As a producer that has not heard of the first one.
        self._append((node + 1) % NODES, self.sent[-1])

    @rule(node=st.integers(0, NODES - 1), upload=UPLOADS, off=st.sampled_from([-1000, -1, 0, 0, 1]))
    def progress(self, node: int, upload: UploadProgress, off: float) -> None:
        self._append(node, for_user("anna", UploadProgressMessage(upload, timestamp(self.clock.now() + off))))

    @rule(node=st.integers(0, NODES - 1), upload=UPLOADS, part=st.integers(1, 2))
    def progress_of_a_part(self, node: int, upload: UploadProgress, part: int) -> None:
        shared = msgspec.structs.replace(upload, part=f"{part}/2", run=upload.run or "p")
        self._append(node, for_user("anna", UploadProgressMessage(shared, timestamp(self.clock.now()))))

    @rule(node=st.integers(0, NODES - 1), which=st.integers(0, 9))
    def say_again(self, node: int, which: int) -> None:
        if self.sent:
            self._append(node, self.sent[-1 - which % len(self.sent)])

    @rule(node=st.integers(0, NODES - 1), back=st.integers(0, 3))
    def acknowledge(self, node: int, back: int) -> None:
        position = self.stream.position
        seen = position._replace(offset=max(0, position.offset - back))
        self._append(node, seen_state(STREAM, seen, self.clock.now()))

    @rule(node=st.integers(0, NODES - 1), offset=st.integers(1, 9), is_present=st.booleans())
    def mark(self, node: int, offset: int, *, is_present: bool) -> None:
        known = self.stream.state(MARKS, self.clock.now())
        marks = marked(marks_of(known, self.stream.epoch), "read", [(offset, offset)])
        state = marks_state(STREAM, marks, known, self.clock.now())
        self._append(node, state if is_present else msgspec.structs.replace(state, replaces=0 if known else 7))

    @rule(node=st.integers(0, NODES - 1), upload=UPLOADS, is_present=st.booleans())
    def link(self, node: int, upload: UploadProgress, *, is_present: bool) -> None:
        self.said += 1
        first = for_user("anna", UploadProgressMessage(upload, timestamp(self.clock.now())))
        known = self.stream.state(first.key or "", self.clock.now())
        number = known.number if known is not None and is_present else 1
        linked = [
            msgspec.structs.replace(first, replaces=number, past_runs={} if known is None else known.past_runs),
            for_user("anna", create_message("note", self.said)),
        ]
        entries = self.run(self.nodes[node].append_linked(linked))
        expected = [self.stream.append(linked[0], self.clock.now())]
        expected.append(None if expected[0] is None else self.stream.append(linked[1], self.clock.now()))
        assert [as_read(entry) for entry in entries] == [as_read(entry) for entry in expected]

    @rule(count=st.integers(2, 8))
    def say_at_once_on_all_nodes(self, count: int) -> None:
        notes = [for_user("anna", create_message("note", self.said + number)) for number in range(1, count + 1)]
        self.said += count

        async def say() -> list[Entry | None]:
            return await asyncio.gather(*(self.nodes[n % NODES].append(note) for n, note in enumerate(notes)))

        self.sent += notes
        entries = [entry for entry in self.run(say()) if entry is not None]
        by_node = [[entry.number for entry in entries[node::NODES]] for node in range(NODES)]
        assert by_node == [sorted(numbers) for numbers in by_node], "those of one node keep their order"
        for entry in sorted(entries, key=lambda entry: entry.number):
            note = next(note for note in notes if note.id == entry.id)
            assert as_read(self._expected(note)) == as_read(entry)

    @rule(seconds=st.sampled_from([0.5, 5.0, 11.0, 40.0, 101.0, 400_000.0]))
    def wait(self, seconds: float) -> None:
        self.run(self.clock.advance(seconds))

    @rule(node=st.integers(0, NODES - 1))
    def forget(self, node: int) -> None:
        self.run(self.nodes[node].forget(STREAM))
        self.stream = self._begun(self.stream.version)

    @rule(node=st.integers(0, NODES - 1))
    def change_master(self, node: int) -> None:
        key = self.names.of_bucket("life", bucket_of(STREAM))
        self.run(self.stores[node].command("HSET", key, "r", "another", key=key))
        position = Position.parse(self.run(self.nodes[node].read(STREAM, None)).cursor)
        assert position is not None
        assert position.epoch != self.stream.epoch
        self.stream.epoch = position.epoch
        self.stream.version += VERSION_STEP

    def _append(self, node: int, publication: Publication) -> None:
        self.sent.append(publication)
        entry = self.run(self.nodes[node].append(publication))
        assert as_read(entry) == as_read(self._expected(publication))

    def _expected(self, publication: Publication) -> Entry | None:
        # Redis looks at the age of the known state, and the model removes what is too old after it has appended.
        self.stream.remove_old(self.clock.now())
        return self.stream.append(publication, self.clock.now())

    @invariant()
    def every_node_reads_the_same(self) -> None:
        now, offset, version = self.clock.now(), self.stream.offset, self.stream.version - 2
        cursors = [None, "0", "x:1", *(f"{self.stream.epoch}:{max(0, offset - back)}" for back in (-1, 0, 1, 5, 6))]
        versions = [None, version, None, version, None, version, None, version]
        leases = self.names.of_bucket("leases", bucket_of(STREAM))

        async def read() -> tuple[list[Replay], list[bytes]]:
            of = zip(itertools.cycle(self.nodes), cursors, versions, strict=False)
            replays = asyncio.gather(*(node.read(STREAM, cursor, version) for node, cursor, version in of))
            words = ("ZRANGE", leases, 0, -1, "WITHSCORES")
            found = await self.stores[0].command(*words, key=leases, writes=False)
            return await replays, found

        replays, found = self.run(read())
        expected = [self.stream.read(cursor, now, version) for cursor, version in zip(cursors, versions, strict=True)]
        assert [as_replayed(each) for each in replays] == [as_replayed(each) for each in expected]
        scores = {upload_of(member): float(score) for member, score in zip(found[::2], found[1::2], strict=True)}
        leased = {(STREAM, entry.key): entry.lease_expires_at for entry in self.stream.leased_uploads()}
        # A running upload that is far too old is removed with the next one that begins.
        assert leased.items() <= scores.items()
        old = self.clock.now() - RETENTION.running_max_age_seconds
        assert all(score <= old + 100_000 for member, score in scores.items() if member not in leased)

    @invariant()
    def every_node_reads_the_same_pages(self) -> None:
        asked = [
            (before, *bounds)
            for before in (None, 0, *(max(0, self.stream.offset - back) for back in (-2, 0, 3, 9)))
            for bounds in ((3, 100_000), (100, 1))
        ]

        async def read() -> list[HistoryPage]:
            nodes = itertools.cycle(self.nodes)
            return await asyncio.gather(*(node.page(STREAM, *each) for node, each in zip(nodes, asked, strict=False)))

        expected = [self.stream.page(*each, self.clock.now()) for each in asked]
        assert [as_paged(each) for each in self.run(read())] == [as_paged(each) for each in expected]

    @invariant()
    def its_counts_are_those_of_what_is_there(self) -> None:
        names = {
            kind: self.names.of_stream(kind, STREAM) for kind in ("meta", "log", "ids", "states", "running", "ended")
        }

        async def command(name: str, kind: str, *arguments: str | int) -> Any:
            return await self.stores[0].command(name, names[kind], *arguments, key=names[kind], writes=False)

        async def counts() -> Any:
            return await asyncio.gather(
                command("HMGET", "meta", "c", "b", "rb", "eb"),
                command("LRANGE", "log", 0, -1),
                command("HLEN", "ids"),
                command("HGETALL", "states"),
                command("ZRANGE", "running", 0, -1),
                command("ZRANGE", "ended", 0, -1),
            )

        told, log, ids, states, running, ended = self.run(counts())
        size = {key: len(payload) for key, payload in zip(states[::2], states[1::2], strict=True)}
        assert set(running).isdisjoint(ended)
        # What is seen is no upload, and in no index.
        assert set(running) | set(ended) == {key for key in size if key.startswith(b"upload:")}
        assert [int(each or 0) for each in told] == [
            len(log),
            sum(len(_read_message(element).payload) for element in log),
            sum(size[key] for key in running),
            sum(size[key] for key in ended),
        ]
        assert ids == len(log) <= RETENTION.max_messages
        assert len(ended) <= RETENTION.max_states


# A quarter of them each, so that none takes as long as a test may on a busy machine.
@pytest.mark.parametrize("quarter", [0, *(pytest.param(number, marks=pytest.mark.long) for number in (1, 2, 3))])
def test_histories_of_several_nodes_are_one_stream(redis_server: RedisServer, redis_prefix: str, quarter: int) -> None:
    @seed(quarter)
    class Here(Model):
        server = redis_server
        prefix = f"{redis_prefix}-{quarter}"

    run_state_machine_as_test(
        Here, settings=settings(max_examples=25, stateful_step_count=25, deadline=None, phases=[Phase.generate])
    )
