"""A play of presence on DynamoDB: functions side by side that may end anywhere, and the watchers afterwards.

Users       subscribe, unsubscribe and end, each by a function of its own; some functions end in the middle
Management  hands posts to watchers, who know what a client would
Sweeper     runs as on AWS, and a last time; then every watcher knows exactly those who are subscribed
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from bench.disturbed_dynamodb import Disturbances, Disturbed, FunctionEnded
from tellwire.aws_api.client import Payload, Retries
from tellwire.engines.aws import topic_presence
from tellwire.engines.aws.carrier import AwsCarrier
from tellwire.engines.aws.connections import ConnectionRow, ConnectionsTable
from tellwire.engines.aws.environment import open_table
from tellwire.engines.aws.presence_sweep import PresenceSweep
from tellwire.engines.aws.topic_presence import AwsTopicPresence
from tellwire.errors import PublishError
from tellwire.http_messages import HttpResponse
from tellwire.limits import AWS_PRESENCE_CHECK_SECONDS, AWS_PRESENCE_HOLD_SECONDS, PRESENCE_GRACE_SECONDS
from tellwire.publication import topic_stream
from tellwire.testing import FakeClock
from tests.dynamodb import create_connections_table, local_environment, new_table_name

TOPIC = "moc:1:comments"
QUICK = Retries(attempts=4, first_wait_seconds=0.001, longest_wait_seconds=0.01)


class Mortal(Disturbed):
    """A client of DynamoDB in a function that asks for nothing more once it has ended, not even to clean up."""

    has_ended = False

    async def _request(self, operation: str, parameters: Any) -> HttpResponse:
        if self.has_ended:
            raise FunctionEnded
        try:
            return await super()._request(operation, parameters)
        except FunctionEnded:
            self.has_ended = True
            raise


@dataclass
class Watcher:
    """A client that watches, with the members that it knows."""

    known: set[str] = field(default_factory=set)
    count: int = 0
    heard: list[tuple[str, str]] = field(default_factory=list)

    def hear(self, payload: bytes) -> None:
        message = json.loads(payload)
        data = message["data"]
        self.count = data["count"]
        self.heard.append((message["type"], data.get("userId", "")))
        if message["type"] == "join":
            self.known.add(data["userId"])
        elif message["type"] == "leave":
            self.known.discard(data["userId"])
        elif "members" in data:
            self.known = {each["userId"] for each in data["members"]}


@dataclass
class Posts:
    """`Management` for watchers in this process. A post takes a moment, as one to API Gateway does."""

    watchers: dict[str, Watcher] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)

    async def post(self, connection_id: str, payload: Payload, *, may_repeat: bool = False) -> bool:
        await asyncio.sleep(random.random() * 0.01)
        if connection_id not in self.open:
            return False
        if connection_id in self.watchers:
            self.watchers[connection_id].hear(payload.body or b"")
        return True

    async def get(self, connection_id: str) -> object | None:
        return object() if connection_id in self.open else None


@dataclass
class Play:
    """The topic, and the functions that work on it."""

    environ: dict[str, str]
    clock: FakeClock
    posts: Posts = field(default_factory=Posts)
    tables: list[ConnectionsTable] = field(default_factory=list)

    def table(self, disturbances: Disturbances | None = None, seed: int = 0) -> ConnectionsTable:
        """Return the table of a function of its own."""
        table = open_table(self.environ, self.clock, QUICK)
        if disturbances is not None:
            table._dynamodb = Mortal(table._dynamodb._client, disturbances, random.Random(seed))
        self.tables.append(table)
        return table

    def presence(self, table: ConnectionsTable) -> AwsTopicPresence:
        management: Any = self.posts
        return AwsTopicPresence(table, AwsCarrier(table, management, self.clock), self.clock)

    def row(self, user_id: str, connection_id: str) -> ConnectionRow:
        now = self.clock.now()
        return ConnectionRow(user_id, connection_id, now, now + 7200, now + 7000, None)

    async def subscribe(self, table: ConnectionsTable, user_id: str, connection_id: str) -> None:
        """Subscribe, as the function behind `$default` does."""
        self.posts.open.add(connection_id)
        row, presence = self.row(user_id, connection_id), self.presence(table)
        is_told = await presence.comes(TOPIC, row, None)
        await table.members.add(TOPIC, row, has_presence=True)
        try:
            if not await presence.has_come(TOPIC, row, None, is_told=is_told, at_most_seconds=1):
                await presence.settle(TOPIC, user_id)
        except PublishError:
            pass  # the machine is busy: the sweeper does it

    async def unsubscribe(self, table: ConnectionsTable, user_id: str, connection_id: str) -> None:
        """Unsubscribe, as the function behind `$default` does."""
        await self.presence(table).leaves(TOPIC, user_id, connection_id)
        await table.members.remove_from(TOPIC, connection_id)
        await self.presence(table).settle(TOPIC)

    async def end(self, table: ConnectionsTable, connection_id: str) -> None:
        """End a connection, as the function behind `$disconnect` does."""
        self.posts.open.discard(connection_id)
        for member in await table.members.of_connection(connection_id):
            await table.lose(member)

    async def watch(self, user_id: str, connection_id: str) -> Watcher:
        watcher = self.posts.watchers[connection_id] = Watcher()
        table = self.table()
        await self.subscribe(table, user_id, connection_id)
        await self.watch_again(connection_id)
        return watcher

    async def watch_again(self, connection_id: str) -> None:
        table = self.table()
        member = await table.members.find(TOPIC, connection_id)
        assert member is not None

        async def send(payload: bytes) -> None:
            self.posts.watchers[connection_id].hear(payload)

        assert await self.presence(table).watch(member, send)

    async def sweep(self, seconds: float) -> bool:
        await self.clock.advance(seconds)
        table, management = self.table(), self.posts
        return await PresenceSweep(table, self.presence(table), management, self.clock).run()  # type: ignore[arg-type]

    async def settled(self) -> tuple[int, set[str]]:
        """Move the clock until everything must be right, and return the members."""
        for seconds in (AWS_PRESENCE_HOLD_SECONDS + PRESENCE_GRACE_SECONDS, AWS_PRESENCE_CHECK_SECONDS, 60, 60):
            assert await self.sweep(seconds)
        found = await self.presence(self.table()).members(topic_stream(TOPIC))
        return found.count, {each.user_id for each in found.members}


@pytest.fixture
async def play(dynamodb_local: str) -> AsyncIterator[Play]:
    name = new_table_name("connections")
    create_connections_table(dynamodb_local, name)
    play = Play(local_environment(dynamodb_local) | {"CONNECTIONS_TABLE_NAME": name}, FakeClock(time.time()))
    yield play
    for table in play.tables:
        await table.close()


async def test_many_who_come_at_once_are_told_once_each(play: Play) -> None:
    watcher = await play.watch("ann", "c-ann")
    users = [f"user-{number}" for number in range(30)]
    await asyncio.gather(*(play.subscribe(play.table(), user, f"c-{user}") for user in users))
    assert await play.settled() == (31, {"ann", *users})  # on a busy machine the sweeper tells of the last ones
    assert (watcher.known, watcher.count) == ({"ann", *users}, 31)
    joins = [user for kind, user in watcher.heard if kind == "join"]
    assert len(joins) == len(set(joins))
    # A second device of each is nobody new.
    watcher.heard.clear()
    await asyncio.gather(*(play.subscribe(play.table(), user, f"d-{user}") for user in users))
    await asyncio.gather(*(play.end(play.table(), f"c-{user}") for user in users))
    assert await play.settled() == (31, {"ann", *users})
    assert watcher.heard == []
    await asyncio.gather(*(play.end(play.table(), f"d-{user}") for user in users))
    assert await play.settled() == (1, {"ann"})
    assert (watcher.known, watcher.count) == ({"ann"}, 1)


@dataclass
class Life:
    """A user who comes and goes; some functions that work for the user end in the middle."""

    play: Play
    user_id: str
    random: random.Random
    ended: int = 0

    async def live(self) -> None:
        for number in range(4):
            connection_id = f"{self.user_id}-{number}"
            await self._try(self.play.subscribe, self.user_id, connection_id, is_repeated=self._chance())
            await asyncio.sleep(self.random.random() * 0.1)
            if number == 3 and self._chance():
                return
            if self._chance():
                await self._try(self.play.unsubscribe, self.user_id, connection_id, is_repeated=True)
            else:
                await self._try(self.play.end, connection_id, is_repeated=False)

    async def _try(self, work: Callable[..., Awaitable[None]], *arguments: str, is_repeated: bool) -> None:
        """Call a function; `is_repeated`: its client asks again if there is no answer."""
        disturbances = Disturbances((0.0, 0.03), lost=0.1, ended=0.15)
        try:
            await work(self.play.table(disturbances, self.random.randrange(1 << 30)), *arguments)
        except FunctionEnded:
            self.ended += 1
            if is_repeated:
                await work(self.play.table(), *arguments)

    def _chance(self) -> bool:
        return self.random.random() < 0.5


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 6))])
async def test_functions_that_end_anywhere(play: Play, seed: int) -> None:
    generator = random.Random(seed)
    watchers = [await play.watch(f"watcher-{number}", f"w-{number}") for number in range(2)]
    lives = [Life(play, f"user-{number}", random.Random(generator.random())) for number in range(12)]
    await asyncio.gather(*(life.live() for life in lives))
    assert sum(life.ended for life in lives) > 0
    count, members = await play.settled()
    subscribed = {
        member.user_id
        async for page, _ in play.table().members.of_topic(TOPIC)
        for member in page
        if member.connection_id in play.posts.open
    }
    assert (count, members) == (len(subscribed), subscribed)
    for watcher in watchers:
        assert (watcher.known, watcher.count) == (members, count)


async def test_above_the_limit_only_the_number_is_told_and_below_it_all_again(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_presence, "MAX_PRESENCE_MEMBERS", 10)
    watcher = await play.watch("ann", "c-ann")
    users = [f"user-{number:02}" for number in range(30)]
    await asyncio.gather(*(play.subscribe(play.table(), user, f"c-{user}") for user in users))
    await play.settled()
    assert watcher.count == 31
    # Not one for each of the last twenty.
    assert len([kind for kind, _ in watcher.heard if kind == "presence"]) < 10
    for user in users[:21]:
        await play.end(play.table(), f"c-{user}")
    assert await play.settled() == (10, {"ann", *users[21:]})
    assert (watcher.known, watcher.count, watcher.heard[-1]) == ({"ann", *users[21:]}, 10, ("presence", ""))
    await play.subscribe(play.table(), users[0], "again")
    await play.settled()
    assert watcher.count == 11
