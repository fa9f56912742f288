"""CloudFormation's intrinsic functions: a value with `Fn::…` in it goes in, plain data comes out. Pure.

A `Scope` gives the values of names. A value that only AWS knows raises `Unresolved`, whose text names it, so that a
note can say what is left out.

Source: CloudFormation user guide, "Intrinsic function reference".
"""

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from tellwire.errors import shown

NO_VALUE: Final = object()
"""The value of `AWS::NoValue`: the property, or the element of a list, is removed."""

_PLACEHOLDER = re.compile(r"\$\{(!?)\s*([^{}]*?)\s*\}")
_DYNAMIC_REFERENCE: Final = "{{resolve:"
_STORED = re.compile(r"\{\{resolve:ssm:([^:{}]+)(?::\d+)?\}\}")


class Unresolved(Exception):
    """A value is not known on this machine. The text names the value, and may give the reason."""


class Scope(Protocol):
    """The values of names in a template. Each method raises `Unresolved` for a name without a known value."""

    def ref(self, name: str) -> Any: ...

    def attribute(self, logical_id: str, name: str) -> Any: ...

    def condition(self, name: str) -> bool: ...

    def mapping(self, name: str, first: str, second: str) -> Any: ...

    def stored(self, name: str) -> str: ...

    def imported(self, name: str) -> Any: ...


def resolve(value: Any, scope: Scope) -> Any:
    """Return a value with every function in it evaluated; `NO_VALUE` if the value itself is removed.

    Raises:
        Unresolved: a function cannot be evaluated here.
    """
    match value:
        case str():
            return _static(value, scope)
        case list():
            items = (resolve(item, scope) for item in value)
            return [item for item in items if item is not NO_VALUE]
        case dict() if (call := _call_in(value)) is not None:
            result = _call(*call, scope)
            return _static(result, scope) if isinstance(result, str) else result
        case dict():
            resolved = ((name, resolve(item, scope)) for name, item in value.items())
            return {name: item for name, item in resolved if item is not NO_VALUE}
        case _:
            return value


def choose(value: Any, scope: Scope) -> Any:
    """Return the branch that an `Fn::If` takes, without evaluating it: its parts are resolved one by one later.

    Raises:
        Unresolved: the condition is not known here.
    """
    match value:
        case {"Fn::If": [str(condition), yes, no], **rest} if not rest:
            return choose(yes if scope.condition(condition) else no, scope)
        case {"Ref": "AWS::NoValue"}:
            return None
        case _:
            return value


def text(value: Any) -> str:
    """Return a scalar as CloudFormation writes it into text.

    Raises:
        Unresolved: it is not a scalar.
    """
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case _:
            raise Unresolved(f"got {'nothing' if value is NO_VALUE else shown(value)}, where text must be")


class _Malformed(Exception):
    """The argument of a function does not have the required form."""


def _static(value: str, scope: Scope) -> str:
    if _DYNAMIC_REFERENCE in value:
        value = _STORED.sub(lambda found: scope.stored(found[1]), value)
    if _DYNAMIC_REFERENCE in value:
        raise Unresolved(f"the dynamic reference {shown(value)} cannot be resolved locally")
    return value


def _call_in(value: dict[str, Any]) -> tuple[str, Any] | None:
    if len(value) != 1:
        return None
    [(name, argument)] = value.items()
    return (name, argument) if name == "Ref" or name.startswith("Fn::") else None


def _call(name: str, argument: Any, scope: Scope) -> Any:
    function = _FUNCTIONS.get(name)
    if function is None:
        raise Unresolved(f"{name} {shown(argument)} cannot be resolved locally")
    try:
        return function(argument, scope)
    except _Malformed as error:
        raise Unresolved(f"{name} {shown(argument)} does not have the required form") from error


def _ref(argument: Any, scope: Scope) -> Any:
    if not isinstance(argument, str):
        raise _Malformed
    return NO_VALUE if argument == "AWS::NoValue" else scope.ref(argument)


def _get_att(argument: Any, scope: Scope) -> Any:
    match argument.split(".", 1) if isinstance(argument, str) else argument:
        case [str(logical_id), *names] if names:
            return scope.attribute(logical_id, ".".join(text(resolve(name, scope)) for name in names))
    raise _Malformed


def _sub(argument: Any, scope: Scope) -> str:
    match argument:
        case str(template):
            own: Mapping[str, Any] = {}
        case [str(template), dict(own)]:
            pass
        case _:
            raise _Malformed

    def value_of(placeholder: re.Match[str]) -> str:
        escaped, name = placeholder.groups()
        if escaped:
            return f"${{{name}}}"
        if name in own:
            return text(resolve(own[name], scope))
        return text(_get_att(name, scope) if "." in name else _ref(name, scope))

    return _PLACEHOLDER.sub(value_of, template)


def _join(argument: Any, scope: Scope) -> str:
    match argument:
        case [str(separator), parts]:
            return separator.join(map(text, _list(parts, scope)))
    raise _Malformed


def _select(argument: Any, scope: Scope) -> Any:
    match argument:
        case [index, items]:
            position = text(resolve(index, scope))
            candidates = _list(items, scope)
            if position.isdecimal() and int(position) < len(candidates):
                return candidates[int(position)]
    raise _Malformed


def _split(argument: Any, scope: Scope) -> list[str]:
    match argument:
        case [str(separator), source] if separator:
            return text(resolve(source, scope)).split(separator)
    raise _Malformed


def _find_in_map(argument: Any, scope: Scope) -> Any:
    match argument:
        case [_, _, _]:
            name, first, second = (text(resolve(part, scope)) for part in argument)
            return scope.mapping(name, first, second)
    raise _Malformed


def _if(argument: Any, scope: Scope) -> Any:
    match argument:
        case [str(condition), yes, no]:
            # Only the branch taken: the other one may need resources that do not exist.
            return resolve(yes if scope.condition(condition) else no, scope)
    raise _Malformed


def _import_value(argument: Any, scope: Scope) -> Any:
    return scope.imported(text(resolve(argument, scope)))


def _base64(argument: Any, scope: Scope) -> str:
    return base64.b64encode(text(resolve(argument, scope)).encode()).decode()


def _equals(argument: Any, scope: Scope) -> bool:
    match argument:
        case [one, other]:
            return text(resolve(one, scope)) == text(resolve(other, scope))
    raise _Malformed


def _not(argument: Any, scope: Scope) -> bool:
    match argument:
        case [condition]:
            return not truth(condition, scope)
    raise _Malformed


def _and(argument: Any, scope: Scope) -> bool:
    return all(truth(condition, scope) for condition in _conditions(argument))


def _or(argument: Any, scope: Scope) -> bool:
    return any(truth(condition, scope) for condition in _conditions(argument))


def truth(condition: Any, scope: Scope) -> bool:
    """Return whether a condition holds.

    Raises:
        Unresolved: it is not a condition, or depends on a value that is not known here.
    """
    match condition:
        case {"Condition": str(name)}:
            return scope.condition(name)
        case dict() if isinstance(result := resolve(condition, scope), bool):
            return result
    raise Unresolved(f"{shown(condition)} is not a condition")


def _conditions(argument: Any) -> list[Any]:
    if not isinstance(argument, list):
        raise _Malformed
    return argument


def _list(value: Any, scope: Scope) -> list[Any]:
    resolved = resolve(value, scope)
    if not isinstance(resolved, list):
        raise _Malformed
    return resolved


_FUNCTIONS: Final[Mapping[str, Callable[[Any, Scope], Any]]] = {
    "Ref": _ref,
    "Fn::GetAtt": _get_att,
    "Fn::Sub": _sub,
    "Fn::Join": _join,
    "Fn::Select": _select,
    "Fn::Split": _split,
    "Fn::FindInMap": _find_in_map,
    "Fn::If": _if,
    "Fn::ImportValue": _import_value,
    "Fn::Base64": _base64,
    "Fn::Equals": _equals,
    "Fn::Not": _not,
    "Fn::And": _and,
    "Fn::Or": _or,
}
