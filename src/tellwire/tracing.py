"""Traces with OpenTelemetry, in programs that use it: a span for each broadcast, and its context for the publication.

    broadcast ─▶ span ─▶ `trace_context` of the publication (W3C traceparent) ─▶ over HTTP ─▶ the node (`gateway.spans`)

Who exports spans, and which, is the program's business. A program that has not imported OpenTelemetry pays nothing, and
needs no package of it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tellwire._version import __version__
from tellwire.publication import Publication, with_trace

SYSTEM: Final = "tellwire"


def is_traced() -> bool:
    """Return True if this program uses OpenTelemetry."""
    return "opentelemetry.trace" in sys.modules


@contextmanager
def broadcast_span(publication: Publication) -> Iterator[Publication]:
    """Record a span around a broadcast. The block gets the publication with its context."""
    from opentelemetry import trace

    tracer = trace.get_tracer(SYSTEM, __version__)
    attributes = {"messaging.system": SYSTEM, "messaging.operation.type": "send", "tellwire.type": publication.type}
    kind = trace.SpanKind.PRODUCER
    with tracer.start_as_current_span("tellwire broadcast", kind=kind, attributes=attributes) as span:
        context = span.get_span_context()
        if not context.is_valid:
            yield publication
            return
        flags = int(context.trace_flags)
        yield with_trace(publication, f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}")
