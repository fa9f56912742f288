"""A device of a user: it connects over WebSocket and records the received messages with their delays.

`Device` records messages and evaluates them; `connected` opens the socket for it.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from typing import Any, Final, TypeAlias

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

CONNECT_SECONDS: Final = 10.0

Message: TypeAlias = dict[str, Any]


@dataclass(slots=True)
class Device:
    """The messages that one device received, and the delay of each in seconds."""

    name: str
    messages: list[Message] = field(default_factory=list)
    delays_seconds: list[float] = field(default_factory=list)
    _arrivals: dict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))

    def receive(self, message: Message, now: float) -> None:
        """Record a message that arrived at `now`, in epoch seconds."""
        self.messages.append(message)
        self.delays_seconds.append(now - datetime.fromisoformat(message["timestamp"]).timestamp())
        self._arrivals[message["type"]].set()

    async def arrival_of(self, message_type: str) -> None:
        """Wait until a message of this type has arrived, without a time limit: put a timeout around it."""
        await self._arrivals[message_type].wait()

    def of_type(self, message_type: str) -> list[Message]:
        """Return the data of the messages of one type."""
        return [message["data"] for message in self.messages if message["type"] == message_type]

    def uploads(self) -> dict[str, list[Message]]:
        """Return the states of each upload by its id, both in the order of arrival."""
        uploads: dict[str, list[Message]] = {}
        for state in self.of_type("upload_progress"):
            uploads.setdefault(state["uploadId"], []).append(state)
        return uploads

    def missed(self, upload_ids: Iterable[str]) -> list[str]:
        """Return the problems with these uploads: each must go from 0 up to 100, or be seen to end before."""
        uploads = self.uploads()
        return [
            f"{self.name}: {upload_id} {problem}"
            for upload_id in upload_ids
            if (problem := _problem(uploads, upload_id))
        ]

    def has_failed(self, upload_id: str) -> bool:
        """Return whether the last state of an upload is its failure."""
        return self.uploads().get(upload_id, [{}])[-1].get("status") == "failed"

    @property
    def median_delay_ms(self) -> float:
        """Median delay of the messages, by this machine's clock. Timestamps are in whole milliseconds."""
        return 1000 * median(self.delays_seconds) if self.delays_seconds else 0.0


def _problem(uploads: dict[str, list[Message]], upload_id: str) -> str | None:
    states = uploads.get(upload_id, [])
    progress = [state["progress"] for state in states]
    if not progress:
        return "was not seen at all"
    if states[-1].get("status") in ("cancelled", "failed"):
        return None
    if progress[0] != 0 or progress[-1] != 100:
        return f"went from {progress[0]:g} to {progress[-1]:g}, not from 0 to 100"
    return "went backwards" if progress != sorted(progress) else None


@asynccontextmanager
async def connected(
    name: str, url: str, token: str, received: Callable[[Device, Message], None]
) -> AsyncIterator[Device]:
    """Connect a device for as long as the block runs; `received` is called with each message.

    Raises:
        OSError, websockets.exceptions.InvalidHandshake, TimeoutError: it cannot connect.
    """
    device = Device(name)
    # In the subprotocol the token is not in the URL, and so not in proxies' logs.
    offered = [Subprotocol("tellwire.v1"), Subprotocol(f"token.{token}")]
    async with connect(url, subprotocols=offered, proxy=None, open_timeout=CONNECT_SECONDS) as socket:
        listening = asyncio.create_task(_listen(device, socket, received), name=f"device-{name}")
        try:
            yield device
        finally:
            listening.cancel()
            await asyncio.wait({listening})
            if not listening.cancelled():
                listening.result()


async def _listen(device: Device, socket: ClientConnection, received: Callable[[Device, Message], None]) -> None:
    try:
        while True:
            message = msgspec.json.decode(await socket.recv(decode=False))
            device.receive(message, time.time())
            received(device, message)
    except ConnectionClosed:
        # `missed` reports the messages that did not arrive.
        return
