"""A server that decides about topics: shared requests, answers that count for a time, and no answer."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tellwire.errors import TopicRightsUnavailable
from tellwire.limits import MAX_TOPIC_DECISION_BYTES, TOPIC_REFUSAL_SECONDS
from tellwire.model import Identity
from tellwire.testing import FakeClock
from tellwire.webhooks.signature import is_signed, key_of
from tellwire.webhooks.target import WebhookTarget
from tellwire.webhooks.topics import TopicWebhook
from tellwire.webhooks.webhook import Webhook
from tests.unit.aws_api.scripted import DROPS, HANGS, ReceivedRequest, Response, Service, Step

SECRET = "a secret of webhooks that nobody knows"
USER = Identity("u1", 5.0, {"sub": "u1", "role": "editor", "exp": 5, "jti": "x"})
YES, NO = Response(200, b'{"allow":true}'), Response(200, b'{"allow":false}')


@asynccontextmanager
async def topics(service: Service, clock: FakeClock | None = None, **options: Any) -> AsyncIterator[TopicWebhook]:
    clock = clock or FakeClock(time.time())
    async with service.running():
        target = WebhookTarget.of("topics", service.url, [SECRET], "TELLWIRE_TOPIC_AUTH_URL")
        hook = Webhook(target, clock, seconds=0.5, max_answer_bytes=MAX_TOPIC_DECISION_BYTES)
        decisions = TopicWebhook(hook, clock, options.pop("cache_seconds", 60), **options)
        try:
            yield decisions
        finally:
            await decisions.close()
            await hook.close()


async def test_the_server_gets_the_user_the_topic_and_the_claims() -> None:
    service = Service(YES)
    async with topics(service) as decisions:
        assert await decisions.may("subscribe", USER, "moc:1")
    (request,) = service.requests
    assert is_signed([key_of(SECRET)], request.headers, request.body, time.time())
    assert request.json["type"] == "topic"
    assert request.json["data"] == {
        "userId": "u1",
        "topic": "moc:1",
        "action": "subscribe",
        "claims": {"sub": "u1", "role": "editor"},
    }


async def test_an_answer_counts_for_its_time_a_no_for_less() -> None:
    clock = FakeClock(time.time())
    service = Service(YES, NO, NO, NO)
    async with topics(service, clock) as decisions:
        assert await decisions.may("subscribe", USER, "moc:1")
        await clock.advance(59)
        assert await decisions.may("subscribe", USER, "moc:1")
        await clock.advance(2)
        assert not await decisions.may("subscribe", USER, "moc:1")
        assert not await decisions.may("subscribe", USER, "moc:1")
        assert len(service.requests) == 2
        await clock.advance(TOPIC_REFUSAL_SECONDS + 1)
        assert not await decisions.may("subscribe", USER, "moc:1")
        assert len(service.requests) == 3


async def test_another_user_topic_action_or_claim_is_another_question_another_expiry_is_not() -> None:
    service = Service(YES)
    async with topics(service) as decisions:
        await decisions.may("subscribe", USER, "moc:1")
        await decisions.may("subscribe", Identity("u1", 9.0, USER.claims | {"exp": 9, "jti": "y"}), "moc:1")
        assert len(service.requests) == 1
        await decisions.may("publish", USER, "moc:1")
        await decisions.may("subscribe", USER, "moc:2")
        await decisions.may("subscribe", Identity("u2", 5.0, USER.claims), "moc:1")
        await decisions.may("subscribe", Identity("u1", 5.0, USER.claims | {"role": "none"}), "moc:1")
        assert len(service.requests) == 5


async def test_many_who_ask_the_same_at_once_share_one_request_also_if_the_first_goes_away() -> None:
    go_on = asyncio.Event()

    async def held(request: ReceivedRequest) -> Step:
        await go_on.wait()
        return YES

    service = Service(held)
    async with topics(service) as decisions:
        asking = [asyncio.create_task(decisions.may("subscribe", USER, "moc:1")) for _ in range(50)]
        await asyncio.sleep(0)
        asking[0].cancel()
        go_on.set()
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert outcomes[1:] == [True] * 49
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    "step",
    [
        HANGS,
        DROPS,
        Response(500),
        Response(403, b'{"allow":true}'),
        Response(302, b"", {"Location": "http://127.0.0.1:1/"}),
        Response(200, b""),
        Response(200, b"true"),
        Response(200, b'{"allow":"yes"}'),
        Response(200, b'{"allow":1}'),
        Response(200, b'{"allow":true,"x":"' + b"x" * 5000 + b'"}'),
        Response(204, b""),
    ],
    ids=lambda step: getattr(step, "body", b"")[:20].decode() + type(step).__name__,
)
async def test_whatever_is_no_decision_is_neither_yes_nor_no_and_is_not_kept(
    step: Step, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service(step)
    async with topics(service) as decisions:
        with caplog.at_level(logging.WARNING), pytest.raises(TopicRightsUnavailable) as raised:
            await decisions.may("subscribe", USER, "moc:1")
        assert len(decisions) == 0
    assert raised.value.retryable
    assert "the webhook topics failed" in caplog.text
    assert "editor" not in caplog.text


async def test_answers_are_kept_in_a_bounded_number_and_those_used_longest_ago_go() -> None:
    service = Service(YES)
    async with topics(service, max_answers=3) as decisions:
        for topic in ("a", "b", "c", "a", "d"):
            await decisions.may("subscribe", USER, topic)
        assert len(decisions) == 3
        assert len(service.requests) == 4
        await decisions.may("subscribe", USER, "a")
        assert len(service.requests) == 4
        await decisions.may("subscribe", USER, "b")
        assert len(service.requests) == 5


async def test_without_a_cache_each_question_is_asked() -> None:
    service = Service(YES, NO)
    async with topics(service, cache_seconds=0) as decisions:
        assert await decisions.may("subscribe", USER, "a")
        assert not await decisions.may("subscribe", USER, "a")
        assert len(decisions) == 0
    assert json.loads(service.requests[0].body)["data"]["topic"] == "a"
