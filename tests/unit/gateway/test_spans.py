"""The span of a publication at a node: its parent, its time, and nothing about its user."""

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tellwire.gateway.spans import TracingObserver
from tellwire.messages import create_message
from tellwire.model import Delivery, Target
from tellwire.ports import Published
from tellwire.publication import Publication, with_trace
from tellwire.topics import TopicRule, TopicRules

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def publication(target: Target, trace_context: str | None = None) -> Publication:
    made = Publication.of(target, create_message("note", 1))
    return made if trace_context is None else with_trace(made, trace_context)


def test_a_publish_with_a_context_is_a_span_from_its_arrival(spans: InMemorySpanExporter) -> None:
    observer = TracingObserver(TopicRules(rules=[TopicRule(pattern="moc:*")]))
    observer.published(publication(Target(topic="moc:1"), PARENT), Published(None, Delivery(delivered=3)), 0.25)
    observer.published(publication(Target(user="ada"), PARENT), Published(None, Delivery()), 0.25)
    observer.published(publication(Target(user="ben")), Published(None, Delivery()), 0.25)
    topic, user = spans.get_finished_spans()
    assert topic.parent is not None
    assert f"{topic.parent.trace_id:032x}-{topic.parent.span_id:016x}" == PARENT[3:-3]
    assert topic.start_time is not None
    assert topic.end_time is not None
    assert topic.end_time - topic.start_time == 250_000_000
    attributes = dict(topic.attributes or {})
    assert (attributes["messaging.destination.template"], attributes["tellwire.delivered"]) == ("topic:moc:*", 3)
    assert dict(user.attributes or {})["messaging.destination.template"] == "user"
    assert "ada" not in str(user.attributes)
