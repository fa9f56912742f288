"""Test of the delivery promise: published messages are compared with those that each device received.

    Producer   publishes numbered messages and upload progress until they are accepted, some of them twice
    Device     a `tellwire.client.Client` that is cut off, closed and opened again, suspended, or slowed down
    Ledger     accepted messages by user ─▶ compared with the messages of each device ─▶ `Faults`

The messages are counted that an application behind `Client` receives; it keeps its cursors, as a page does over a
reload.
"""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import msgspec

from tellwire.broadcast import Broadcaster
from tellwire.client import Client, ClientOptions, ReceivedMessage
from tellwire.errors import HistoryUnavailable, PublishError, TellwireError
from tellwire.messages import Message, UploadProgress, UploadProgressMessage, create_message
from tellwire.model import Delivery

MESSAGE_TYPE = "numbered"
LONG_BYTES = 100_000
"""Size of a message that is longer than a page of a welcome."""

Publish = Callable[[str, Message], Awaitable[Delivery]]


@dataclass(frozen=True, slots=True)
class Faults:
    """Numbers of faulty messages, over all devices."""

    lost: int = 0
    duplicated: int = 0
    out_of_order: int = 0
    stale: int = 0

    @property
    def is_none(self) -> bool:
        return self == Faults()

    def __add__(self, other: "Faults") -> "Faults":
        return Faults(
            self.lost + other.lost,
            self.duplicated + other.duplicated,
            self.out_of_order + other.out_of_order,
            self.stale + other.stale,
        )

    def __str__(self) -> str:
        return f"lost {self.lost}, duplicated {self.duplicated}, out of order {self.out_of_order}, stale {self.stale}"


@dataclass(slots=True)
class Ledger:
    """Accepted messages: by user their ids, and by user and upload the last row."""

    published: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    rows: defaultdict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))

    def __len__(self) -> int:
        return sum(map(len, self.published.values()))


@dataclass(slots=True)
class Received:
    """The messages of one device: their ids in the order of arrival, and the last row of each upload."""

    ids: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    stale: int = 0

    def add(self, message: ReceivedMessage) -> None:
        if message.type == MESSAGE_TYPE:
            self.ids.append(message.id or "")
        elif message.type == "upload_progress":
            upload_id, row = message.data["uploadId"], message.data["currentRow"]
            self.stale += row < self.rows.get(upload_id, 0)
            self.rows[upload_id] = row

    def has_all(self, published: Iterable[str], rows: dict[str, int]) -> bool:
        return set(published) <= set(self.ids) and self.rows == rows

    def compare(self, published: Sequence[str], rows: dict[str, int]) -> Faults:
        """Compare with the accepted messages. A producer publishes one after the other, so its numbers rise."""
        received = Counter(self.ids)
        newest: dict[str, int] = {}
        out_of_order = 0
        for each in received:  # each id at its first arrival
            producer, _, number = each.partition("-")
            out_of_order += int(number) < newest.get(producer, 0)
            newest[producer] = max(int(number), newest.get(producer, 0))
        return Faults(
            lost=len(set(published) - received.keys()),
            duplicated=sum(received.values()) - len(received),
            out_of_order=out_of_order,
            stale=self.stale + sum(self.rows.get(upload_id) != row for upload_id, row in rows.items()),
        )


class Producer:
    """Publishes messages to users, one after the other, and repeats each until it is accepted."""

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

    async def work(self, seconds: float, pause_seconds: float) -> None:
        """Publish for this time, then complete every upload."""
        until = monotonic() + seconds
        while monotonic() < until:
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
        for _ in range(2 if self._random.random() < 0.05 else 1):
            await self._until_accepted(user_id, message)
        self._ledger.published[user_id].append(message_id)

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
        self._ledger.rows[user_id][upload_id] = row

    async def _until_accepted(self, user_id: str, message: Message) -> None:
        while True:
            try:
                await self._publish(user_id, message)
            except (PublishError, HistoryUnavailable):
                self.retries += 1
                await asyncio.sleep(0.05)
            else:
                return


class Device:
    """A device of a user that is disturbed at random. Its application records messages and the cursors."""

    def __init__(
        self,
        user_id: str,
        url: str,
        get_token: Callable[[], str],
        generator: random.Random,
        options: ClientOptions | None = None,
    ) -> None:
        self.user_id = user_id
        self.url = url
        self.received = Received()
        self.welcomes = 0
        self.not_recovered = 0
        self.is_undisturbed = False
        self._get_token = get_token
        self._random = generator
        self._options = options
        self._cursors: dict[str, str] = {}
        self._client: Client | None = None
        self._reading: asyncio.Task[None] | None = None
        self._is_awake = asyncio.Event()
        self._is_awake.set()

    @property
    def is_up_to_date(self) -> bool:
        """True if the device is connected and has received its welcome."""
        state = None if self._client is None else self._client.state
        return state is not None and state.status == "open" and state.recovered is not None

    async def open(self) -> None:
        """Connect, and start to read."""
        client = Client(
            self.url,
            lambda why: self._get_token(),
            cursors=self._cursors,
            options=self._options,
            jitter=self._random.random,
        )
        client.on_state(lambda state: self._count(state.recovered))
        self._client = client
        await client.__aenter__()
        self._reading = asyncio.create_task(self._read(client))

    async def close(self) -> None:
        """Disconnect, as a page that is left: messages that the application has not read count as not received."""
        if self._client is None or self._reading is None:
            return
        self._reading.cancel()
        await asyncio.wait([self._reading])
        client, self._client = self._client, None
        await client.close()

    async def disturb(self, until: float, longest_seconds: float) -> None:
        """Disturb the device at random until a time, except while `is_undisturbed`."""
        while monotonic() < until:
            await asyncio.sleep(self._random.random() * longest_seconds)
            if self.is_undisturbed:
                continue
            disturbance = self._random.choice([self._cut, self._reload, self._suspend, self._lag])
            await disturbance(self._random.random() * longest_seconds)

    async def _read(self, client: Client) -> None:
        with suppress(TellwireError):
            async for message in client:
                self.received.add(message)
                self._cursors = client.cursors
                await self._is_awake.wait()

    def _count(self, recovered: bool | None) -> None:
        self.welcomes += recovered is not None
        self.not_recovered += recovered is False

    # --- disturbances -------------------------------------------------------------------------------------------------

    async def _cut(self, seconds: float) -> None:
        for socket in self._sockets():
            socket.abort()

    async def _reload(self, seconds: float) -> None:
        await self.close()
        await asyncio.sleep(seconds)
        await self.open()

    async def _suspend(self, seconds: float) -> None:
        self._is_awake.clear()
        await asyncio.sleep(seconds)
        self._is_awake.set()

    async def _lag(self, seconds: float) -> None:
        sockets = self._sockets()
        for socket in sockets:
            socket.pause_reading()
        await asyncio.sleep(seconds)
        for socket in sockets:
            if not socket.is_closing():
                socket.resume_reading()

    def _sockets(self) -> list[asyncio.Transport]:
        return [] if self._client is None else [socket.transport for socket in self._client._sockets.values()]


@dataclass(frozen=True, slots=True)
class Scenario:
    """Numbers of users, devices and producers, and times. A producer pauses `pause_seconds` on average."""

    seconds: float = 30.0
    users: int = 50
    devices_per_user: int = 4
    producers: int = 20
    pause_seconds: float = 0.05
    longest_disturbance_seconds: float = 3.0
    settle_seconds: float = 60.0
    seed: int = 1


@dataclass(slots=True)
class Outcome:
    """The result of a scenario. `not_recovered` is the number of welcomes with `recovered: false`."""

    faults: Faults
    published: int
    received: int
    retries: int
    not_recovered: int
    settled_seconds: float


async def run_scenario(
    scenario: Scenario,
    url: str,
    token_of: Callable[[str], str],
    *broadcasters: Broadcaster,
    meanwhile: Callable[[list[Device]], Coroutine[Any, Any, None]] | None = None,
    options: ClientOptions | None = None,
) -> Outcome:
    """Run producers and disturbed devices, and compare published with received messages.

    `meanwhile` runs at the same time, and may disturb the server.
    """
    generator = random.Random(scenario.seed)
    users = [f"user-{n}" for n in range(scenario.users)]
    ledger = Ledger()
    devices = [
        Device(user_id, url, lambda user_id=user_id: token_of(user_id), random.Random(generator.random()), options)  # type: ignore[misc]
        for user_id in users
        for _ in range(scenario.devices_per_user)
    ]
    producers = [
        Producer(
            f"p{n}",
            broadcasters[n % len(broadcasters)].broadcast_to_user,
            users,
            ledger,
            random.Random(generator.random()),
        )
        for n in range(scenario.producers)
    ]
    for device in devices:
        await device.open()
    await until(lambda: all(device.is_up_to_date for device in devices), scenario.settle_seconds)
    ends_at = monotonic() + scenario.seconds
    async with asyncio.TaskGroup() as group:
        for producer in producers:
            group.create_task(producer.work(scenario.seconds, scenario.pause_seconds))
        for device in devices:
            group.create_task(device.disturb(ends_at, scenario.longest_disturbance_seconds))
        if meanwhile is not None:
            group.create_task(meanwhile(devices))
    settled = await until(
        lambda: all(
            device.received.has_all(ledger.published[device.user_id], ledger.rows[device.user_id]) for device in devices
        ),
        scenario.settle_seconds,
    )
    faults = [
        device.received.compare(ledger.published[device.user_id], ledger.rows[device.user_id]) for device in devices
    ]
    for device in devices:
        await device.close()
    return Outcome(
        sum(faults, Faults()),
        published=len(ledger),
        received=sum(len(device.received.ids) for device in devices),
        retries=sum(producer.retries for producer in producers),
        not_recovered=sum(device.not_recovered for device in devices),
        settled_seconds=settled,
    )


async def until(is_true: Callable[[], bool], at_most_seconds: float) -> float:
    """Wait until a condition holds, for a limited time, and return the seconds it took."""
    began = monotonic()
    while not is_true() and monotonic() - began < at_most_seconds:  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0.02)
    return monotonic() - began
