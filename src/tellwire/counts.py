"""Counts and timings of a node, as plain numbers: an `Observer` that is cheap enough for every publish.

`metrics` writes them in the form of Prometheus. All methods are called on the event loop, and a scrape may come from
another thread: it copies a dictionary before it goes through it. Labels are words of the program and names from the
settings, never a user's, so their number is bounded.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from tellwire.ports import NullObserver, Published
from tellwire.publication import Publication
from tellwire.stream import Replay
from tellwire.topics import TopicRules

FAST: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Bounds of times that are below a millisecond as a rule, in seconds."""

SIZES: Final = (0, 1, 10, 100, 1_000, 10_000)
"""Bounds of numbers of messages."""


class Histogram:
    """Counts of values by some bounds. A value counts at the first bound that it does not exceed; the last of `counts`
    is of those above all bounds.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Tally(dict[str, int]):
    """Counts of some words."""

    def add(self, word: str, times: int = 1) -> None:
        """Count a word."""
        self[word] = self.get(word, 0) + times


class Counts(NullObserver):
    """The counts of one node, since its start. `topics` give the pattern that a topic is counted under."""

    def __init__(self, topics: TopicRules) -> None:
        self._topics = topics
        self.opened = 0
        self.closed = Tally()
        self.refused = Tally()
        self.requests_refused = Tally()
        self.conflated = 0
        self.dropped = 0
        self.published_to_users = self.published_to_connections = self.published_to_all = 0
        self.published_to_topics = Tally()
        self.publishes_failed = Tally()
        self.publishes_refused = Tally()
        self.delivered = self.gone = self.failed = self.unsent = 0
        self.publish_seconds = Histogram(FAST)
        self.write_delay_seconds = Histogram(FAST)
        self.welcome_seconds = Histogram(FAST)
        self.welcome_messages = Histogram(SIZES)
        self.incomplete_welcomes = 0
        self.leases_expired = Tally()
        self.escalations = Tally()

    @property
    def published_to(self) -> Tally:
        """The publications, by the kind of their target."""
        return Tally(
            user=self.published_to_users,
            topic=sum(list(self.published_to_topics.values())),
            connections=self.published_to_connections,
            all=self.published_to_all,
        )

    @property
    def deliveries(self) -> Tally:
        """The messages to single connections, by outcome."""
        return Tally(delivered=self.delivered, gone=self.gone, failed=self.failed, unsent=self.unsent)

    def connection_opened(self) -> None:
        self.opened += 1

    def connection_closed(self, code: int) -> None:
        # A client may close with any code.
        self.closed.add(str(code) if code < 3000 or 4400 <= code < 4500 else "other")

    def connection_refused(self, code: str) -> None:
        self.refused.add(code)

    def request_refused(self, code: str) -> None:
        self.requests_refused.add(code)

    def frame_conflated(self) -> None:
        self.conflated += 1

    def frame_dropped(self) -> None:
        self.dropped += 1

    def published(self, publication: Publication, published: Published, seconds: float) -> None:
        # Once per publish: without the calls of `observe` and `add`, it takes half the time.
        histogram = self.publish_seconds
        histogram.counts[bisect_left(FAST, seconds)] += 1
        histogram.total += seconds
        delivery = published.delivery
        self.delivered += delivery.delivered
        if delivery.gone or delivery.failed or delivery.unsent:
            self.gone += delivery.gone
            self.failed += delivery.failed
            self.unsent += delivery.unsent
        target = publication.target
        if target.user is not None:
            self.published_to_users += 1
        elif target.topic is not None:
            self.published_to_topics.add(self._topics.of(target.topic).pattern)
        elif target.all:
            self.published_to_all += 1
        else:
            self.published_to_connections += 1

    def publish_failed(self, code: str) -> None:
        self.publishes_failed.add(code)

    def publish_refused(self, key: str) -> None:
        self.publishes_refused.add(key)

    def frames_written(self, seconds: float) -> None:
        self.write_delay_seconds.observe(seconds)

    def welcomed(self, replay: Replay, seconds: float) -> None:
        self.welcome_seconds.observe(seconds)
        self.welcome_messages.observe(len(replay.messages) + len(replay.snapshot))
        self.incomplete_welcomes += not replay.recovered

    def lease_expired(self, status: str) -> None:
        self.leases_expired.add(status)

    def escalation_ended(self, outcome: str) -> None:
        self.escalations.add(outcome)
