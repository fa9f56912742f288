"""A trace over HTTP: from a broadcast, alone and in a batch, to the node; and from the header of another program."""

import asyncio
import json

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tellwire.broadcast import Broadcaster
from tellwire.carriers.http import HttpCarrier
from tellwire.messages import create_message
from tests.conftest import API_KEY, Gateway, StartGateway
from tests.integration.gateway.test_http_api import call

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
PUBLISH = json.dumps({"target": {"user": "user-1"}, "message": {"type": "note", "data": 1}}).encode()


def parent_of(span: ReadableSpan) -> int:
    assert span.parent is not None
    return span.parent.span_id


def id_of(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.span_id


async def test_the_span_of_a_publish_is_a_child_of_its_broadcast(
    start_gateway: StartGateway, spans: InMemorySpanExporter
) -> None:
    gateway = await start_gateway(tracing=True)
    carrier = HttpCarrier(gateway.url, API_KEY)
    broadcaster = Broadcaster(carrier)
    # Alone, and then several at once, which leave as a batch.
    await broadcaster.broadcast_to_user("user-1", create_message("note", 0))
    await asyncio.gather(*(broadcaster.broadcast_to_user("user-1", create_message("note", n)) for n in range(1, 4)))
    await carrier.close()
    found = spans.get_finished_spans()
    broadcasts = {id_of(span) for span in found if span.name == "tellwire broadcast"}
    publishes = {parent_of(span) for span in found if span.name == "tellwire publish"}
    assert len(broadcasts) == 4
    assert publishes == broadcasts


@pytest.mark.parametrize("times", [1, 3])
async def test_the_header_of_another_program_counts_and_an_own_field_before_it(
    start_gateway: StartGateway, spans: InMemorySpanExporter, times: int
) -> None:
    gateway: Gateway = await start_gateway(tracing=True)
    own = PUBLISH[:-1] + b', "traceContext": "' + PARENT.replace("00f0", "11f1").encode() + b'"}'
    for _ in range(times):
        # The second time the head is known, and would be answered without ASGI.
        await call(gateway, "POST", "/v1/publish", PUBLISH, traceparent=PARENT)
        await call(gateway, "POST", "/v1/publish", own, traceparent=PARENT)
        await call(gateway, "POST", "/v1/publish", PUBLISH)
        await call(gateway, "POST", "/v1/publish", PUBLISH, traceparent="nonsense")
    parents = [parent_of(span) for span in spans.get_finished_spans() if span.name == "tellwire publish"]
    assert parents == [0x00F067AA0BA902B7, 0x11F167AA0BA902B7] * times


async def test_without_the_setting_a_node_records_nothing(
    start_gateway: StartGateway, spans: InMemorySpanExporter
) -> None:
    gateway = await start_gateway()
    await call(gateway, "POST", "/v1/publish", PUBLISH, traceparent=PARENT)
    assert spans.get_finished_spans() == ()
