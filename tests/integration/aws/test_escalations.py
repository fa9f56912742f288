"""Escalations on AWS: a Lambda publishes, the sweeper calls the target, on Amazon's DynamoDB Local."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from tellwire.aws.deployment import Deployment
from tellwire.aws.handlers import Sweep
from tellwire.engines.aws.engine import aws_engine
from tellwire.messages import create_notification_message
from tellwire.model import Target
from tellwire.publication import Publication, user_stream
from tellwire.testing import FakeClock
from tellwire.webhooks.signature import is_signed, key_of
from tests.dynamodb import create_connections_table, create_history_table, local_environment, new_table_name
from tests.publications import acknowledge
from tests.unit.aws_api.scripted import Response, Service

SIGNS = "a secret of webhooks that nobody knows"


@pytest.fixture
async def backend() -> AsyncIterator[Service]:
    async with Service().running() as service:
        yield service


async def test_the_sweeper_calls_the_target_of_a_notification_that_a_function_has_published(
    dynamodb_local: str, backend: Service
) -> None:
    names = new_table_name("connections"), new_table_name("history")
    create_connections_table(dynamodb_local, names[0])
    create_history_table(dynamodb_local, names[1])
    publisher = local_environment(dynamodb_local) | {
        "CONNECTIONS_TABLE_NAME": names[0],
        "HISTORY_TABLE_NAME": names[1],
        "WEBSOCKET_API_ENDPOINT": backend.url,
    }
    sweeper = publisher | {
        "TELLWIRE_WEBHOOKS": json.dumps({"mail": f"{backend.url}/mail"}),
        "TELLWIRE_WEBHOOK_SECRET": SIGNS,
    }
    clock = FakeClock()
    sweep = Sweep(Deployment(sweeper, clock))
    escalate = {"after_seconds": 60, "target": "mail"}
    backend.steps = [Response(204)] * 5
    engine = aws_engine(publisher, clock)
    async with engine:
        for title in ("missed", "seen"):
            message = create_notification_message(title, "", "info", escalate=escalate)
            user = f"user-{title}"
            assert (await engine.broker.publish(Publication.of(Target(user=user), message))).entry is not None
        assert engine.history is not None
        position = await engine.history.position(user_stream("user-seen"))
        assert await acknowledge(engine.history, "user-seen", str(position), clock.now()) is not None
        await clock.advance(30)
        assert await asyncio.to_thread(sweep, {}, None) == {"expired": 0, "is_finished": True}
        await clock.advance(31)
        assert await asyncio.to_thread(sweep, {}, None) == {"expired": 2, "is_finished": True}
        assert await asyncio.to_thread(sweep, {}, None) == {"expired": 0, "is_finished": True}
    (request,) = backend.requests
    assert request.target == "/mail"
    assert is_signed([key_of(SIGNS)], request.headers, request.body, clock.now())
    assert request.json["data"]["message"]["data"]["title"] == "missed"
