"""The lines of a Lambda function from which CloudWatch makes metrics."""

import json

import pytest

from tellwire.aws.deployment import Deployment
from tellwire.aws.handlers import Connect
from tellwire.aws.metrics import FunctionMetrics, InvocationCounts, documents
from tellwire.messages import create_message
from tellwire.model import Delivery, Target
from tellwire.ports import NullObserver, Published
from tellwire.publication import Publication
from tellwire.testing import FakeClock
from tellwire.topics import TopicRules

NOW = 1_796_000_000.5


def publish(counts: InvocationCounts, delivery: Delivery, seconds: float = 0.25) -> None:
    counts.published(Publication.of(Target(user="ada"), create_message("note", 1)), Published(None, delivery), seconds)


def test_an_invocation_has_a_document_for_each_label_and_none_for_zeros() -> None:
    counts = InvocationCounts(TopicRules())
    publish(counts, Delivery(delivered=2))
    publish(counts, Delivery(delivered=1, gone=1), 0.5)
    assert list(documents(counts, "default", NOW)) == [
        {
            "_aws": {
                "Timestamp": 1_796_000_000_500,
                "CloudWatchMetrics": [
                    {
                        "Namespace": "tellwire",
                        "Dimensions": [["function"]],
                        "Metrics": [{"Name": "tellwire_publish_seconds", "Unit": "Seconds"}],
                    }
                ],
            },
            "function": "default",
            "tellwire_publish_seconds": [0.25, 0.5],
        },
        labelled("tellwire_publishes_total", "target", "user", 2),
        labelled("tellwire_deliveries_total", "outcome", "delivered", 3),
        labelled("tellwire_deliveries_total", "outcome", "gone", 1),
    ]


def labelled(name: str, label: str, value: str, count: int) -> dict[str, object]:
    directive = {
        "Namespace": "tellwire",
        "Dimensions": [["function", label]],
        "Metrics": [{"Name": name, "Unit": "Count"}],
    }
    about = {"Timestamp": 1_796_000_000_500, "CloudWatchMetrics": [directive]}
    return {"_aws": about, "function": "default", label: value, name: count}


def test_an_invocation_in_which_nothing_happened_has_no_line() -> None:
    assert list(documents(InvocationCounts(TopicRules()), "default", NOW)) == []


def test_a_metric_has_at_most_100_values_in_a_line() -> None:
    counts = InvocationCounts(TopicRules())
    for _ in range(101):
        publish(counts, Delivery())
    assert len(next(documents(counts, "f", NOW))["tellwire_publish_seconds"]) == 100


def test_each_invocation_is_counted_from_zero_and_written_also_after_an_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    metrics = FunctionMetrics(TopicRules(), FakeClock(NOW), "sweep")
    with metrics.invocation():
        metrics.observer.lease_expired("stalled")
    with pytest.raises(RuntimeError), metrics.invocation():
        metrics.observer.lease_expired("failed")
        raise RuntimeError("a fault")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["status"], line["tellwire_leases_expired_total"]) for line in lines] == [
        ("stalled", 1),
        ("failed", 1),
    ]


def test_a_refused_handshake_is_a_line_if_the_environment_asks_for_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    environ = {
        "TELLWIRE_METRICS": "true",
        "AWS_LAMBDA_FUNCTION_NAME": "connect-function",
        "TELLWIRE_JWT_SECRET": "x" * 32,
    }
    event = {"requestContext": {"connectionId": "c1", "connectedAt": 0}}
    assert Connect(Deployment(environ, FakeClock(NOW)))(event, None)["statusCode"] == 401
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (line["function"], line["reason"]) == ("connect-function", "TOKEN_MISSING")
    assert line["tellwire_handshakes_refused_total"] == 1
    assert Connect(Deployment({"TELLWIRE_JWT_SECRET": "x" * 32}, FakeClock(NOW)))(event, None)["statusCode"] == 401
    assert capsys.readouterr().out == ""


def test_without_metrics_nothing_is_observed() -> None:
    assert type(Deployment({}).observer) is NullObserver
