"""Times of schedules."""

from datetime import UTC, datetime

import pytest

from tellwire.apigateway.services.schedule_times import next_times
from tellwire.errors import ConfigError


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("expression", "now", "expected"),
    [
        ("cron(0 8 ? * MON-FRI *)", "2026-11-27T08:00:00", "2026-11-30T08:00:00"),
        ("cron(0 8 ? * 2-6 *)", "2026-11-27T08:00:00", "2026-11-30T08:00:00"),
        ("cron(0/15 * * * ? *)", "2026-11-29T10:14:59", "2026-11-29T10:15:00"),
        ("cron(0/15 * * * ? *)", "2026-11-29T10:15:00", "2026-11-29T10:30:00"),
        ("cron(5,35 22-1 * * ? *)", "2026-11-29T23:40:00", "2026-11-30T00:05:00"),
        ("cron(0 0 29 FEB ? *)", "2026-11-29T00:00:00", "2028-02-29T00:00:00"),
        ("at(2027-01-01T08:00:00)", "2026-11-29T00:00:00", "2027-01-01T08:00:00"),
    ],
)
def test_the_next_time_of_a_schedule(expression: str, now: str, expected: str) -> None:
    assert next_times(expression)(at(now)) == at(expected)


@pytest.mark.parametrize("expression", ["at(2026-01-01T08:00:00)", "cron(0 8 1 1 ? 2025)", "cron(0 0 31 2 ? *)"])
def test_a_schedule_may_have_no_next_time(expression: str) -> None:
    assert next_times(expression)(at("2026-11-29T00:00:00")) is None


def test_a_rate_counts_from_its_beginning() -> None:
    next_at = next_times("rate(5 minutes)", begins_at=1000.0)
    assert [next_at(1000.0), next_at(1299.0), next_at(1300.0)] == [1300.0, 1300.0, 1600.0]
    assert next_times("rate(1 day)", begins_at=0.0)(1.0) == 86_400.0


def test_a_time_zone_moves_the_hours() -> None:
    next_at = next_times("cron(0 8 * * ? *)", "Europe/Berlin")
    assert next_at(at("2026-11-29T07:00:00")) == at("2026-11-30T07:00:00")
    assert next_at(at("2026-07-01T00:00:00")) == at("2026-07-01T06:00:00")


@pytest.mark.parametrize(
    "expression",
    ["", "rate(0 minutes)", "rate(5 weeks)", "cron(0 8 * *)", "cron(0 8 L * ? *)", "cron(99 8 * * ? *)", "at(soon)"],
)
def test_another_expression_is_refused_with_what_is_allowed(expression: str) -> None:
    with pytest.raises(ConfigError, match=r"allowed here: rate\(5 minutes\)"):
        next_times(expression)


def test_an_unknown_time_zone_is_refused() -> None:
    with pytest.raises(ConfigError, match="schedule"):
        next_times("cron(0 8 * * ? *)", "Europe/Nowhere")
