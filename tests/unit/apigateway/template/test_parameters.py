"""Parameters of a template, and their constraints."""

from typing import Any

import pytest

from tellwire.apigateway.template.parameters import Parameters
from tellwire.errors import ConfigError


@pytest.mark.parametrize(
    ("declared", "given", "words"),
    [
        ({"AllowedValues": ["dev", "prod"]}, "staging", "got 'staging'; allowed: dev, prod"),
        ({"AllowedValues": [True, 1]}, "false", "got 'false'; allowed: true, 1"),
        ({"AllowedPattern": "[a-z]+"}, "A1", "got 'A1'; allowed: what matches [a-z]+"),
        ({"MinLength": 3}, "ab", "got 'ab'; allowed: 3 to inf characters"),
        ({"MaxLength": "3"}, "abcd", "got 'abcd'; allowed: -inf to 3 characters"),
        ({"Type": "Number", "MinValue": 1, "MaxValue": 9}, "10", "got '10'; allowed: 1 to 9"),
        ({"Type": "Number"}, "many", "got 'many'; allowed: a number"),
        ({"MinLength": 3, "NoEcho": True}, "ab", "got a value that is not shown; allowed: 3 to inf characters"),
        (
            {"AllowedValues": ["a"], "ConstraintDescription": "must be a letter"},
            "b",
            "got 'b'; allowed: a (must be a letter)",
        ),
    ],
)
def test_a_value_that_aws_would_refuse_is_refused(declared: dict[str, Any], given: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Parameters({"Name": {"Type": "String", **declared}}, {"Name": given})
    assert str(caught.value) == f"parameter Name: {words}"


@pytest.mark.parametrize(
    ("declared", "given"),
    [
        ({"AllowedValues": ["dev", "prod"]}, "prod"),
        ({"AllowedValues": [1, 2]}, "2"),
        ({"AllowedPattern": r"\p{Alpha}+"}, "a pattern that only Java has"),
        ({"MinLength": 1, "MaxLength": 2}, "ab"),
        ({"Type": "Number", "MinValue": "1"}, "1.5"),
    ],
)
def test_a_value_that_aws_takes_is_taken(declared: dict[str, Any], given: str) -> None:
    parameters = Parameters({"Name": {"Type": "String", **declared}}, {"Name": given})
    assert parameters.value("Name", lambda name: name) == given


def test_a_default_is_checked_too() -> None:
    with pytest.raises(ConfigError, match="parameter Name: got 'x'; allowed: 2 to inf characters"):
        Parameters({"Name": {"Type": "String", "MinLength": 2, "Default": "x"}}, {})


def test_those_without_a_value_are_missing() -> None:
    declared = {"Wanted": {"Type": "String"}, "Given": {"Type": "String"}, "Known": {"Type": "String", "Default": ""}}
    assert Parameters(declared, {"Given": "x"}).missing == ["Wanted"]
