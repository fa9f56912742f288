"""The spans of a node: one for each publication that has the context of a trace."""

import time
from typing import Any

from tellwire._version import __version__
from tellwire.ports import NullObserver, Published
from tellwire.publication import Publication
from tellwire.topics import TopicRules
from tellwire.tracing import SYSTEM


class TracingObserver(NullObserver):
    """An `Observer` that records a span for each publication with a context: from its arrival until it is kept, and
    written to the sockets of those who take it. `topics` give the pattern of a topic, which is in the span; a user's id
    is not.

    Raises:
        ModuleNotFoundError: OpenTelemetry is not installed.
    """

    def __init__(self, topics: TopicRules) -> None:
        from opentelemetry import trace

        self._trace = trace
        self._tracer = trace.get_tracer(SYSTEM, __version__)
        self._topics = topics

    def published(self, publication: Publication, published: Published, seconds: float) -> None:
        if publication.trace_context is None:
            return
        ended_at = time.time_ns()
        delivery = published.delivery
        span = self._tracer.start_span(
            "tellwire publish",
            self._parent(publication.trace_context),
            kind=self._trace.SpanKind.CONSUMER,
            start_time=ended_at - int(seconds * 1e9),
            attributes={
                "messaging.system": SYSTEM,
                "messaging.operation.type": "process",
                "messaging.destination.template": self._destination(publication),
                "messaging.message.id": publication.id,
                "tellwire.type": publication.type,
                "tellwire.delivered": delivery.delivered,
                "tellwire.failed": delivery.failed,
                "tellwire.kept": published.entry is not None,
            },
        )
        span.end(ended_at)

    def _parent(self, traceparent: str) -> Any:
        _, trace_id, span_id, flags = traceparent.split("-")
        context = self._trace.SpanContext(
            int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=self._trace.TraceFlags(int(flags, 16))
        )
        return self._trace.set_span_in_context(self._trace.NonRecordingSpan(context))

    def _destination(self, publication: Publication) -> str:
        target = publication.target
        if target.topic is not None:
            return f"topic:{self._topics.of(target.topic).pattern}"
        return "user" if target.user is not None else "all" if target.all else "connections"
