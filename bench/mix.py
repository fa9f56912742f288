"""A publish mix: notifications, upload progress, batches and messages to all, in a fixed proportion.

Made before the run, so that the load costs little while it is timed. Each message is timed from the moment its request
is sent until a device has read it. The number of messages that every device must get is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.native import Fleet, Load, LoadError, Sockets, Times
from bench.traffic import EVERYBODY, TIMED, batch_requests, notification, publish_request
from tellwire.messages import Message, create_upload_progress_message

BATCH = 20
_KINDS = ("one", "one", "upload", "one", "one", "upload", "one", "one", "upload", "batch")
"""Six notifications, three updates of uploads and a batch: of ten requests, 29 messages."""


@dataclass(slots=True)
class Mix:
    """Requests in their order, and the messages that each user must get. `kept` are the publications to users."""

    requests: list[bytes] = field(default_factory=list)
    expected: dict[str, int] = field(default_factory=dict)
    to_all: int = 0
    kept: int = 0

    @classmethod
    def of(cls, users: Sequence[str], count: int, *, all_every: int = 0) -> "Mix":
        """Return this many requests, which go round the users. With `all_every`, every so manieth goes to all."""
        mix = cls()
        at = 0

        def next_users(how_many: int) -> list[str]:
            nonlocal at
            chosen = [users[(at + step) % len(users)] for step in range(how_many)]
            at += how_many
            for user in chosen:
                mix.expected[user] = mix.expected.get(user, 0) + 1
            mix.kept += how_many
            return chosen

        for number in range(count):
            kind = _KINDS[number % len(_KINDS)]
            if all_every and number % all_every == all_every // 2:
                mix.to_all += 1
                mix.requests.append(publish_request(EVERYBODY, notification(TIMED)))
            elif kind == "batch":
                mix.requests += batch_requests(next_users(BATCH), BATCH, notification(TIMED))
            else:
                (user,) = next_users(1)
                mix.requests.append(publish_request({"user": user}, _message(kind, number)))
        return mix

    def run(self, fleet: Fleet, owners: Sequence[str], clients: Sockets, per_second: float) -> tuple[Load, Times]:
        """Send it at this pace, and check the messages of every device. `owners` has the user of each device.

        Raises:
            LoadError: a device has a message too few or too many, or the gateway counted differently.
        """
        expected = [self.expected.get(owner, 0) + self.to_all for owner in owners]
        load = fleet.publish_paced(clients, self.requests, sum(expected), per_second)
        messages, times = fleet.counts()
        fleet.reset()
        wrong = sum(got != wanted for got, wanted in zip(messages, expected, strict=True))
        if wrong:
            raise LoadError(f"{wrong} of {len(expected)} devices have other messages than were sent to them")
        if load.delivered != sum(expected):
            raise LoadError(f"the gateway counted {load.delivered} delivered, not {sum(expected)}")
        return load, times


def _message(kind: str, number: int) -> Message:
    if kind == "upload":
        return create_upload_progress_message(f"upload-{number}", "parts.csv", number % 90, TIMED, number, 1_000_000)
    return notification(TIMED)
