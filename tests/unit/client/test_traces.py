"""The Python client behaves as `spec/client` says, which `@tellwire/client` runs, too."""

import pytest

from tests.unit.client.protocol_page import rules
from tests.unit.client.traces import ENVIRONMENT, Run, Trace, all_traces

TRACES = all_traces()


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace.name)
async def test_trace(trace: Trace) -> None:
    if missing := set(trace.requires) - ENVIRONMENT:
        pytest.skip(f"for clients with {', '.join(sorted(missing))}")
    await Run(trace).run()


def test_each_trace_has_its_own_name() -> None:
    names = [trace.name for trace in TRACES]
    assert len(names) == len(set(names))


def test_the_traces_cover_every_rule_of_the_page_and_no_other() -> None:
    covered = {rule for trace in TRACES for rule in trace.covers}
    # Of servers that give no code.
    statuses = {"handshake.401", "handshake.403", "handshake.404"}
    assert covered - statuses == rules()
