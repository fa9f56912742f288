"""The delivery promise on DynamoDB with slow, cut and lost calls: writers, and devices that ask at odd moments.

    Disturbed    a DynamoDB client: its writes take a while, lose their answer, or end with their function
    Listener     a client's resequencer ─▶ what its application hears, and whether it was told that all was recovered
    Matrix       writers and listeners on one user ─▶ accepted messages are compared with those that each listener heard

A message whose writer got an entry was accepted. One whose writer ended may be heard, or not, but not twice.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tellwire import protocol, wire
from tellwire.aws_api.dynamodb import DynamoDb
from tellwire.client.decode import read_message, read_welcome
from tellwire.client.resequencer import Mode, Resequencer
from tellwire.engines.aws.history import DynamoHistory
from tellwire.entry import Entry
from tellwire.errors import HistoryUnavailable
from tellwire.http_messages import HttpResponse
from tellwire.messages import create_message
from tellwire.model import Target, timestamp
from tellwire.position import START
from tellwire.publication import Publication, user_stream

_WRITES = ("PutItem", "UpdateItem", "TransactWriteItems")


class FunctionEnded(BaseException):
    """The function of a writer has run out of time. It is no `Exception`, as nothing can handle it."""


@dataclass(frozen=True, slots=True)
class Disturbances:
    """The faults of a writer's calls. `put_seconds` are the shortest and the longest time of a write of an item; `lost`
    and `ended` the parts of the writes whose answer is lost, and at which the function ends.
    """

    put_seconds: tuple[float, float] = (0.02, 0.02)
    lost: float = 0.0
    ended: float = 0.0


class Disturbed(DynamoDb):
    """A client of DynamoDB with these disturbances. A call whose answer was lost is repeated, as by the real client."""

    def __init__(self, client: Any, disturbances: Disturbances, generator: random.Random) -> None:
        super().__init__(client)
        self._disturbances = disturbances
        self._random = generator
        self.calls: Counter[str] = Counter()

    async def _request(self, operation: str, parameters: Any) -> HttpResponse:
        self.calls[operation] += 1
        given = self._disturbances
        if operation not in _WRITES:
            return await super()._request(operation, parameters)
        if operation != "UpdateItem":
            await asyncio.sleep(self._random.uniform(*given.put_seconds))
        chance = self._random.random()
        if chance < given.ended / 2:
            raise FunctionEnded
        response = await super()._request(operation, parameters)
        if chance < given.ended:
            raise FunctionEnded
        if chance < given.ended + given.lost:
            await asyncio.sleep(self._random.uniform(*given.put_seconds))
            return await super()._request(operation, parameters)
        return response


@dataclass
class Listener:
    """A device, and the messages its application hears. It asks whenever its resequencer misses something."""

    history: DynamoHistory
    user_id: str
    resequencer: Resequencer = field(default_factory=lambda: Resequencer(START))
    heard: list[str] = field(default_factory=list)
    recovered: list[bool] = field(default_factory=list)
    is_connected: bool = False
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def hello(self) -> None:
        """Ask for missed messages, until nothing is missing."""
        async with self._asking:
            self.is_connected = True
            await self._ask()
            while self.resequencer.mode is Mode.RESYNC:
                await asyncio.sleep(0.02)
                await self._ask()

    def live(self, entry: Entry) -> bool:
        """Take a message that is delivered live. True: something is missing, so a hello is due."""
        if not self.is_connected:
            return False
        message = read_message(entry.payload)
        assert message is not None
        self._hear(self.resequencer.receive(message))
        return self.resequencer.mode is Mode.RESYNC

    async def _ask(self) -> None:
        replay = await self.history.read(user_stream(self.user_id), self.resequencer.hello())
        head = wire.Welcome("c", self.user_id, replay.cursor, replay.recovered, timestamp(), heartbeat_seconds=25)
        for payload in protocol.welcome(head, replay):
            message = read_message(payload)
            page = None if message is None else read_welcome(message)
            if page is None:
                assert message is not None
                self._hear(self.resequencer.receive(message))  # too big for a page
                continue
            replayed = self.resequencer.page(page)
            self._hear(replayed.messages)
            if replayed.recovered is not None:
                self.recovered.append(replayed.recovered)

    def _hear(self, messages: list[Any]) -> None:
        self.heard += [message.data for message in messages if message.type == "numbered"]


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The outcome: accepted messages, those that some listener did not hear, heard twice or in another order."""

    accepted: int
    lost: int
    duplicated: int
    out_of_order: int
    not_recovered: int
    refused: int
    calls: Counter[str]


@dataclass
class Matrix:
    """Writers that publish at once to one user, and listeners that connect after `hellos` seconds each."""

    make_history: Callable[[Disturbances, random.Random], DynamoHistory]
    disturbances: Disturbances
    writers: int
    messages: int = 1
    hellos: tuple[float, ...] = (0.1,)
    user_id: str = "matrix"
    seed: int = 1
    accepted: list[Entry] = field(default_factory=list)
    refused: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    listeners: list[Listener] = field(default_factory=list)
    asking: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> Reconciled:
        """Run it. At the end every listener asks once more, as a client does whose `pong` says that it is behind."""
        generator = random.Random(self.seed)
        undisturbed = self.make_history(Disturbances((0.0, 0.0)), generator)
        self.listeners = [Listener(undisturbed, self.user_id) for _ in self.hellos]
        async with asyncio.TaskGroup() as group:
            for number in range(self.writers):
                group.create_task(self._write(number, random.Random(generator.random())))
            for listener, seconds in zip(self.listeners, self.hellos, strict=True):
                group.create_task(self._connect(listener, seconds))
        while self.asking:
            await asyncio.wait(self.asking)
        for listener in self.listeners:
            await listener.hello()
        return self._reconcile()

    async def _write(self, number: int, generator: random.Random) -> None:
        history = self.make_history(self.disturbances, generator)
        for count in range(self.messages):
            publication = Publication.of(Target(user=self.user_id), create_message("numbered", f"{number}-{count}"))
            try:
                entry = await history.append(publication)
            except FunctionEnded:
                break
            except HistoryUnavailable:
                self.refused += 1
                continue
            assert entry is not None
            self.accepted.append(entry)
            await asyncio.sleep(generator.uniform(0, 0.02))
            self._deliver(entry)
        dynamodb = history._table._dynamodb
        assert isinstance(dynamodb, Disturbed)
        self.calls.update(dynamodb.calls)

    def _deliver(self, entry: Entry) -> None:
        for listener in self.listeners:
            if listener.live(entry):
                self._ask(listener)

    def _ask(self, listener: Listener) -> None:
        task = asyncio.create_task(listener.hello())
        self.asking.add(task)
        task.add_done_callback(self.asking.discard)

    async def _connect(self, listener: Listener, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._ask(listener)

    def _reconcile(self) -> Reconciled:
        expected = [str(_data(entry)) for entry in sorted(self.accepted, key=lambda entry: entry.number)]
        heard = [listener.heard for listener in self.listeners]
        return Reconciled(
            len(self.accepted),
            sum(len(set(expected) - set(each)) for each in heard),
            sum(len(each) - len(set(each)) for each in heard),
            sum(_order(each, expected) != [one for one in expected if one in each] for each in heard),
            sum(listener.recovered.count(False) for listener in self.listeners),
            self.refused,
            self.calls,
        )


def _data(entry: Entry) -> Any:
    message = read_message(entry.payload)
    assert message is not None
    return message.data


def _order(heard: list[str], expected: list[str]) -> list[str]:
    known = set(expected)
    return [each for each in dict.fromkeys(heard) if each in known]
