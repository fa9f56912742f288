"""docs/explanation/scale.md: its tables are the model's, with the costs that are stored."""

from pathlib import Path

import pytest

from bench.processes import redis_program
from bench.scale import __main__ as command
from bench.scale import stored
from bench.scale.checked import Checked
from bench.scale.page import with_tables
from bench.scale.stored import Measured
from tests.unit.bench.scale_costs import COSTS

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "scale.md"


def test_the_tables_of_the_page_are_the_models() -> None:
    page = PAGE.read_text()
    assert page == with_tables(page, stored.load("redis")), "python -m bench.scale --write"


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    with pytest.raises(LookupError, match="no place for the table costs"):
        with_tables("# A page", stored.load("redis"))


def test_measured_costs_are_read_as_they_were_stored(tmp_path: Path) -> None:
    file = tmp_path / "scale.json"
    checks = [Checked(nodes=2, devices=1, node_ms=80.0, node_by_model=100.0, redis_ms=20.0, redis_by_model=16.0)]
    measured = Measured({"cpu": "a processor"}, COSTS, checks)
    stored.save(measured, file)
    assert stored.load("redis", file) == measured
    assert measured.checks[0].node_ratio == 0.8
    assert measured.checks[0].redis_ratio == 1.25


def test_an_engine_that_was_not_measured_is_named(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="no costs of the engine redis: --calibrate measures them"):
        stored.load("redis", tmp_path / "scale.json")


def test_the_command_prints_the_needs_of_a_workload(capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["--connections", "200000", "--publishes", "5000", "--devices", "2"])
    shown = capsys.readouterr().out
    assert "200,000 connections" in shown
    assert "| users who are connected                | " in shown
    assert "100,000" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--publishes", "5000"], "--publishes needs --connections"),
        (["--connections", "0"], "connections: got 0; allowed: 1 to 1,000,000,000"),
        (["--connections", "1000", "--publishes", "nan"], "publishes: got nan; allowed: 0 or more"),
    ],
)
def test_a_wrong_workload_is_one_line_of_the_command(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(arguments)
    assert said in capsys.readouterr().err


def test_costs_cannot_be_measured_without_redis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def calibrate(engine: str) -> None:
        redis_program()

    monkeypatch.setattr(command, "_calibrate", calibrate)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="2"):
        command.main(["--calibrate"])
    assert "there is no redis-server on this machine" in capsys.readouterr().out
