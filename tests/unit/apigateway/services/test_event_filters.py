"""Patterns of events."""

import json
from typing import Any

import pytest

from tellwire.apigateway.services.event_filters import fits, read_filters
from tellwire.errors import ConfigError

RECORD = {
    "eventName": "INSERT",
    "dynamodb": {"NewImage": {"room": {"S": "lobby"}, "tags": {"L": ["a", "b"]}}, "SizeBytes": 12},
    "body": {"kind": "Chat", "is_new": True, "nothing": None},
}


def filters(*patterns: Any) -> Any:
    return read_filters({"Filters": [{"Pattern": json.dumps(pattern)} for pattern in patterns]})


@pytest.mark.parametrize(
    ("pattern", "is_fit"),
    [
        ({"eventName": ["INSERT", "MODIFY"]}, True),
        ({"eventName": ["REMOVE"]}, False),
        ({"eventName": ["INSERT"], "body": {"kind": ["Other"]}}, False),
        ({"dynamodb": {"NewImage": {"room": {"S": [{"prefix": "lob"}]}}}}, True),
        ({"dynamodb": {"NewImage": {"room": {"S": [{"suffix": "lob"}]}}}}, False),
        ({"dynamodb": {"NewImage": {"tags": {"L": ["b"]}}}}, True),
        ({"dynamodb": {"OldImage": {"room": {"S": [{"exists": False}]}}}}, True),
        ({"dynamodb": {"NewImage": {"room": [{"exists": True}]}}}, True),
        ({"dynamodb": {"NewImage": {"other": [{"exists": True}]}}}, False),
        ({"dynamodb": {"SizeBytes": [{"numeric": [">", 10, "<=", 12]}]}}, True),
        ({"dynamodb": {"SizeBytes": [{"numeric": ["<", 12]}]}}, False),
        ({"body": {"kind": [{"equals-ignore-case": "chat"}]}}, True),
        ({"body": {"kind": [{"wildcard": "C*t"}]}}, True),
        ({"body": {"kind": [{"anything-but": ["Chat"]}]}}, False),
        ({"body": {"kind": [{"anything-but": {"prefix": "x"}}]}}, True),
        ({"body": {"is_new": [True]}}, True),
        ({"body": {"is_new": [1]}}, False),
        ({"body": {"nothing": [None]}}, True),
        ({"$or": [{"eventName": ["REMOVE"]}, {"body": {"is_new": [True]}}]}, True),
        ({}, True),
    ],
)
def test_a_record_fits_a_pattern_as_on_aws(pattern: Any, is_fit: bool) -> None:
    assert fits(filters(pattern), RECORD) is is_fit


def test_one_pattern_of_several_is_enough_and_without_any_all_records_fit() -> None:
    assert fits(filters({"eventName": ["REMOVE"]}, {"eventName": ["INSERT"]}), RECORD)
    assert fits(read_filters({}), RECORD)


@pytest.mark.parametrize(
    "criteria",
    [
        [],
        {"Filters": "x"},
        {"Filters": [{"Pattern": "{"}]},
        {"Filters": [{"Pattern": "[]"}]},
        {"Filters": [{"Pattern": '{"a": "not a list"}'}]},
        {"Filters": [{"Pattern": '{"a": [{"cidr": "10.0.0.0/8"}]}'}]},
    ],
)
def test_another_form_is_refused(criteria: Any) -> None:
    with pytest.raises(ConfigError, match=r"FilterCriteria|pattern"):
        read_filters(criteria)
