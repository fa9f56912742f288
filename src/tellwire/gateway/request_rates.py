"""The rates of a client's requests, and of the replays that answer them. Pure.

Each connection may send so many messages, and so many hellos, since a hello is answered with up to the whole history.
The bytes of these answers are bounded for each user, so that many connections get no more than one.
"""

from typing import Final

from tellwire import limits
from tellwire.rate import Rate
from tellwire.wire import Limits

REFUSALS: Final = Rate(limits.REFUSALS_PER_SECOND, limits.MAX_REQUESTS_REFUSED)
"""Requests beyond the limits that are answered with an error. After them the connection is closed."""


class RequestRates:
    """The rates that all connections of a node share. `messages` and `hellos` are those of each connection."""

    def __init__(
        self,
        messages_per_second: int = limits.MESSAGES_PER_SECOND,
        message_burst: int = limits.MESSAGE_BURST,
        hello_interval_seconds: int = limits.HELLO_INTERVAL_SECONDS,
        replay_bytes_per_second: int = limits.REPLAY_BYTES_PER_SECOND,
        subscriptions: int = limits.MAX_SUBSCRIPTIONS,
    ) -> None:
        self.messages = Rate(messages_per_second, message_burst)
        self.hellos = Rate(1 / hello_interval_seconds, limits.HELLO_BURST)
        self.replays = ReplayPace(replay_bytes_per_second)
        # As a welcome tells them.
        self.on_the_wire = Limits(
            max_message_bytes=limits.MAX_MESSAGE_BYTES,
            max_requests_in_flight=limits.MAX_REQUESTS_IN_FLIGHT,
            max_requests_per_second=messages_per_second,
            max_request_burst=message_burst,
            hello_interval_seconds=hello_interval_seconds,
            max_subscriptions=subscriptions,
        )


class ReplayPace:
    """The bytes of replays to each user, as the time at which nothing of them counts any more."""

    def __init__(self, bytes_per_second: int) -> None:
        self._rate = Rate(bytes_per_second, limits.REPLAY_BURST_BYTES)
        self._full_at: dict[str, float] = {}

    def wait_seconds(self, user_id: str, size_bytes: int, now: float) -> float:
        """Count bytes to a user. Return how long to wait before they are sent."""
        # The last of the dict was counted last. Whoever has had no replay for long is in front, and is forgotten.
        for each in list(self._full_at)[:2]:
            if self._full_at[each] <= now:
                del self._full_at[each]
        full_at = self._rate.spend(self._full_at.pop(user_id, now), now, size_bytes)
        self._full_at[user_id] = full_at
        return self._rate.wait_seconds(full_at, now)
