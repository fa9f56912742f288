"""The Python client behaves as `spec/client` says, which `@tellwire/client` runs, too."""

import msgspec
import pytest

from scripts.mutations import ROOT, mutations
from tests.unit.client.protocol_page import rules
from tests.unit.client.traces import ENVIRONMENT, Run, Step, Trace, all_traces

TRACES = all_traces()


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace.name)
async def test_trace(trace: Trace) -> None:
    if missing := set(trace.requires) - ENVIRONMENT:
        pytest.skip(f"for clients with {', '.join(sorted(missing))}")
    await Run(trace).run()


@pytest.mark.parametrize(
    "step",
    [
        {"at": 0, "expect": {}, "reopened": {}},
        {"at": 0, "expect": {"sleeps": []}},
        {"at": 0, "expect": {}, "closed": {"socket": 1, "code": 1000, "clean": True}},
        {"at": 0},
    ],
)
def test_a_field_that_the_runner_does_not_know_fails(step: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(step, Step)


async def test_a_field_of_a_state_that_the_runner_does_not_know_fails() -> None:
    step = msgspec.convert({"at": 0, "expect": {"states": [{"status": "open", "mood": "good"}]}}, Step)
    with pytest.raises(AssertionError, match="unknown in a state"):
        await Run(Trace("", [], [], [step])).run()


def test_each_trace_has_its_own_name() -> None:
    names = [trace.name for trace in TRACES]
    assert len(names) == len(set(names))


def test_the_traces_cover_every_rule_of_the_page_and_no_other() -> None:
    covered = {rule for trace in TRACES for rule in trace.covers}
    # Of servers that give no code.
    statuses = {"handshake.401", "handshake.403", "handshake.404"}
    assert covered - statuses == rules()


def test_each_trace_names_mutations_that_can_be_applied() -> None:
    known = mutations()
    named = {name for trace in TRACES for name in trace.mutations}
    assert named == known.keys()
    assert all(trace.mutations for trace in TRACES)
    for name, halves in known.items():
        for half in halves.values():
            assert (ROOT / half["file"]).read_text().count(half["find"]) == 1, name
