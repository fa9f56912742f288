"""Events and the rules they match."""

import json
from typing import Any

import pytest

from tellwire.apigateway.services.definition import EventRule
from tellwire.apigateway.services.event_rules import matching_events

RULE = EventRule("said", "chat", {"source": ["a"], "detail": {"kind": [{"prefix": "x"}]}}, "Fn")
ENTRY = {"EventBusName": "chat", "Source": "a", "DetailType": "Said", "Detail": '{"kind": "xy"}', "Time": 0}


def matched(rule: EventRule, *entries: Any) -> list[Any]:
    return [event for _, event in matching_events([rule], json.dumps({"Entries": entries}).encode(), "eu-west-1")]


def test_an_event_has_the_form_in_which_its_receivers_get_it() -> None:
    [event] = matched(RULE, ENTRY)
    assert len(event.pop("id")) == 36
    assert event == {
        "version": "0",
        "detail-type": "Said",
        "source": "a",
        "account": "123456789012",
        "time": "1970-01-01T00:00:00Z",
        "region": "eu-west-1",
        "resources": [],
        "detail": {"kind": "xy"},
    }


@pytest.mark.parametrize(
    "changed", [{"Source": "b"}, {"Detail": '{"kind": "y"}'}, {"EventBusName": "default"}, {"Detail": "{"}]
)
def test_an_event_that_does_not_match_invokes_nothing(changed: dict[str, str]) -> None:
    assert matched(RULE, ENTRY | changed) == []


def test_a_bus_is_named_by_its_arn_too_and_the_input_of_a_target_replaces_the_event() -> None:
    arn = "arn:aws:events:eu-west-1:123456789012:event-bus/chat"
    rule = EventRule("said", "chat", {"source": ["a"]}, "Fn", '{"a": 1}')
    assert matched(rule, ENTRY | {"EventBusName": arn}) == [{"a": 1}]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"Entries": 1}', b'{"Entries": [1]}'])
def test_a_call_of_another_form_invokes_nothing(body: bytes) -> None:
    assert list(matching_events([RULE], body, "eu-west-1")) == []
