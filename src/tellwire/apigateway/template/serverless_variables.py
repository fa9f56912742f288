"""Variables of a `serverless.yml`: `${self:custom.name}`, `${opt:stage, 'dev'}`, and similar ones. Pure.

A variable whose source is not read stays, as a value that cannot be resolved; a note names it where it is used.

Source: Serverless Framework documentation, "Variables".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tellwire.errors import ConfigError, shown

MAX_STEPS: Final = 10_000
"""Most variables in a file: each may lead to others, without end if two lead to each other."""

MAX_DEPTH: Final = 50
"""Most variables that lead to one another."""

_VARIABLE: Final = re.compile(r"\$\{([A-Za-z]+\([^${}()]*\)[^${}]*|[A-Za-z]+:(?!:)[^${}]*)\}")
_QUOTED: Final = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_CONSTANTS: Final[Mapping[str, Any]] = {"true": True, "false": False, "null": None}


@dataclass(frozen=True, slots=True)
class Given:
    """The values that do not come from the file. `options` are those of `opt` and `param`."""

    stage: str
    region: str
    account_id: str
    options: Mapping[str, str]
    environment: Mapping[str, str]


class _Missing(Exception):
    """A variable has no value here."""


class Variables:
    """The variables of a file, whose data is `body`."""

    def __init__(self, body: Mapping[str, Any], given: Given) -> None:
        self._body = body
        self._given = given
        self._steps = 0
        self._depth = 0

    def resolve(self, value: Any) -> Any:
        """Return data with every variable in it replaced by its value.

        Raises:
            ConfigError: there are too many of them, or one leads to itself.
        """
        match value:
            case str():
                return self._text(value)
            case list():
                return [self.resolve(each) for each in value]
            case dict():
                return {key: self.resolve(each) for key, each in value.items()}
            case _:
                return value

    def _text(self, text: str) -> Any:
        self._depth += 1
        try:
            return self._filled(text)
        finally:
            self._depth -= 1

    def _filled(self, text: str) -> Any:
        for name, known in (("AccountId", self._given.account_id), ("Region", self._given.region)):
            # The form of a plugin that many older files use, serverless-pseudo-parameters.
            text = text.replace(f"#{{AWS::{name}}}", known)
        # The innermost one first: variables may be in one another.
        while (found := _VARIABLE.search(text)) is not None:
            self._steps += 1
            if self._steps > MAX_STEPS or self._depth > MAX_DEPTH:
                raise ConfigError(f"serverless.yml: variable {shown(found[0])} leads to itself; allowed: a value")
            try:
                value = self._value(found[1])
            except _Missing:
                return {"Fn::Variable": text}
            if found[0] == text:
                return self.resolve(value)
            if isinstance(value, dict | list):
                return {"Fn::Variable": text}
            text = f"{text[: found.start()]}{_written(value)}{text[found.end() :]}"
        return text

    def _value(self, expression: str) -> Any:
        for alternative in _alternatives(expression):
            try:
                return self._one(alternative)
            except _Missing:
                continue
        raise _Missing

    def _one(self, written: str) -> Any:
        if (quoted := _QUOTED.fullmatch(written)) is not None:
            return quoted[1] if quoted[1] is not None else quoted[2]
        if written in _CONSTANTS:
            return _CONSTANTS[written]
        source, separator, address = written.partition(":")
        if not separator:
            return _number(written)
        return self._from(source, address.strip())

    def _from(self, source: str, address: str) -> Any:
        given = self._given
        match source, address:
            case "self", _:
                return self._own(address)
            case ("opt", "stage") | ("sls", "stage"):
                return given.stage
            case ("opt", "region") | ("aws", "region"):
                return given.region
            case ("aws", "accountId"):
                return given.account_id
            case (("opt" | "param"), _) if address in given.options:
                return given.options[address]
            case "env", _ if address in given.environment:
                return given.environment[address]
            case _:
                raise _Missing

    def _own(self, address: str) -> Any:
        found: Any = self._body
        for name in address.split(".") if address else ():
            # A part may itself be a variable that stands for an object.
            found = self._text(found) if isinstance(found, str) else found
            if isinstance(found, list) and name.isdecimal() and int(name) < len(found):
                found = found[int(name)]
            elif isinstance(found, dict) and name in found:
                found = found[name]
            else:
                raise _Missing
        if isinstance(found, str):
            found = self._text(found)
        if isinstance(found, dict) and "Fn::Variable" in found:
            raise _Missing
        return found


def _alternatives(expression: str) -> list[str]:
    """Return the parts between commas that are not in quotes."""
    return [part.strip() for part in re.findall(r"(?:'[^']*'|\"[^\"]*\"|[^,])+", expression)]


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def _number(written: str) -> Any:
    try:
        return int(written)
    except ValueError:
        raise _Missing from None
