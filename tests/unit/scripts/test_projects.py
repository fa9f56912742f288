"""Exchanges with public projects: their form, and their place in the documentation."""

import re
from pathlib import Path

import pytest

from scripts.projects import ROOT, Exchange, NotAsPromised, Running, load, run

STEPS = (
    {"connect"},
    {"refused"},
    {"send", "text"},
    {"expect", "pattern"},
    {"close"},
    {"table", "rows"},
    {"sign_in"},
    {"call", "given"},
)


@pytest.mark.parametrize("exchange", load(), ids=lambda exchange: exchange.name)
def test_an_exchange_has_steps_that_are_known_and_patterns_that_compile(exchange: Exchange) -> None:
    assert any("connect" in step for step in exchange.steps)
    for step in exchange.steps:
        assert step.keys() - {"query", "headers", "tls"} in STEPS
        re.compile(step.get("pattern", ""))


def test_every_project_is_in_the_table_of_the_documentation() -> None:
    written = (ROOT / "docs" / "explanation" / "emulators.md").read_text()
    assert [exchange.name for exchange in load() if f"| {exchange.name} |" not in written] == []


def test_a_step_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="allowed: connect, refused, send, expect, close, table, sign_in, call"):
        run(Running(["ws://127.0.0.1:1/prod"], Path("log")), [{"wait": 1}])


def test_tokens_of_a_user_are_filled_in_and_nothing_else() -> None:
    running = Running(["ws://127.0.0.1:1/prod"], Path("log"), {"id_token": "abc"})
    assert running.filled("token={id_token}&other={other}") == "token=abc&other={other}"


def test_an_answer_that_does_not_come_is_told_as_such() -> None:
    with pytest.raises(NotAsPromised, match="got no connection"):
        run(Running(["ws://127.0.0.1:1/prod"], Path("log")), [{"connect": "a"}])
