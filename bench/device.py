"""A device of a play: a `tellwire.client.Client` that is cut off, closed and opened again, suspended, or slowed down.

The messages are counted that an application behind `Client` receives; it keeps its cursors, as a page does over a
reload. It may follow topics beside its user's stream: each is counted by itself.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic

from bench.ledger import Received
from tellwire.client import Client, ClientOptions, Topic
from tellwire.errors import TellwireError

_HOPS = 3


class Device:
    """A device of a user that is disturbed at random. Its application records messages and the cursors."""

    def __init__(
        self,
        user_id: str,
        url: str,
        get_token: Callable[[], str],
        generator: random.Random,
        options: ClientOptions | None = None,
        topics: Sequence[str] = (),
    ) -> None:
        self.user_id = user_id
        self.url = url
        self.received = Received()
        self.of_topics = {topic: Received() for topic in topics}
        self.welcomes = 0
        self.not_recovered = 0
        self.is_undisturbed = False
        self._get_token = get_token
        self._random = generator
        self._options = options
        self._cursors: dict[str, str] = {}
        self._client: Client | None = None
        self._topics: list[Topic] = []
        self._reading: list[asyncio.Task[None]] = []
        self._is_awake = asyncio.Event()
        self._is_awake.set()

    @property
    def is_up_to_date(self) -> bool:
        """True if the device is connected, and has received its welcome and that of each topic."""
        state = None if self._client is None else self._client.state
        is_welcomed = state is not None and state.status == "open" and state.recovered is not None
        return is_welcomed and all(topic.state.status == "subscribed" for topic in self._topics)

    def misses_any(self, now: float) -> bool:
        """Return whether a message is missing, of the user or of a topic."""
        return any(each.misses_any(now) for each in (self.received, *self.of_topics.values()))

    def describe(self) -> str:
        """Return its state as a text, for a person who looks for a fault."""
        state = None if self._client is None else self._client.state
        missing = [one for each in (self.received, *self.of_topics.values()) for one in each.waited_for]
        topics = ", ".join(f"{topic.name} {topic.state.status}" for topic in self._topics)
        told = f"{self.welcomes} welcomes; {state}; {topics}"
        return f"{self.user_id}: misses {len(missing)}: {', '.join(missing[:5])}; {told}"

    async def open(self) -> None:
        """Connect, and start to read."""
        client = Client(
            self.url,
            lambda why: self._get_token(),
            cursors=self._cursors,
            options=self._options,
            jitter=self._random.random,
        )
        client.on_state(lambda state: self._note(client, state.recovered))
        self._client = client
        await client.__aenter__()
        self._topics = [self._followed(client, name) for name in self.of_topics]
        reading = [self._read(client), *(self._read_topic(client, topic) for topic in self._topics)]
        self._reading = [asyncio.create_task(each) for each in reading]

    def _followed(self, client: Client, name: str) -> Topic:
        topic = client.topic(name)
        topic.on_state(lambda state: self._note(client, state.recovered))
        return topic

    async def close(self) -> None:
        """Disconnect, as a page that is left: messages that the application has not read count as not received."""
        if self._client is None:
            return
        client, self._client, self._topics = self._client, None, []
        for task in self._reading:
            task.cancel()
        await asyncio.wait(self._reading)
        await client.close()

    async def disturb(self, goes_on: Callable[[], bool], longest_seconds: float) -> None:
        """Disturb the device at random as long as the play goes on, except while `is_undisturbed`."""
        while goes_on():
            await asyncio.sleep(self._random.random() * longest_seconds)
            if self.is_undisturbed:
                continue
            disturbance = self._random.choice([self._cut, self._reload, self._suspend, self._lag, self._hop])
            await disturbance(self._random.random() * longest_seconds)

    async def _read(self, client: Client) -> None:
        with suppress(TellwireError):
            async for message in client:
                self.received.add(message)
                await self._keep_cursors(client)

    async def _read_topic(self, client: Client, topic: Topic) -> None:
        with suppress(TellwireError):
            async with topic:
                async for message in topic:
                    self.of_topics[topic.name].add(message)
                    await self._keep_cursors(client)

    async def _keep_cursors(self, client: Client) -> None:
        self._cursors = client.cursors
        await self._is_awake.wait()

    def _note(self, client: Client, recovered: bool | None) -> None:
        if recovered is None or client is not self._client:
            return
        self.welcomes += 1
        self.not_recovered += not recovered
        # Its messages count from here. If it is left before the first one passes, it comes back to here.
        self._cursors = client.cursors

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

    async def _hop(self, seconds: float) -> None:
        """Change networks in mid-welcome, several times. Behind one address, each connection is to another gateway."""
        until = monotonic() + seconds
        for _ in range(_HOPS):
            await self._cut(seconds)
            while monotonic() < until and (self.is_up_to_date or not self._sockets()):
                await asyncio.sleep(0.002)
                self._wake()
            await asyncio.sleep(self._random.random() * 0.01)

    def _wake(self) -> None:
        if self._client is not None and self._client.state.status == "waiting":
            self._client.wake()

    def _sockets(self) -> list[asyncio.Transport]:
        return [] if self._client is None else [socket.transport for socket in self._client._shell.sockets.values()]
