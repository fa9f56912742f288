"""The counts of a node in the form of Prometheus: `GET /metrics`, or a port of its own.

    Observer ─▶ Counts (plain numbers) ─▶ at a scrape: NodeMetrics ─▶ prometheus-client ─▶ text

Every number is of this node. Labels are codes, names from the settings, and patterns of topics; never a user.
"""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from tellwire._version import __version__
from tellwire.counts import Counts, Histogram
from tellwire.errors import ConfigError
from tellwire.extras import needs_extra

with needs_extra("tellwire.gateway.metrics", "metrics"):
    from prometheus_client import GC_COLLECTOR, CollectorRegistry, ProcessCollector, start_http_server
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        InfoMetricFamily,
        Metric,
    )
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.registry import Collector

_PREFIX: Final = "tellwire"


@dataclass(frozen=True, slots=True)
class LiveValues:
    """Values of a node at this moment, and counts that it keeps in any case.

    `behind` are the clients that do not take what is written to them; `waiting_messages` and `waiting_bytes` wait in
    their outboxes. `trouble`: nothing can be published.
    """

    connections: int
    subscriptions: int
    behind: int
    waiting_messages: int
    waiting_bytes: int
    slow_closed: int
    unanswered_closed: int
    trouble: bool
    is_draining: bool


class NodeMetrics(Collector):
    """The metrics of one node, as prometheus-client collects them."""

    def __init__(self, counts: Counts, live: Callable[[], LiveValues], engine: str) -> None:
        self._counts = counts
        self._live = live
        self._engine = engine

    def collect(self) -> Iterable[Metric]:
        """Return all metrics."""
        yield InfoMetricFamily(
            f"{_PREFIX}_node",
            "This node",
            {"version": __version__, "engine": self._engine, "python": platform.python_version()},
        )
        yield from self._of_now(self._live())
        yield from self._of_connections()
        yield from self._of_publishes()
        yield from self._of_streams()

    def _of_now(self, live: LiveValues) -> Iterator[Metric]:
        yield _gauge("connections", "Live connections", live.connections)
        yield _gauge("subscriptions", "Topics that connections follow, for each connection", live.subscriptions)
        yield _gauge("slow_consumers", "Clients that do not take what is written to them", live.behind)
        yield _gauge("outbox_messages", "Messages that wait for slow consumers", live.waiting_messages)
        yield _gauge("outbox_bytes", "Bytes that wait for slow consumers", live.waiting_bytes)
        yield _gauge("engine_up", "1 if the engine can keep publications", 0 if live.trouble else 1)
        yield _gauge("draining", "1 from the begin of a drain on", int(live.is_draining))
        yield _counter("slow_consumers_closed", "Clients closed because their outbox was full", live.slow_closed)
        yield _counter("unanswered_closed", "Clients cut because they answered no pings", live.unanswered_closed)

    def _of_connections(self) -> Iterator[Metric]:
        counts = self._counts
        yield _counter("connections_opened", "Connections that were accepted", counts.opened)
        yield _counters("connections_closed", "Connections that ended, by close code", "code", counts.closed)
        yield _counters("handshakes_refused", "Handshakes that were refused", "reason", counts.refused)
        yield _counters("requests_refused", "Requests of clients above a rate", "reason", counts.requests_refused)
        yield _counter("states_conflated", "States that a newer one replaced in an outbox", counts.conflated)
        yield _counter("messages_dropped", "Messages that a slow consumer did not get", counts.dropped)
        yield _histogram(
            "write_delay_seconds",
            "Time from the first frame in an outbox to the write of all, for each turn of the event loop",
            counts.write_delay_seconds,
        )

    def _of_publishes(self) -> Iterator[Metric]:
        counts = self._counts
        yield _counters("publishes", "Publications, by kind of target", "target", counts.published_to)
        yield _counters("topic_publishes", "Publications to topics, by rule", "pattern", counts.published_to_topics)
        yield _counters("publishes_failed", "Publications that failed", "code", counts.publishes_failed)
        yield _counters("publishes_limited", "Publishes of API keys above their rate", "key", counts.publishes_refused)
        yield _counters("deliveries", "Messages to single connections, by outcome", "outcome", counts.deliveries)
        yield _histogram(
            "publish_seconds",
            "Time from a publish until it is kept and written, or in the outboxes of slow consumers",
            counts.publish_seconds,
        )

    def _of_streams(self) -> Iterator[Metric]:
        counts = self._counts
        yield _histogram("welcome_seconds", "Time to answer a client that comes", counts.welcome_seconds)
        yield _histogram("welcome_messages", "Messages and states in a welcome", counts.welcome_messages)
        yield _counter("welcomes_incomplete", "Welcomes in which messages may be missing", counts.incomplete_welcomes)
        yield _counters("leases_expired", "Uploads that were silent for too long", "status", counts.leases_expired)
        yield _counters("escalations", "Escalations that have ended", "outcome", counts.escalations)


class Exposition:
    """The text of the metrics, over HTTP."""

    def __init__(self, metrics: NodeMetrics) -> None:
        # Not the registry of the process: a program may have metrics of its own, and several nodes.
        self._registry = CollectorRegistry()
        self._registry.register(metrics)
        self._registry.register(GC_COLLECTOR)
        ProcessCollector(registry=self._registry)

    async def answer(self, request: Request) -> Response:
        """Answer a scrape."""
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self._registry), media_type=media_type)

    @contextmanager
    def listening(self, host: str, port: int) -> Iterator[None]:
        """Answer scrapes on a port of its own, from a thread, without a key.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        try:
            server, thread = start_http_server(port, host, self._registry)
        except OSError as error:
            raise ConfigError(
                f"TELLWIRE_METRICS_PORT: cannot listen on {host}:{port}: {error.strerror or error}"
            ) from error
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", text, value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"{_PREFIX}_{name}", text, value)


def _counters(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"{_PREFIX}_{name}", text, labels=[label])
    for word, value in dict(values).items():
        family.add_metric([word], value)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    buckets, so_far = [], 0
    for bound, count in zip(_bounds(histogram.bounds), list(histogram.counts), strict=True):
        so_far += count
        buckets.append((bound, so_far))
    family = HistogramMetricFamily(f"{_PREFIX}_{name}", text)
    family.add_metric([], buckets, histogram.total)
    return family


def _bounds(bounds: Sequence[float]) -> list[Any]:
    return [*(str(float(each)) for each in bounds), "+Inf"]
