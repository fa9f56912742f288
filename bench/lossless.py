"""Test of the delivery promise: published messages are compared with those that each device received.

Producer   publishes numbered messages and upload progress until they are accepted, some of them twice
Device     is disturbed at random, and records what its application receives (`device`)
Ledger     accepted messages by user ─▶ compared with the messages of each device ─▶ `Faults` (`ledger`)
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

import msgspec

from bench.device import Device
from bench.ledger import MESSAGE_TYPE, Arrival, Faults, Ledger, Received
from tellwire.broadcast import Broadcaster
from tellwire.client import ClientOptions
from tellwire.errors import HistoryUnavailable, PublishError
from tellwire.messages import Message, UploadProgress, UploadProgressMessage, create_message
from tellwire.model import Delivery

LONG_BYTES = 100_000
"""Size of a message that is longer than a page of a welcome."""

Publish = Callable[[str, Message], Awaitable[Delivery]]


TOPIC: Final = "topic:"


def publish_with(broadcaster: Broadcaster) -> Publish:
    """Return a function that publishes to a user, or to `topic:<name>`."""

    async def publish(target: str, message: Message) -> Delivery:
        if target.startswith(TOPIC):
            return await broadcaster.broadcast_to_topic(target.removeprefix(TOPIC), message)
        return await broadcaster.broadcast_to_user(target, message)

    return publish


class Producer:
    """Publishes messages to users and topics, one after the other, and repeats each until it is accepted."""

    def __init__(
        self, name: str, publish: Publish, users: Sequence[str], ledger: Ledger, generator: random.Random
    ) -> None:
        self._name = name
        self._publish = publish
        self._users = users
        self._ledger = ledger
        self._random = generator
        self._number = 0
        self._rows: dict[tuple[str, str], int] = {}
        self.retries = 0

    async def work(self, goes_on: Callable[[], bool], pause_seconds: float) -> None:
        """Publish as long as the play goes on, then complete every upload."""
        while goes_on():
            user_id = self._random.choice(self._users)
            if self._random.random() < 0.5:
                await self._publish_message(user_id)
            else:
                await self._publish_progress(user_id, f"{self._name}-{self._random.randrange(2)}")
            await asyncio.sleep(self._random.random() * 2 * pause_seconds)
        for user_id, upload_id in list(self._rows):
            await self._publish_progress(user_id, upload_id, is_last=True)

    async def _publish_message(self, user_id: str) -> None:
        self._number += 1
        message_id = f"{self._name}-{self._number}"
        size = LONG_BYTES if self._random.random() < 0.003 else self._random.randrange(2000)
        message = msgspec.structs.replace(create_message(MESSAGE_TYPE, {"filling": "x" * size}), id=message_id)
        self._ledger.send(message_id)
        for _ in range(2 if self._random.random() < 0.05 else 1):
            await self._until_accepted(user_id, message)
        self._ledger.accept(user_id, message_id)

    async def _publish_progress(self, user_id: str, upload_id: str, *, is_last: bool = False) -> None:
        row = self._rows[user_id, upload_id] = self._rows.get((user_id, upload_id), 0) + 1
        progress = UploadProgress(
            upload_id=upload_id,
            file_name="f.csv",
            progress=100 if is_last else min(99, row / 10),
            message="",
            current_row=row,
            status="complete" if is_last else "running",
        )
        await self._until_accepted(user_id, UploadProgressMessage(progress))
        self._ledger.accept_row(user_id, upload_id, row)

    async def _until_accepted(self, user_id: str, message: Message) -> None:
        while True:
            try:
                await self._publish(user_id, message)
            except (PublishError, HistoryUnavailable):
                self.retries += 1
                await asyncio.sleep(0.05)
            else:
                return


@dataclass(frozen=True, slots=True)
class Scenario:
    """Numbers of users, devices and producers, and times. A producer pauses `pause_seconds` on average.

    On a busy machine it goes on for longer than `seconds`, until `at_least` messages are published.
    The first device of each user is not disturbed: nothing that it does itself, as to connect again, mends what a
    gateway has left out. `longest_disturbance_seconds` None: none is. `name` begins the ids of users, and the names of
    topics, `topics` of them; each device follows half of them, or one.
    """

    seconds: float = 30.0
    users: int = 50
    devices_per_user: int = 4
    producers: int = 20
    pause_seconds: float = 0.05
    longest_disturbance_seconds: float | None = 3.0
    settle_seconds: float = 60.0
    seed: int = 1
    name: str = ""
    at_least: int = 0
    topics: int = 0


@dataclass(slots=True)
class Stage:
    """The devices and the ledger of a play that runs."""

    devices: list[Device]
    ledger: Ledger
    is_hushed: bool = False

    def hush(self) -> None:
        """End the producers now, before the play ends."""
        self.is_hushed = True

    def is_whole(self, since: float) -> bool:
        """Return whether everything is well again: each device is connected, a message was accepted since that time,
        and no device misses one.
        """
        now = monotonic()
        return self.ledger.accepted_at > since and all(
            device.is_up_to_date and not device.misses_any(now) for device in self.devices
        )

    async def seconds_to_whole(self, since: float, at_most_seconds: float, steady_seconds: float = 1.5) -> float:
        """Wait until everything is well, and stays so for a while; return the seconds from `since` until it was."""
        last_bad = monotonic()
        while monotonic() - last_bad < steady_seconds and monotonic() - since < at_most_seconds:
            await asyncio.sleep(0.02)
            if not self.is_whole(since):
                last_bad = monotonic()
        return last_bad - since


@dataclass(slots=True)
class Outcome:
    """The result of a scenario. `not_recovered` is the number of welcomes with `recovered: false`."""

    faults: Faults
    published: int
    received: int
    retries: int
    not_recovered: int
    settled_seconds: float
    incomplete: list[str] = field(default_factory=list)
    """The devices that miss something at the end, described."""
    arrivals: list[Arrival] = field(repr=False, default_factory=list)

    @property
    def is_flawless(self) -> bool:
        return self.faults.is_none and self.not_recovered == 0


Meanwhile = Callable[[Stage], Coroutine[Any, Any, None]]


async def run_scenario(
    scenario: Scenario,
    url: str,
    token_of: Callable[[str], str],
    *broadcasters: Broadcaster,
    meanwhile: Meanwhile | None = None,
    options: ClientOptions | None = None,
) -> Outcome:
    """Run producers and disturbed devices, and compare published with received messages.

    `meanwhile` runs at the same time, and may disturb the server. Producers publish until it has ended, too.
    """
    generator = random.Random(scenario.seed)
    users = [f"{scenario.name}user-{n}" for n in range(scenario.users)]
    topics = [f"{scenario.name}play:{n}" for n in range(scenario.topics)]
    ledger = Ledger()
    devices = [
        Device(
            user_id,
            url,
            lambda user_id=user_id: token_of(user_id),  # type: ignore[misc]
            random.Random(generator.random()),
            options,
            [topic for number, topic in enumerate(topics) if len(topics) == 1 or (number + place) % 2],
        )
        for user_id in users
        for place in range(scenario.devices_per_user)
    ]
    receivers = [(target, received) for device in devices for target, received in _received_by(device)]
    for target, received in receivers:
        ledger.receivers[target].append(received)
    producers = [
        Producer(
            f"p{n}",
            publish_with(broadcasters[n % len(broadcasters)]),
            [*users, *(TOPIC + topic for topic in topics)],
            ledger,
            random.Random(generator.random()),
        )
        for n in range(scenario.producers)
    ]
    for device in devices:
        await device.open()
    await until(lambda: all(device.is_up_to_date for device in devices), scenario.settle_seconds)
    await _play(scenario, Stage(devices, ledger), producers, meanwhile)
    settled = await until(ledger.is_complete, scenario.settle_seconds)
    incomplete = [
        each.describe()
        for each in devices
        if not all(ledger.has_all(target, received) for target, received in _received_by(each))
    ]
    faults = ledger.compare()
    for device in devices:
        await device.close()
    return Outcome(
        faults,
        published=len(ledger),
        received=sum(len(received.ids) for _, received in receivers),
        retries=sum(producer.retries for producer in producers),
        not_recovered=sum(device.not_recovered for device in devices),
        settled_seconds=settled,
        incomplete=incomplete,
        arrivals=ledger.arrivals(),
    )


def _received_by(device: Device) -> list[tuple[str, Received]]:
    """Return the messages of a device by their targets."""
    return [(device.user_id, device.received), *((TOPIC + name, each) for name, each in device.of_topics.items())]


async def _play(scenario: Scenario, stage: Stage, producers: Sequence[Producer], meanwhile: Meanwhile | None) -> None:
    ends_at = monotonic() + scenario.seconds
    disturbed = [each for number, each in enumerate(stage.devices) if number % scenario.devices_per_user]
    async with asyncio.TaskGroup() as group:
        elsewhere = None if meanwhile is None else group.create_task(meanwhile(stage))

        def goes_on() -> bool:
            is_enough = monotonic() >= ends_at and len(stage.ledger) >= scenario.at_least
            return not (is_enough or stage.is_hushed) or (elsewhere is not None and not elsewhere.done())

        def publishes() -> bool:
            return goes_on() and not stage.is_hushed

        for producer in producers:
            group.create_task(producer.work(publishes, scenario.pause_seconds))
        if scenario.longest_disturbance_seconds is not None:
            for device in disturbed:
                group.create_task(device.disturb(goes_on, scenario.longest_disturbance_seconds))


async def until(is_true: Callable[[], bool], at_most_seconds: float) -> float:
    """Wait until a condition holds, for a limited time, and return the seconds it took."""
    began = monotonic()
    while not is_true() and monotonic() - began < at_most_seconds:  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0.02)
    return monotonic() - began
