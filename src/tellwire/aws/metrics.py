"""The counts of a Lambda function in the form of CloudWatch: a line of JSON in its log for each invocation.

CloudWatch makes metrics of such lines by itself (its embedded metric format), so no call is made and no right is
needed. The names are those of a gateway's metrics for Prometheus. The dimensions are the function, and the label of a
metric that has one. What is 0 is left out: each metric of each function has its price.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import msgspec

from tellwire.counts import Counts
from tellwire.ports import Clock, NullObserver, Observer, Published
from tellwire.publication import Publication
from tellwire.stream import Replay
from tellwire.topics import TopicRules

NAMESPACE: Final = "tellwire"
_NOT_COUNTED: Final = NullObserver()
_VALUES: Final = 100  # of one metric in a line, as CloudWatch allows


class InvocationCounts(Counts):
    """The counts of one invocation, with the times of its publishes and welcomes."""

    def __init__(self, topics: TopicRules) -> None:
        super().__init__(topics)
        self.publish_times: list[float] = []
        self.welcome_times: list[float] = []

    def published(self, publication: Publication, published: Published, seconds: float) -> None:
        super().published(publication, published, seconds)
        self.publish_times.append(seconds)

    def welcomed(self, replay: Replay, seconds: float) -> None:
        super().welcomed(replay, seconds)
        self.welcome_times.append(seconds)


def documents(counts: InvocationCounts, function: str, now: float) -> Iterator[dict[str, Any]]:
    """Yield the documents of an invocation: one without a label, and one for each value of a label."""
    totals: dict[str, float | list[float]] = {
        "tellwire_connections_opened_total": counts.opened,
        "tellwire_welcomes_incomplete_total": counts.incomplete_welcomes,
        "tellwire_publish_seconds": counts.publish_times[:_VALUES],
        "tellwire_welcome_seconds": counts.welcome_times[:_VALUES],
    }
    yield from _document(now, {"function": function}, totals)
    labelled: tuple[tuple[str, str, Mapping[str, int]], ...] = (
        ("tellwire_connections_closed_total", "code", counts.closed),
        ("tellwire_handshakes_refused_total", "reason", counts.refused),
        ("tellwire_requests_refused_total", "reason", counts.requests_refused),
        ("tellwire_publishes_total", "target", counts.published_to),
        ("tellwire_topic_publishes_total", "pattern", counts.published_to_topics),
        ("tellwire_publishes_failed_total", "code", counts.publishes_failed),
        ("tellwire_deliveries_total", "outcome", counts.deliveries),
        ("tellwire_leases_expired_total", "status", counts.leases_expired),
        ("tellwire_escalations_total", "outcome", counts.escalations),
    )
    for name, label, values in labelled:
        for value, count in values.items():
            yield from _document(now, {"function": function, label: value}, {name: count})


def _document(
    now: float, dimensions: Mapping[str, str], values: Mapping[str, float | list[float]]
) -> Iterator[dict[str, Any]]:
    found = {name: value for name, value in values.items() if value}
    if found:
        metrics = [{"Name": name, "Unit": "Seconds" if name.endswith("_seconds") else "Count"} for name in found]
        directive = {"Namespace": NAMESPACE, "Dimensions": [list(dimensions)], "Metrics": metrics}
        yield {"_aws": {"Timestamp": int(now * 1000), "CloudWatchMetrics": [directive]}, **dimensions, **found}


class FunctionMetrics:
    """The metrics of one Lambda function."""

    def __init__(self, topics: TopicRules, clock: Clock, function: str | None = None) -> None:
        self._topics = topics
        self._clock = clock
        self._function = function or os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "tellwire")
        # A process of Lambda runs one invocation at a time; on one's own machine several may run side by side.
        self._present: ContextVar[InvocationCounts] = ContextVar("tellwire-invocation")

    @property
    def observer(self) -> Observer:
        """The counts of the present invocation; outside one, nothing is counted."""
        return self._present.get(_NOT_COUNTED)

    @contextmanager
    def invocation(self) -> Iterator[None]:
        """Count in the block, and write the lines at its end, also after an error."""
        counts = InvocationCounts(self._topics)
        token = self._present.set(counts)
        try:
            yield
        finally:
            self._present.reset(token)
            for each in documents(counts, self._function, self._clock.now()):
                sys.stdout.write(msgspec.json.encode(each).decode() + "\n")
            sys.stdout.flush()
