"""Traces: a broadcast's span is in the publication, and the node's span is its child."""

import subprocess
import sys

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tellwire.broadcast import Broadcaster
from tellwire.messages import create_message
from tellwire.model import Delivery, Target
from tellwire.publication import Publication, with_trace
from tellwire.testing import MemoryCarrier
from tellwire.tracing import is_traced

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Keeping(MemoryCarrier):
    """Keeps the publications themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.publications: list[Publication] = []

    async def deliver(self, publication: Publication) -> Delivery:
        self.publications.append(publication)
        return await super().deliver(publication)


def publication(target: Target, trace_context: str | None = None) -> Publication:
    made = Publication.of(target, create_message("note", 1))
    return made if trace_context is None else with_trace(made, trace_context)


async def test_a_broadcast_is_a_span_whose_context_the_publication_has(spans: InMemorySpanExporter) -> None:
    carrier = Keeping()
    assert is_traced()
    await Broadcaster(carrier).broadcast_to_user("ada", create_message("note", 1))
    (span,) = spans.get_finished_spans()
    (sent,) = carrier.publications
    context = span.get_span_context()
    assert context is not None
    assert sent.trace_context == f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
    assert context.trace_flags.sampled
    assert span.name == "tellwire broadcast"
    assert "ada" not in str(span.attributes)


async def test_a_program_that_exports_no_spans_sends_no_context() -> None:
    carrier = Keeping()
    await Broadcaster(carrier).broadcast_to_user("ada", create_message("note", 1))
    assert carrier.publications[0].trace_context is None


def test_a_program_without_opentelemetry_does_not_load_it() -> None:
    program = """
import asyncio, sys
from tellwire import create_message
from tellwire.broadcast import Broadcaster
from tellwire.testing import MemoryCarrier
asyncio.run(Broadcaster(MemoryCarrier()).broadcast_to_user("ada", create_message("note", 1)))
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=True)
    assert ran.stdout == "[]\n"


async def test_a_span_of_the_program_is_the_parent(spans: InMemorySpanExporter) -> None:
    with trace.get_tracer("program").start_as_current_span("import"):
        await Broadcaster(MemoryCarrier()).broadcast_to_user("ada", create_message("note", 1))
    broadcast, program = spans.get_finished_spans()
    assert broadcast.parent is not None
    assert broadcast.parent.span_id == program.context.span_id


@pytest.mark.parametrize(
    "given",
    [
        "",
        "nonsense",
        PARENT.upper(),
        PARENT.replace("00-", "01-", 1),
        PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        PARENT.replace("00f067aa0ba902b7", "0" * 16),
        PARENT + "\n",
        PARENT + "-00",
    ],
)
def test_a_context_that_is_none_does_not_count(given: str) -> None:
    assert publication(Target(user="ada"), given).trace_context is None


def test_a_context_is_kept_as_it_is() -> None:
    assert publication(Target(user="ada"), PARENT).trace_context == PARENT
