"""Errors of the JSON decoder as `InvalidMessage`, with the value that was given."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from tellwire.errors import InvalidMessage

T = TypeVar("T")

DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""The errors of a decoder that reads a text which is no JSON, or has another form."""

_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.+)`")
_MISSING: Final = re.compile(r"Object missing required field `(.+)`")
_EXPECTED: Final = re.compile(r"Expected `(.+)`, got `.+`")


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


def decoded(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decode a JSON text. Raise `InvalidMessage` if it is not valid."""
    try:
        return decoder.decode(body)
    except DECODE_ERRORS as error:
        raise describe(body, error) from error


def describe(
    payload: bytes | msgspec.Raw, error: Exception, choices: Mapping[str, Iterable[str]] | None = None
) -> InvalidMessage:
    """Turn a failed decode of `payload` into an `InvalidMessage`: the field, its value, the allowed values.

    `choices` are the values of the enumerated fields, by the field's name: the decoder does not list them.
    """
    if isinstance(error.__cause__, InvalidMessage):
        return error.__cause__
    # From the right: the reason holds the name of an unknown field, which may contain the separator.
    reason, _, path = str(error).rpartition(" - at `$") if " - at `$" in str(error) else (str(error), "", "")
    path = path.rstrip("`").lstrip(".")
    try:
        given = _at(msgspec.json.decode(payload), path)
    except DECODE_ERRORS:
        return InvalidMessage("message", bytes(payload)[:80].decode(errors="replace"), f"JSON ({reason})")
    if match := _UNKNOWN.match(reason):
        value = given.get(match[1]) if isinstance(given, dict) else given
        return InvalidMessage(_join(path, match[1]), value, "no such field here")
    if match := _MISSING.match(reason):
        return InvalidMessage(_join(path, match[1]), _Missing(), "a value; it is required")
    if match := _EXPECTED.match(reason):
        return InvalidMessage(path or "message", given, f"a value of type {match[1]}")
    listed = (choices or {}).get(path.rpartition(".")[2])
    return InvalidMessage(path or "message", given, ", ".join(sorted(listed)) if listed else reason)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _at(value: Any, path: str) -> Any:
    for step in re.findall(r"[^.\[\]]+", path):
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
    return value
