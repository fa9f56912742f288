"""The contract of escalations on every engine: in memory, in an SQLite file, in Redis with two nodes, in DynamoDB with
two sweepers. Each has its own watch of leases; the rest is the same.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest

from tellwire.broker import ComposedBroker
from tellwire.engines.aws.history import DynamoHistory
from tellwire.engines.leases import Leases
from tellwire.engines.memory.history import MemoryHistory
from tellwire.engines.redis.history import RedisHistory
from tellwire.engines.redis.lease_watch import LeaseWatch
from tellwire.engines.sqlite.history import SqliteHistory
from tellwire.entry import Entry
from tellwire.errors import HistoryUnavailable, InvalidMessage, TooManyEscalations
from tellwire.escalation import EscalationRules
from tellwire.escalations import CallOutcome, Escalations
from tellwire.lease_expiry import LeaseExpiry
from tellwire.limits import (
    ESCALATION_CALL_SECONDS,
    ESCALATION_FIRST_WAIT_SECONDS,
    ESCALATION_TRIED_SECONDS,
    MAX_ESCALATIONS,
)
from tellwire.marks import MARKS, marked, marks_of, marks_state
from tellwire.messages import create_message, create_notification_message
from tellwire.model import Delivery, Target
from tellwire.ports import History, Published
from tellwire.position import START, Position
from tellwire.publication import Publication, escalation_stream, user_stream
from tellwire.retention import Retention
from tellwire.testing import FakeClock, MemoryCarrier
from tests.publications import acknowledge
from tests.tools import until

ANNA = "anna"
AFTER = 60
USERS = user_stream(ANNA)
ESCALATIONS = escalation_stream(ANNA)
RULES = EscalationRules(frozenset({"mail", "push"}), 24 * 3600)


class Watch(Protocol):
    """A watch of leases, as each engine has it."""

    async def look(self, seconds: float) -> None:
        """Pass so many seconds, with the looks of that time."""
        ...

    async def close(self) -> None: ...


class Node:
    """A process with its escalations. Its calls are recorded; `outcome` is that of each."""

    def __init__(self, history: History, clock: FakeClock, kept: Callable[[Entry], None] = lambda entry: None) -> None:
        self.escalations = Escalations(history, clock, kept)
        self.escalations.call = self._call
        self.expire = LeaseExpiry(ComposedBroker(history, MemoryCarrier()), clock, None, self.escalations).expire
        self.calls: list[tuple[str, dict[str, Any], str, str]] = []
        self.outcome: CallOutcome = "called"
        self.answers = asyncio.Event()
        self.answers.set()
        self.busy = 0

    async def _call(self, target: str, body: bytes, request_id: str, user_id: str) -> CallOutcome:
        self.calls.append((target, json.loads(body), request_id, user_id))
        await self.answers.wait()
        return self.outcome

    async def watched(self, entry: Entry, silent_seconds: float | None = None) -> bool:
        self.busy += 1
        try:
            return await self.expire(entry, silent_seconds)
        finally:
            self.busy -= 1

    async def rest(self) -> None:
        await until(lambda: not self.busy)
        if self.answers.is_set():
            await self.escalations.idle()


def _step(least: float, seconds: float) -> float:
    """Return the time between two looks: a long time has no more of them than a short one."""
    return max(least, seconds / 8)


class LocalWatch:
    """The timer wheel of an engine of one process."""

    def __init__(self, node: Node, leases: Leases, clock: FakeClock) -> None:
        self._clock = clock
        self._node = node
        self._task = asyncio.create_task(leases.watch(node.watched))

    async def look(self, seconds: float) -> None:
        end = self._clock.monotonic() + seconds
        while self._clock.monotonic() < end:
            await self._clock.advance(min(_step(20.0, seconds), end - self._clock.monotonic()))
            await self._node.rest()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


class RedisWatch:
    def __init__(self, nodes: list[Node], history: RedisHistory, clock: FakeClock) -> None:
        self._clock = clock
        self._nodes = nodes
        names = [f"node-{number}" for number in range(len(nodes))]
        store, prefix = history._store, history._names
        self._watches = [
            # Each believes that it is alone: both look at every bucket, at once.
            LeaseWatch(store, prefix, history, clock, node.watched, name, partial(list, [name]))
            for name, node in zip(names, nodes, strict=True)
        ]

    async def look(self, seconds: float) -> None:
        end = self._clock.monotonic() + seconds
        while self._clock.monotonic() < end:
            await self._clock.advance(min(_step(20.0, seconds), end - self._clock.monotonic()))
            await asyncio.gather(*[each.check() for each in self._watches])
            await asyncio.gather(*[each.rest() for each in self._nodes])

    async def close(self) -> None:
        pass


class SweeperWatch:
    def __init__(self, nodes: list[Node], history: DynamoHistory, clock: FakeClock) -> None:
        self._clock = clock
        self._nodes = nodes
        self._history = history

    async def look(self, seconds: float) -> None:
        end = self._clock.monotonic() + seconds
        while self._clock.monotonic() < end:
            await self._clock.advance(min(_step(60.0, seconds), end - self._clock.monotonic()))
            await asyncio.gather(*[self._history.sweep(each.watched) for each in self._nodes])
            await asyncio.gather(*[each.rest() for each in self._nodes])

    async def close(self) -> None:
        pass


class World(ComposedBroker):
    """A user, notifications, and one or two nodes that watch them."""

    def __init__(self, history: History, clock: FakeClock) -> None:
        self.history = history
        self.clock = clock
        self.carrier = MemoryCarrier()
        super().__init__(history, self.carrier)
        history._escalations = RULES  # type: ignore[attr-defined]
        self.nodes: list[Node] = []
        self.watch = self._watch()

    def _watch(self) -> Watch:
        history = self.history
        if isinstance(history, MemoryHistory | SqliteHistory):
            leases = Leases(self.clock)
            history.on_escalation = leases.note
            self.nodes = [Node(history, self.clock, leases.note)]
            return LocalWatch(self.nodes[0], leases, self.clock)
        self.nodes = [Node(history, self.clock), Node(history, self.clock)]
        if isinstance(history, RedisHistory):
            return RedisWatch(self.nodes, history, self.clock)
        assert isinstance(history, DynamoHistory)
        return SweeperWatch(self.nodes, history, self.clock)

    async def say(
        self, after: float = AFTER, target: str = "mail", message_id: str | None = None, user: str = ANNA
    ) -> Published:
        message = create_notification_message(
            "Server down", "db-1", "error", escalate={"after_seconds": after, "target": target}
        )
        if message_id is not None:
            message = msgspec.structs.replace(message, id=message_id)
        return await self.publish(Publication.of(Target(user=user), message))

    async def plain(self, number: int = 0) -> Published:
        return await self.publish(Publication.of(Target(user=ANNA), create_message("note", number)))

    @property
    def calls(self) -> list[tuple[str, dict[str, Any], str, str]]:
        return [call for node in self.nodes for call in node.calls]

    @property
    def counts(self) -> tuple[int, int, int]:
        counts = [each.escalations.counts for each in self.nodes]
        return (
            sum(each.called for each in counts),
            sum(each.acknowledged for each in counts),
            sum(each.failed for each in counts),
        )

    async def states(self) -> list[str | None]:
        """Return the statuses of escalations that have not ended."""
        snapshot = (await self.history.read(ESCALATIONS, None)).snapshot
        return [each.status for each in snapshot if not each.is_final]

    async def leased(self) -> list[str | None]:
        return [entry.key async for entry in self.history.leased_uploads()]


def cursor_of(published: Published) -> str:
    assert published.entry is not None
    cursor: str = json.loads(published.entry.payload)["cursor"]
    return cursor


async def mark(world: World, published: Published, kind: Any) -> None:
    position = Position.parse(cursor_of(published))
    assert position is not None
    known = await world.history.state(USERS, MARKS)
    marks = marked(marks_of(known, position.epoch), kind, [(position.offset, position.offset)])
    assert await world.history.append(marks_state(USERS, marks, known, world.clock.now())) is not None


@pytest.fixture
async def world(history: History, clock: FakeClock) -> AsyncIterator[World]:
    world = World(history, clock)
    yield world
    await world.watch.close()


async def test_nobody_has_acknowledged_it_so_its_target_is_called_once(world: World) -> None:
    published = await world.say()
    assert published.entry is not None
    await world.watch.look(AFTER - 2)
    assert world.calls == []
    await world.watch.look(4 + AFTER)
    ((target, body, request_id, user_id),) = world.calls
    assert (target, user_id, body["type"]) == ("mail", ANNA, "escalation")
    assert request_id.startswith("msg_")
    data = body["data"]
    assert (data["userId"], data["afterSeconds"], data["attempt"]) == (ANNA, AFTER, 1)
    assert data["message"]["data"] == {"title": "Server down", "message": "db-1", "severity": "error"}
    assert data["message"]["id"] == published.entry.id
    assert data["publishedAt"] == data["message"]["timestamp"]
    await world.watch.look(3600)
    assert len(world.calls) == 1
    assert (world.counts, await world.states(), await world.leased()) == ((1, 0, 0), [], [])


async def test_devices_get_the_notification_and_nothing_of_its_escalation(world: World) -> None:
    before = await world.history.read(USERS, None)
    await world.say()
    (_,) = world.carrier.sent
    replay = await world.history.read(USERS, START)
    (message,) = map(json.loads, replay.messages)
    assert "escalate" not in message
    assert (before.snapshot, replay.snapshot) == ([], [])
    page = await world.history.page(USERS, None, 10, 100_000)
    assert len(page.messages) == 1
    await world.watch.look(AFTER + 5)
    assert len(world.calls) == 1
    assert len(world.carrier.sent) == 1


@pytest.mark.parametrize("way", ["seen", "seen later", "read", "dismissed"])
async def test_whoever_has_acknowledged_it_is_left_alone(world: World, way: str) -> None:
    published = await world.say()
    later = await world.plain()
    await world.watch.look(AFTER / 2)
    match way:
        case "seen":
            await acknowledge(world.history, ANNA, cursor_of(published), world.clock.now())
        case "seen later":
            await acknowledge(world.history, ANNA, cursor_of(later), world.clock.now())
        case _:
            await mark(world, published, way)
    await world.watch.look(AFTER * 2)
    assert (world.calls, world.counts, await world.states()) == ([], (0, 1, 0), [])


async def test_what_was_seen_before_it_does_not_count(world: World) -> None:
    before = await world.plain()
    read_before = await world.plain(1)
    published = await world.say()
    after = await world.plain(2)
    await acknowledge(world.history, ANNA, cursor_of(before), world.clock.now())
    await mark(world, read_before, "read")
    await mark(world, after, "dismissed")
    await world.watch.look(AFTER + 5)
    ((_, body, _, _),) = world.calls
    assert published.entry is not None
    assert body["data"]["message"]["id"] == published.entry.id


async def test_seen_during_the_call_changes_nothing_and_after_it_neither(world: World) -> None:
    for node in world.nodes:
        node.answers.clear()
    published = await world.say()
    await world.watch.look(AFTER + 5)
    assert len(world.calls) == 1
    assert await world.states() == ["calling"]
    await acknowledge(world.history, ANNA, cursor_of(published), world.clock.now())
    for node in world.nodes:
        node.answers.set()
        await node.escalations.idle()
    await world.watch.look(2 * ESCALATION_CALL_SECONDS)
    assert (len(world.calls), world.counts, await world.states()) == (1, (1, 0, 0), [])


async def test_a_node_that_dies_in_the_call_is_followed_by_another_with_the_same_id(world: World) -> None:
    for node in world.nodes:
        node.answers.clear()
    await world.say()
    await world.watch.look(AFTER + 5)
    (first,) = world.calls
    for node in world.nodes:
        for task in list(node.escalations._calls):
            task.cancel()
        node.answers.set()
    await world.watch.look(ESCALATION_CALL_SECONDS / 2)
    assert len(world.calls) == 1
    await world.watch.look(ESCALATION_CALL_SECONDS)
    assert [call[2] for call in world.calls] == [first[2]] * 2
    assert sorted(call[1]["data"]["attempt"] for call in world.calls) == [1, 2]
    assert (world.counts, await world.states()) == ((1, 0, 0), [])


async def test_a_target_that_is_away_is_called_again_later(world: World) -> None:
    for node in world.nodes:
        node.outcome = "away"
    await world.say()
    await world.watch.look(AFTER + 2)
    assert len(world.calls) == 1
    await world.watch.look(ESCALATION_FIRST_WAIT_SECONDS * 6 + 60)
    attempts = len(world.calls)
    assert attempts >= 2
    assert await world.states() == ["calling"]
    for node in world.nodes:
        node.outcome = "called"
    await world.watch.look(3600)
    assert (len(world.calls), world.counts, await world.states()) == (attempts + 1, (1, 0, 0), [])
    assert len({call[2] for call in world.calls}) == 1


async def test_a_user_who_comes_back_while_the_target_is_away_is_left_alone(world: World) -> None:
    for node in world.nodes:
        node.outcome = "away"
    published = await world.say()
    await world.watch.look(AFTER + 2)
    calls = len(world.calls)
    assert calls == 1
    await acknowledge(world.history, ANNA, cursor_of(published), world.clock.now())
    await world.watch.look(3600)
    assert (len(world.calls), world.counts, await world.states()) == (calls, (0, 1, 0), [])


@pytest.mark.parametrize("outcome", ["away", "unknown"])
async def test_after_a_day_nobody_is_called_any_more(world: World, outcome: CallOutcome) -> None:
    for node in world.nodes:
        node.outcome = outcome
    await world.say(after=1)
    await world.watch.look(2)
    for _ in range(3):
        await world.watch.look(60)
    world.clock.skip(ESCALATION_TRIED_SECONDS)
    await world.watch.look(3700)
    calls = len(world.calls)
    await world.watch.look(3700)
    assert (len(world.calls), world.counts, await world.states()) == (calls, (0, 0, 1), [])


async def test_a_target_that_refuses_is_not_called_again(world: World) -> None:
    for node in world.nodes:
        node.outcome = "refused"
    await world.say()
    await world.watch.look(AFTER + 3600)
    assert (len(world.calls), world.counts, await world.states()) == (1, (0, 0, 1), [])


@pytest.mark.parametrize("retention", [Retention(max_messages=3)])
async def test_a_notification_that_its_stream_keeps_no_more_is_escalated_all_the_same(world: World) -> None:
    published = await world.say()
    for number in range(5):
        await world.plain(number)
    assert all(json.loads(each)["type"] == "note" for each in (await world.history.read(USERS, START)).messages)
    await world.watch.look(AFTER + 5)
    ((_, body, _, _),) = world.calls
    assert published.entry is not None
    assert body["data"]["message"]["id"] == published.entry.id


async def test_a_repeated_publish_is_escalated_once(world: World) -> None:
    first = await world.say(message_id="invoice 7")
    again = await world.say(message_id="invoice 7")
    assert (first.entry is not None, again) == (True, Published(None, Delivery()))
    await world.watch.look(AFTER + 5)
    again = await world.say(message_id="invoice 7")
    assert again.entry is None
    await world.watch.look(AFTER + 5)
    assert len(world.calls) == 1


async def test_one_id_for_two_users_is_two_calls(world: World) -> None:
    await world.say(message_id="invoice 7")
    await world.say(message_id="invoice 7", user="ben")
    await world.watch.look(AFTER + 5)
    assert sorted(call[3] for call in world.calls) == [ANNA, "ben"]
    assert len({call[2] for call in world.calls}) == 2


@pytest.mark.parametrize(
    ("after", "target", "words"),
    [(60, "fax", "mail, push"), (86_401, "mail", "at most 86,400 seconds")],
)
async def test_what_the_settings_do_not_allow_is_not_published(
    world: World, after: float, target: str, words: str
) -> None:
    with pytest.raises(InvalidMessage, match=words):
        await world.say(after, target)
    assert (await world.history.read(USERS, START)).messages == []
    assert (await world.states(), await world.leased()) == ([], [])


async def test_too_many_that_wait_are_refused_both_or_none(world: World) -> None:
    for number in range(MAX_ESCALATIONS):
        assert (await world.say(message_id=f"m{number}")).entry is not None
    with pytest.raises(TooManyEscalations, match="100"):
        await world.say(message_id="one more")
    replay = await world.history.read(USERS, START)
    assert len(replay.messages) == MAX_ESCALATIONS
    # A message of another kind, another user and a repeated one have room.
    assert (await world.plain()).entry is not None
    assert (await world.say(user="ben")).entry is not None
    assert (await world.say(message_id="m99")) == Published(None, Delivery())
    await world.watch.look(AFTER + 5)
    assert (await world.say(message_id="one more")).entry is not None


async def test_those_that_are_acknowledged_make_room(world: World) -> None:
    first = [await world.say(message_id=f"m{number}") for number in range(MAX_ESCALATIONS)]
    await acknowledge(world.history, ANNA, cursor_of(first[59]), world.clock.now())
    assert (await world.say(message_id="one more")).entry is not None
    assert len(await world.states()) == 41
    await world.watch.look(AFTER + 10)
    assert len(world.calls) == 41
    assert await world.states() == []


async def test_a_batch_keeps_its_order_and_tells_each_its_outcome(world: World) -> None:
    def escalated(target: str) -> Publication:
        escalate = {"after_seconds": AFTER, "target": target}
        return Publication.of(Target(user=ANNA), create_notification_message("T", "M", "info", escalate=escalate))

    def note(number: int) -> Publication:
        return Publication.of(Target(user=ANNA), create_message("note", number))

    outcomes = await world.publish_all([note(1), escalated("mail"), escalated("fax"), note(2)])
    numbers = [each.entry.number if isinstance(each, Published) and each.entry else None for each in outcomes]
    assert numbers == [1, 2, None, 3]
    assert isinstance(outcomes[2], InvalidMessage)
    await world.watch.look(AFTER + 5)
    assert len(world.calls) == 1


async def test_a_user_who_is_forgotten_is_not_escalated(world: World) -> None:
    await world.say()
    for stream in (USERS, ESCALATIONS):
        await world.history.forget(stream)
    assert await world.leased() == []
    await world.watch.look(AFTER * 3)
    # A lease of before may expire in this process; it finds nothing.
    assert (world.calls, world.counts) == ([], (0, 0, 0))


async def test_a_store_that_is_away_for_a_moment_delays_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.say()
    state = type(world.history).state
    failures = [HistoryUnavailable("away")] * 2

    async def failing(self: Any, stream: Any, key: str) -> Entry | None:
        if stream == USERS and failures:
            raise failures.pop()
        return await state(self, stream, key)

    monkeypatch.setattr(type(world.history), "state", failing)
    await world.watch.look(AFTER + 5)
    await world.watch.look(AFTER + 5)
    assert (failures, len(world.calls), world.counts) == ([], 1, (1, 0, 0))


async def test_a_pause_of_the_server_prolongs_no_wait(world: World) -> None:
    await world.say(after=3600)
    await world.watch.look(30)
    world.clock.skip(3500)
    await world.watch.look(30)
    assert world.calls == []
    await world.watch.look(60)
    assert len(world.calls) == 1


@pytest.mark.parametrize("history", ["sqlite"], indirect=True)
async def test_what_waits_in_a_file_waits_over_a_restart(world: World, clock: FakeClock, tmp_path: Path) -> None:
    await world.say()
    await world.say(after=600)
    await world.watch.look(30)
    await world.watch.close()
    await world.history.close()
    clock.skip(300)
    history = SqliteHistory(tmp_path / "history.sqlite3", clock)
    leases = Leases(clock)
    node = Node(history, clock, leases.note)
    await leases.load(history)
    watch = LocalWatch(node, leases, clock)
    # One is late: at once. The other one waits for its time, and not for another ten minutes.
    await watch.look(3)
    assert len(node.calls) == 1
    await watch.look(260)
    assert len(node.calls) == 1
    await watch.look(20)
    assert len(node.calls) == 2
    await watch.close()
    await history.close()
