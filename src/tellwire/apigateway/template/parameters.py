"""Parameters of a template: their values, and the constraints that AWS checks before it creates a stack.

Source: CloudFormation user guide, "Parameters".
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from tellwire.apigateway.template.intrinsics import Unresolved
from tellwire.errors import ConfigError, shown

_FROM_PARAMETER_STORE: Final = "AWS::SSM::Parameter::Value<"

Stored = Callable[[str], str]
"""A function from a name in the Parameter Store to its value; raises `Unresolved` for one that is not known."""


class MissingParameter(Unresolved):
    """A parameter has no value. One note says so, wherever it is used."""


class Parameters:
    """The parameters that a template declares, with the values that are given.

    Raises:
        ConfigError: a value is given for a parameter that is not declared, or one is not allowed.
    """

    def __init__(self, declared: Mapping[str, Any], given: Mapping[str, str]) -> None:
        self._declared = {name: each if isinstance(each, dict) else {} for name, each in declared.items()}
        self._given = given
        for name in given:
            if name not in self._declared:
                allowed = ", ".join(declared) or "none, the template has no parameters"
                raise ConfigError(f"parameter: got {name!r}; allowed: {allowed}")
        for name, parameter in self._declared.items():
            value = given.get(name, parameter.get("Default"))
            if value is not None and not self._is_stored(name):
                _check(name, parameter, str(value))

    def __contains__(self, name: str) -> bool:
        return name in self._declared

    @property
    def missing(self) -> list[str]:
        """The parameters without a value: AWS would not deploy the template."""
        return [name for name, each in self._declared.items() if name not in self._given and "Default" not in each]

    def value(self, name: str, stored: Stored) -> Any:
        """Return the value of a parameter: text, or a list of it.

        Raises:
            Unresolved: it is not known here.
        """
        declared = self._declared[name]
        if name in self._given:
            # A value from the command line stands in for that of the Parameter Store.
            value: Any = self._given[name]
        elif "Default" not in declared:
            raise MissingParameter(f"parameter {name} has no value; give it one with --parameter {name}=…")
        else:
            value = stored(str(declared["Default"])) if self._is_stored(name) else declared["Default"]
        kind = str(declared.get("Type", "String"))
        is_list = "CommaDelimitedList" in kind or "List<" in kind
        return [item.strip() for item in str(value).split(",")] if is_list else value

    def _is_stored(self, name: str) -> bool:
        return str(self._declared[name].get("Type")).startswith(_FROM_PARAMETER_STORE)


def _check(name: str, parameter: Mapping[str, Any], value: str) -> None:
    for allowed in (_allowed_values, _pattern, _length, _number):
        if (words := allowed(parameter, value)) is not None:
            described = parameter.get("ConstraintDescription")
            more = f" ({described})" if described else ""
            got = "a value that is not shown" if _is_secret(parameter) else repr(value)
            raise ConfigError(f"parameter {name}: got {got}; allowed: {words}{more}")


def _is_secret(parameter: Mapping[str, Any]) -> bool:
    return str(parameter.get("NoEcho")).lower() == "true"


def _allowed_values(parameter: Mapping[str, Any], value: str) -> str | None:
    match parameter.get("AllowedValues"):
        case list(allowed) if value not in (texts := [_text(each) for each in allowed]):
            return ", ".join(texts)
        case _:
            return None


def _pattern(parameter: Mapping[str, Any], value: str) -> str | None:
    pattern = parameter.get("AllowedPattern")
    if pattern is None:
        return None
    try:
        return None if re.fullmatch(str(pattern), value) else f"what matches {pattern}"
    except re.error:
        # Java's expressions have forms that Python's have not.
        return None


def _length(parameter: Mapping[str, Any], value: str) -> str | None:
    least, most = _bounds(parameter, "MinLength", "MaxLength")
    return None if least <= len(value) <= most else f"{least:g} to {most:g} characters"


def _number(parameter: Mapping[str, Any], value: str) -> str | None:
    if parameter.get("Type") != "Number":
        return None
    least, most = _bounds(parameter, "MinValue", "MaxValue")
    try:
        return None if least <= float(value) <= most else f"{least:g} to {most:g}"
    except ValueError:
        return "a number"


def _bounds(parameter: Mapping[str, Any], least: str, most: str) -> tuple[float, float]:
    try:
        return float(parameter.get(least, "-inf")), float(parameter.get(most, "inf"))
    except (TypeError, ValueError) as error:
        given = shown(parameter.get(least)), shown(parameter.get(most))
        raise ConfigError(f"parameter: {least} and {most}: got {given[0]} and {given[1]}; allowed: numbers") from error


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
