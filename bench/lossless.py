"""Whether anything is lost, said twice, out of order or out of date: everybody writes down what they said and saw.

    Producer   says numbered messages and moves bars; each until it is taken, some of it twice
    Device     a `tellwire.client.Client` that is cut off, closed and opened again, sleeps, or does not keep up
    Ledger     what was taken, by user ─▶ reconciled with what each device saw ─▶ `Verdict`

What a program behind `Client` sees is what counts: one whose cursors are kept, as a page keeps it over a reload.
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

LONG_BYTES = 100_000
"""More than a page of a welcome holds."""

Tell = Callable[[str, Message], Awaitable[Delivery]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What went wrong, counted in messages over all devices."""

    lost: int = 0
    duplicated: int = 0
    out_of_order: int = 0
    stale: int = 0

    @property
    def is_flawless(self) -> bool:
        return self == Verdict()

    def __add__(self, other: "Verdict") -> "Verdict":
        return Verdict(
            self.lost + other.lost,
            self.duplicated + other.duplicated,
            self.out_of_order + other.out_of_order,
            self.stale + other.stale,
        )

    def __str__(self) -> str:
        return f"lost {self.lost}, duplicated {self.duplicated}, out of order {self.out_of_order}, stale {self.stale}"


@dataclass(slots=True)
class Ledger:
    """What was taken: by user the ids of messages, and by user and upload the last row."""

    said: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    rows: defaultdict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))

    def __len__(self) -> int:
        return sum(map(len, self.said.values()))


@dataclass(slots=True)
class Sight:
    """What one device saw: ids of messages in the order they came, and the last row of each upload."""

    ids: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    stale: int = 0

    def see(self, message: ReceivedMessage) -> None:
        if message.type == "said":
            self.ids.append(message.id or "")
        elif message.type == "upload_progress":
            upload_id, row = message.data["uploadId"], message.data["currentRow"]
            self.stale += row < self.rows.get(upload_id, 0)
            self.rows[upload_id] = row

    def has_all(self, said: Iterable[str], rows: dict[str, int]) -> bool:
        return set(said) <= set(self.ids) and self.rows == rows

    def judge(self, said: Sequence[str], rows: dict[str, int]) -> Verdict:
        """Compare with what was taken. A producer says one after the other, so its numbers rise."""
        seen = Counter(self.ids)
        newest: dict[str, int] = {}
        out_of_order = 0
        for each in seen:  # each id where it came first
            producer, _, number = each.partition("-")
            out_of_order += int(number) < newest.get(producer, 0)
            newest[producer] = max(int(number), newest.get(producer, 0))
        return Verdict(
            lost=len(set(said) - seen.keys()),
            duplicated=sum(seen.values()) - len(seen),
            out_of_order=out_of_order,
            stale=self.stale + sum(self.rows.get(upload_id) != row for upload_id, row in rows.items()),
        )


class Producer:
    """Says things to users, one after the other. What was not taken, or may not have been, it says again."""

    def __init__(self, name: str, tell: Tell, users: Sequence[str], ledger: Ledger, dice: random.Random) -> None:
        self._name = name
        self._tell = tell
        self._users = users
        self._ledger = ledger
        self._dice = dice
        self._number = 0
        self._rows: dict[tuple[str, str], int] = {}
        self.retries = 0

    async def work(self, seconds: float, pause_seconds: float) -> None:
        """Go on for so long; then end every upload."""
        until = monotonic() + seconds
        while monotonic() < until:
            user_id = self._dice.choice(self._users)
            if self._dice.random() < 0.5:
                await self._say(user_id)
            else:
                await self._move(user_id, f"{self._name}-{self._dice.randrange(2)}")
            await asyncio.sleep(self._dice.random() * 2 * pause_seconds)
        for user_id, upload_id in list(self._rows):
            await self._move(user_id, upload_id, is_last=True)

    async def _say(self, user_id: str) -> None:
        self._number += 1
        message_id = f"{self._name}-{self._number}"
        size = LONG_BYTES if self._dice.random() < 0.003 else self._dice.randrange(2000)
        message = msgspec.structs.replace(create_message("said", {"filling": "x" * size}), id=message_id)
        for _ in range(2 if self._dice.random() < 0.05 else 1):
            await self._until_taken(user_id, message)
        self._ledger.said[user_id].append(message_id)

    async def _move(self, user_id: str, upload_id: str, *, is_last: bool = False) -> None:
        row = self._rows[user_id, upload_id] = self._rows.get((user_id, upload_id), 0) + 1
        progress = UploadProgress(
            upload_id=upload_id,
            file_name="f.csv",
            progress=100 if is_last else min(99, row / 10),
            message="",
            current_row=row,
            status="complete" if is_last else "running",
        )
        await self._until_taken(user_id, UploadProgressMessage(progress))
        self._ledger.rows[user_id][upload_id] = row

    async def _until_taken(self, user_id: str, message: Message) -> None:
        while True:
            try:
                await self._tell(user_id, message)
            except (PublishError, HistoryUnavailable):
                self.retries += 1
                await asyncio.sleep(0.05)
            else:
                return


class Device:
    """A device of a user, which has a hard life. Its program remembers what it saw, and its cursors."""

    def __init__(
        self,
        user_id: str,
        url: str,
        get_token: Callable[[], str],
        dice: random.Random,
        options: ClientOptions | None = None,
    ) -> None:
        self.user_id = user_id
        self.url = url
        self.sight = Sight()
        self.welcomes = 0
        self.not_recovered = 0
        self.is_spared = False
        self._get_token = get_token
        self._dice = dice
        self._options = options
        self._cursors: dict[str, str] = {}
        self._client: Client | None = None
        self._reading: asyncio.Task[None] | None = None
        self._is_awake = asyncio.Event()
        self._is_awake.set()

    @property
    def is_up_to_date(self) -> bool:
        """Whether it is connected and has had its welcome."""
        state = None if self._client is None else self._client.state
        return state is not None and state.status == "open" and state.recovered is not None

    async def open(self) -> None:
        """Connect, and read from now on."""
        client = Client(
            self.url,
            lambda why: self._get_token(),
            cursors=self._cursors,
            options=self._options,
            jitter=self._dice.random,
        )
        client.on_state(lambda state: self._count(state.recovered))
        self._client = client
        await client.__aenter__()
        self._reading = asyncio.create_task(self._read(client))

    async def close(self) -> None:
        """Go away, as a page does that is left: what it has not taken by now it has not seen."""
        if self._client is None or self._reading is None:
            return
        self._reading.cancel()
        await asyncio.wait([self._reading])
        client, self._client = self._client, None
        await client.close()

    async def suffer(self, until: float, longest_seconds: float) -> None:
        """Go through one trouble after the other, unless it is spared; at the end there is none."""
        while monotonic() < until:
            await asyncio.sleep(self._dice.random() * longest_seconds)
            if self.is_spared:
                continue
            trouble = self._dice.choice([self._cut, self._reload, self._sleep, self._lag])
            await trouble(self._dice.random() * longest_seconds)

    async def _read(self, client: Client) -> None:
        with suppress(TellwireError):
            async for message in client:
                self.sight.see(message)
                self._cursors = client.cursors
                await self._is_awake.wait()

    def _count(self, recovered: bool | None) -> None:
        self.welcomes += recovered is not None
        self.not_recovered += recovered is False

    # --- troubles -----------------------------------------------------------------------------------------------------

    async def _cut(self, seconds: float) -> None:
        for socket in self._sockets():
            socket.abort()

    async def _reload(self, seconds: float) -> None:
        await self.close()
        await asyncio.sleep(seconds)
        await self.open()

    async def _sleep(self, seconds: float) -> None:
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
class Scene:
    """Who takes part, and for how long. `pause_seconds` lies between two messages of a producer, on average."""

    seconds: float = 30.0
    users: int = 50
    devices_per_user: int = 4
    producers: int = 20
    pause_seconds: float = 0.05
    longest_trouble_seconds: float = 3.0
    settle_seconds: float = 60.0
    seed: int = 1


@dataclass(slots=True)
class Outcome:
    """What came of it. `not_recovered`: how often a device was told that something may be missing."""

    verdict: Verdict
    said: int
    seen: int
    retries: int
    not_recovered: int
    settled_seconds: float


async def play(
    scene: Scene,
    url: str,
    token_of: Callable[[str], str],
    *broadcasters: Broadcaster,
    meanwhile: Callable[[list[Device]], Coroutine[Any, Any, None]] | None = None,
    options: ClientOptions | None = None,
) -> Outcome:
    """Let producers and devices do their worst, and reconcile what was said with what was seen.

    `meanwhile` runs beside them, and may be hard on the server.
    """
    dice = random.Random(scene.seed)
    users = [f"user-{n}" for n in range(scene.users)]
    ledger = Ledger()
    devices = [
        Device(user_id, url, lambda user_id=user_id: token_of(user_id), random.Random(dice.random()), options)  # type: ignore[misc]
        for user_id in users
        for _ in range(scene.devices_per_user)
    ]
    producers = [
        Producer(
            f"p{n}", broadcasters[n % len(broadcasters)].broadcast_to_user, users, ledger, random.Random(dice.random())
        )
        for n in range(scene.producers)
    ]
    for device in devices:
        await device.open()
    await until(lambda: all(device.is_up_to_date for device in devices), scene.settle_seconds)
    ends_at = monotonic() + scene.seconds
    async with asyncio.TaskGroup() as group:
        for producer in producers:
            group.create_task(producer.work(scene.seconds, scene.pause_seconds))
        for device in devices:
            group.create_task(device.suffer(ends_at, scene.longest_trouble_seconds))
        if meanwhile is not None:
            group.create_task(meanwhile(devices))
    settled = await until(
        lambda: all(
            device.sight.has_all(ledger.said[device.user_id], ledger.rows[device.user_id]) for device in devices
        ),
        scene.settle_seconds,
    )
    verdicts = [device.sight.judge(ledger.said[device.user_id], ledger.rows[device.user_id]) for device in devices]
    for device in devices:
        await device.close()
    return Outcome(
        sum(verdicts, Verdict()),
        said=len(ledger),
        seen=sum(len(device.sight.ids) for device in devices),
        retries=sum(producer.retries for producer in producers),
        not_recovered=sum(device.not_recovered for device in devices),
        settled_seconds=settled,
    )


async def until(is_so: Callable[[], bool], at_most_seconds: float) -> float:
    """Wait until it is so, or for so long, and return the seconds it took."""
    began = monotonic()
    while not is_so() and monotonic() - began < at_most_seconds:  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0.02)
    return monotonic() - began
