"""Patterns of events: does a record fit `FilterCriteria`, or an event the `EventPattern` of a rule? Pure.

Source: Lambda developer guide, "Control which events Lambda sends to your function"; EventBridge user guide,
"Comparison operators for use in event patterns".
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tellwire.errors import ConfigError, shown

Pattern = Mapping[str, Any]

_ALLOWED: Final = "prefix, suffix, wildcard, equals-ignore-case, anything-but, numeric, exists"


def read_filters(criteria: Any) -> tuple[Pattern, ...]:
    """Return the patterns of `FilterCriteria`; none: every record fits.

    Raises:
        ConfigError: a pattern is not JSON of AWS's form, or compares in a way that is not known here.
    """
    filters = criteria.get("Filters", []) if isinstance(criteria, dict) else None
    if not isinstance(filters, list):
        raise ConfigError(f"FilterCriteria: got {shown(criteria)}; allowed: Filters, each with a Pattern")
    patterns = []
    for each in filters:
        written = each.get("Pattern") if isinstance(each, dict) else None
        try:
            pattern = json.loads(written) if isinstance(written, str) else written
        except ValueError:
            pattern = None
        if not isinstance(pattern, dict):
            raise ConfigError(f"FilterCriteria: Pattern: got {shown(written)}; allowed: an object in JSON")
        check_pattern(pattern)
        patterns.append(pattern)
    return tuple(patterns)


def fits(patterns: Sequence[Pattern], record: Mapping[str, Any]) -> bool:
    """Return True if a record fits one of the patterns, or there are none."""
    return not patterns or any(_fits_object(pattern, record) for pattern in patterns)


def check_pattern(pattern: Pattern) -> None:
    """Do nothing for a pattern that can be compared here.

    Raises:
        ConfigError: it has not AWS's form, or a comparison that is not known here.
    """
    for key, wanted in pattern.items():
        match wanted:
            case dict():
                check_pattern(wanted)
            case list() if key == "$or":
                for each in wanted:
                    check_pattern(each)
            case list():
                for each in wanted:
                    _check_comparison(each)
            case _:
                raise ConfigError(f"pattern: {key}: got {shown(wanted)}; allowed: a list of values, or an object")


def _check_comparison(wanted: Any) -> None:
    if isinstance(wanted, dict) and (len(wanted) != 1 or next(iter(wanted)) not in _COMPARISONS):
        raise ConfigError(f"pattern: got {shown(wanted)}; allowed here: {_ALLOWED}")


def _fits_object(pattern: Pattern, value: Any) -> bool:
    return all(_fits_key(key, wanted, value) for key, wanted in pattern.items())


def _fits_key(key: str, wanted: Any, value: Any) -> bool:
    if key == "$or":
        return any(_fits_object(each, value) for each in wanted)
    is_there = isinstance(value, dict) and key in value
    if isinstance(wanted, dict):
        return _fits_object(wanted, value[key] if is_there else None)
    if not is_there:
        return {"exists": False} in wanted
    found = value[key]
    # Of a list one value is enough.
    return any(_fits_value(each, one) for each in wanted for one in (found if isinstance(found, list) else [found]))


def _fits_value(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, dict):
        [(comparison, operand)] = wanted.items()
        return _COMPARISONS[comparison](operand, found)
    return wanted == found and isinstance(wanted, bool) is isinstance(found, bool)


def _is_other(unwanted: Any, found: Any) -> bool:
    return not any(_fits_value(each, found) for each in (unwanted if isinstance(unwanted, list) else [unwanted]))


def _has_form(words: str, found: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, words.split("*"))), found, re.DOTALL) is not None


def _is_in_range(bounds: Sequence[Any], found: Any) -> bool:
    if isinstance(found, bool) or not isinstance(found, int | float):
        return False
    return all(_NUMERIC[sign](found, bound) for sign, bound in zip(bounds[::2], bounds[1::2], strict=True))


_NUMERIC: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": lambda found, bound: bool(found == bound),
    "<": lambda found, bound: bool(found < bound),
    "<=": lambda found, bound: bool(found <= bound),
    ">": lambda found, bound: bool(found > bound),
    ">=": lambda found, bound: bool(found >= bound),
}

_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "prefix": lambda start, found: isinstance(found, str) and found.startswith(start),
    "suffix": lambda end, found: isinstance(found, str) and found.endswith(end),
    "wildcard": lambda words, found: isinstance(found, str) and _has_form(words, found),
    "equals-ignore-case": lambda text, found: isinstance(found, str) and found.lower() == text.lower(),
    "anything-but": _is_other,
    "numeric": _is_in_range,
    "exists": lambda wanted, _: wanted is True,
}
