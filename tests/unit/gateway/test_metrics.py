"""The text of the metrics, as Prometheus reads it."""

import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bench.processes import free_port
from tellwire.counts import Counts
from tellwire.errors import ConfigError
from tellwire.gateway.metrics import Exposition, LiveValues, NodeMetrics
from tellwire.topics import TopicRules

LIVE = LiveValues(
    connections=7,
    subscriptions=3,
    behind=2,
    waiting_messages=11,
    waiting_bytes=1_100,
    slow_closed=5,
    unanswered_closed=6,
    trouble=True,
    is_draining=False,
)


def exposition_of(counts: Counts) -> Exposition:
    return Exposition(NodeMetrics(counts, lambda: LIVE, "memory"))


def scrape(port: int) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return {(each.name, tuple(each.labels.items())): each.value for one in families for each in one.samples}


def test_a_port_of_its_own_answers_scrapes_and_is_free_afterwards() -> None:
    counts = Counts(TopicRules())
    counts.connection_refused("TOKEN_MISSING")
    for seconds in (0.0001, 0.003, 9.0):
        counts.publish_seconds.observe(seconds)
    port = free_port()
    with exposition_of(counts).listening("127.0.0.1", port):
        values = scrape(port)
    assert values["tellwire_connections", ()] == 7
    assert values["tellwire_engine_up", ()] == 0
    assert values["tellwire_outbox_bytes", ()] == 1_100
    assert values["tellwire_handshakes_refused_total", (("reason", "TOKEN_MISSING"),)] == 1
    assert values["tellwire_publish_seconds_bucket", (("le", "0.0001"),)] == 1
    assert values["tellwire_publish_seconds_bucket", (("le", "0.005"),)] == 2
    assert values["tellwire_publish_seconds_bucket", (("le", "+Inf"),)] == 3
    assert values["tellwire_publish_seconds_count", ()] == 3
    assert values["process_resident_memory_bytes", ()] > 1_000_000
    with pytest.raises(urllib.error.URLError):
        scrape(port)


def test_a_port_in_use_is_a_mistake_of_the_settings() -> None:
    port = free_port()
    exposition = exposition_of(Counts(TopicRules()))
    with (
        exposition.listening("127.0.0.1", port),
        pytest.raises(ConfigError, match=f"TELLWIRE_METRICS_PORT: cannot listen on 127.0.0.1:{port}"),
        exposition_of(Counts(TopicRules())).listening("127.0.0.1", port),
    ):
        pass
