"""The ledger of a play: accepted messages, compared with those that each device has received. Pure, but for the clock.

Ledger     accepted messages by target (a user, or `topic:<name>`), and when they were sent
Received   the messages of one device, and when they arrived
Faults     the difference
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field
from operator import add
from time import monotonic

from tellwire.client import ReceivedMessage

MESSAGE_TYPE = "numbered"
LATE_SECONDS = 0.5
"""The time after which an accepted message that a device has not received counts as missing there."""


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
        return Faults(*map(add, astuple(self), astuple(other)))

    def __str__(self) -> str:
        return f"lost {self.lost}, duplicated {self.duplicated}, out of order {self.out_of_order}, stale {self.stale}"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A delivery: the time at which the message's producer began to publish it, and the seconds until it arrived."""

    sent_at: float
    seconds: float


@dataclass(slots=True)
class Received:
    """The messages of one device: their ids in the order of arrival, and the last row of each upload."""

    ids: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    stale: int = 0
    arrived_at: dict[str, float] = field(default_factory=dict)
    waited_for: dict[str, float] = field(default_factory=dict)
    """Accepted messages that have not arrived, and when they were accepted."""

    def add(self, message: ReceivedMessage) -> None:
        if message.type == MESSAGE_TYPE:
            message_id = message.id or ""
            self.ids.append(message_id)
            self.arrived_at.setdefault(message_id, monotonic())
            self.waited_for.pop(message_id, None)
        elif message.type == "upload_progress":
            upload_id, row = message.data["uploadId"], message.data["currentRow"]
            self.stale += row < self.rows.get(upload_id, 0)
            self.rows[upload_id] = row

    def expect(self, message_id: str) -> None:
        """Wait for a message that was accepted just now."""
        if message_id not in self.arrived_at:
            self.waited_for[message_id] = monotonic()

    def misses_any(self, now: float) -> bool:
        """Return whether a message is missing that was accepted more than `LATE_SECONDS` ago."""
        oldest = next(iter(self.waited_for.values()), now)
        return now - oldest > LATE_SECONDS

    def has_all(self, published: Iterable[str], rows: dict[str, int]) -> bool:
        return self.rows == rows and all(each in self.arrived_at for each in published)

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


@dataclass(slots=True)
class Ledger:
    """Accepted messages: by target their ids, and by target and upload the last row. A target is the id of a user, or
    `topic:` and the name of a topic.
    """

    published: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    rows: defaultdict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    receivers: defaultdict[str, list[Received]] = field(default_factory=lambda: defaultdict(list))
    sent_at: dict[str, float] = field(default_factory=dict)
    accepted_at: float = 0.0
    """The time of the last acceptance."""

    def __len__(self) -> int:
        return sum(map(len, self.published.values()))

    def send(self, message_id: str) -> None:
        """Note that a producer begins to publish a message."""
        self.sent_at[message_id] = monotonic()

    def accept(self, user_id: str, message_id: str) -> None:
        """Note that a message was accepted: from now on it must not be lost."""
        self.published[user_id].append(message_id)
        self.accepted_at = monotonic()
        for received in self.receivers[user_id]:
            received.expect(message_id)

    def accept_row(self, user_id: str, upload_id: str, row: int) -> None:
        """Note that a state of an upload was accepted."""
        self.rows[user_id][upload_id] = row
        self.accepted_at = monotonic()

    def has_all(self, user_id: str, received: Received) -> bool:
        """Return whether a device of this user has everything."""
        return received.has_all(self.published[user_id], self.rows[user_id])

    def is_complete(self) -> bool:
        """Return whether every device has everything."""
        return all(
            self.has_all(user_id, received) for user_id, devices in self.receivers.items() for received in devices
        )

    def compare(self) -> Faults:
        """Return the faults of all devices together."""
        faults = (
            received.compare(self.published[user_id], self.rows[user_id])
            for user_id, devices in self.receivers.items()
            for received in devices
        )
        return sum(faults, Faults())

    def arrivals(self) -> list[Arrival]:
        """Return the first arrival of each message at each device."""
        return [
            Arrival(self.sent_at[message_id], at - self.sent_at[message_id])
            for devices in self.receivers.values()
            for received in devices
            for message_id, at in received.arrived_at.items()
        ]
