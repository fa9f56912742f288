"""Publishes in a function: routes, bodies, batches, refusals, errors."""

import asyncio
import base64
import gzip
import json
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from tellwire.aws.http_events import read_request
from tellwire.aws.publishes import Publishes
from tellwire.broker import LiveBroker
from tellwire.engines.aws.unfinished import Remainder, UnfinishedDelivery
from tellwire.errors import AwsRefused, HistoryUnavailable
from tellwire.http_problems import RequestRefused
from tellwire.limits import AWS_BATCH_LINES, MAX_PUBLISH_BYTES
from tellwire.model import Delivery, Target
from tellwire.publication import Publication
from tellwire.testing import MemoryCarrier
from tests.unit.aws.test_http_events import request_event


def publish(user: str = "user-1", **data: Any) -> dict[str, Any]:
    return {"target": {"user": user}, "message": {"type": "refresh", "data": data}}


class Broker(LiveBroker):
    """A broker that only delivers. `errors` are raised for users."""

    def __init__(self) -> None:
        self.carrier = MemoryCarrier()
        self.errors: dict[str | None, Exception] = {}
        self.delivery: Delivery | None = None
        super().__init__(self.carrier)

    async def publish(self, publication: Publication) -> Any:
        if error := self.errors.get(publication.target.user):
            raise error
        published = await super().publish(publication)
        return published if self.delivery is None else type(published)(None, self.delivery)


@pytest.fixture
def broker() -> Broker:
    return Broker()


def asked(broker: Broker, event: Any) -> tuple[int, Any]:
    """Return the status and the body of the answer to a request; those of a batch are a list."""
    answer = asyncio.run(Publishes(broker).answer_request(read_request(event)))
    is_batch = answer["headers"]["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer["body"].splitlines()]
    return answer["statusCode"], lines if is_batch else lines[0]


def invoked(broker: Broker, event: Any) -> Any:
    return asyncio.run(Publishes(broker).answer_invocation(event))


def batch(lines: Sequence[Any], **more: Any) -> dict[str, Any]:
    return request_event("/v1/publish/batch", "\n".join(map(json.dumps, lines)), **more)


# --- over HTTP --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/publish", "/prod/v1/publish"])
def test_a_publish_is_published(broker: Broker, path: str) -> None:
    status, answer = asked(broker, request_event(path, json.dumps(publish())))
    assert (status, answer["delivered"], answer["failed"]) == (200, 1, 0)
    assert [target for target, _ in broker.carrier.sent] == [Target(user="user-1")]


def test_a_compressed_body_in_base64_is_taken(broker: Broker) -> None:
    body = base64.b64encode(gzip.compress(json.dumps(publish()).encode())).decode()
    event = request_event(body=body, isBase64Encoded=True, headers={"Content-Encoding": "gzip"})
    assert asked(broker, event)[0] == 200


@pytest.mark.parametrize(
    ("event", "status", "code"),
    [
        (request_event(body="{"), 400, "INVALID_MESSAGE"),
        (request_event(body="\ud800"), 400, "INVALID_MESSAGE"),
        (request_event(body=" " * (MAX_PUBLISH_BYTES + 1)), 413, "BODY_TOO_BIG"),
        (request_event(body="{}", headers={"content-encoding": "br"}), 415, "CONTENT_ENCODING_UNKNOWN"),
        (request_event(body="x", headers={"content-encoding": "gzip"}), 400, "BAD_REQUEST"),
        (request_event(method="GET"), 405, "METHOD_NOT_ALLOWED"),
        (request_event("/v1/connections"), 404, "NOT_FOUND"),
        (batch([{}] * (AWS_BATCH_LINES + 1)), 413, "BODY_TOO_BIG"),
    ],
)
def test_a_request_is_refused_as_a_gateway_does(broker: Broker, event: Any, status: int, code: str) -> None:
    found, answer = asked(broker, event)
    assert (found, answer["code"]) == (status, code)
    assert broker.carrier.sent == []


def test_whoever_has_not_signed_publishes_nothing(broker: Broker) -> None:
    event = request_event(body=json.dumps(publish()))
    del event["requestContext"]["authorizer"]
    status, answer = asked(broker, event)
    assert (status, answer["code"]) == (403, "NOT_SIGNED")
    assert broker.carrier.sent == []


def test_each_line_of_a_batch_has_its_answer(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    broker.errors = {"away": HistoryUnavailable("no time left"), "crash": RuntimeError("secret")}
    lines = [publish("a"), {"target": {}}, publish("away"), publish("crash"), publish("a", second=True)]
    status, answers = asked(broker, batch(lines))
    assert status == 200
    assert [each.get("code", "delivered") for each in answers] == [
        "delivered",
        "INVALID_MESSAGE",
        "HISTORY_UNAVAILABLE",
        "INTERNAL_ERROR",
        "delivered",
    ]
    assert [each.get("status") for each in answers] == [None, 400, 503, 500, None]
    assert len(caplog.records) == 1


def test_lines_for_one_user_keep_their_order(broker: Broker) -> None:
    asked(broker, batch([publish(f"user-{n % 3}", n=n) for n in range(30)]))
    for user in range(3):
        assert [each["data"]["n"] for each in broker.carrier.sent_to(f"user-{user}")] == list(range(user, 30, 3))


def test_an_error_that_passes_is_answered_and_one_that_does_not_is_raised(broker: Broker) -> None:
    broker.errors["user-1"] = HistoryUnavailable("it does not respond")
    assert asked(broker, request_event(body=json.dumps(publish())))[0] == 503
    broker.errors["user-1"] = AwsRefused("PutItem", 400, "AccessDeniedException", "no right")
    with pytest.raises(AwsRefused):
        asked(broker, request_event(body=json.dumps(publish())))


def test_an_answer_has_no_token_to_go_on_with(broker: Broker) -> None:
    rest = Remainder(Target(all=True), ("user-1", "c"), "a secret message")
    broker.delivery = UnfinishedDelivery.of(Delivery(3, unsent=2), rest)
    status, answer = asked(broker, request_event(body=json.dumps({**publish(), "target": {"all": True}})))
    assert (status, set(answer)) == (200, set(Delivery.__struct_fields__))


# --- invoked ----------------------------------------------------------------------------------------------------------


def test_an_invocation_publishes_and_returns_the_delivery(broker: Broker) -> None:
    assert invoked(broker, publish())["delivered"] == 1
    assert len(broker.carrier.sent) == 1


def test_an_invocation_that_is_refused_returns_the_reason(broker: Broker) -> None:
    answer = invoked(broker, {"target": {"user": "user-1"}, "message": {"type": "pong", "data": "\ud800"}})
    assert (answer["status"], answer["code"]) == (400, "INVALID_MESSAGE")


def test_a_list_of_publishes_returns_a_list(broker: Broker) -> None:
    answers = invoked(broker, [publish("a"), 7, publish("b")])
    assert [each.get("status") for each in answers] == [None, 400, None]
    with pytest.raises(RequestRefused):
        invoked(broker, [publish()] * (AWS_BATCH_LINES + 1))


def test_an_invocation_is_repeated_if_the_history_does_not_respond(broker: Broker) -> None:
    broker.errors["user-1"] = HistoryUnavailable("it does not respond")
    with pytest.raises(HistoryUnavailable):
        invoked(broker, publish())
