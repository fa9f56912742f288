"""Routing of messages by selection expressions. Pure.

    message ─▶ selection expression ─▶ key ─▶ the route of that key, or $default, or none

Source: developer guide, "WebSocket selection expressions in API Gateway".
"""

import re
from collections.abc import Callable
from typing import Any, Final

import jsonpath
import msgspec

from tellwire.apigateway.assumptions import selected_text
from tellwire.apigateway.definition import DEFAULT, Api, Route
from tellwire.errors import ConfigError

_VARIABLE: Final = re.compile(r"\$\{request\.body\.([^}]*)\}")
_WHOLE: Final = re.compile(r"\$request\.body\.(.+)")
_SOMETHING_ELSE: Final = re.compile(r"(?<!\\)\$(\{|request\b|context\b|stageVariables\b)")

Selector = Callable[[str], str | None]
"""A function from the text of a message to its key; None when the text is not JSON."""


class Router:
    """The routes of an API.

    Raises:
        ConfigError: the selection expression is not valid.
    """

    def __init__(self, api: Api) -> None:
        self._select = compile_selection(api.route_selection_expression, "route")
        # A client must not be able to select $connect, $disconnect or $default by name.
        self._routes = {route.key: route for route in api.routes if not route.key.startswith("$")}
        self._default = api.route(DEFAULT)

    def route(self, text: str) -> Route | None:
        """Return the route of a message; None when no route takes it."""
        key = self._select(text)
        return self._default if key is None else self._routes.get(key, self._default)


def compile_selection(expression: str, purpose: str) -> Selector:
    """Compile a selection expression. `purpose` names it in errors: "route", or the model of a route.

    Raises:
        ConfigError: it is not a selection expression, or has another variable than `request.body`.
    """
    named = f"{purpose} selection expression"
    if (whole := _WHOLE.fullmatch(expression)) is not None:
        parts: list[str | _Finder] = [_finder(whole[1], expression, named)]
    else:
        pieces = _VARIABLE.split(expression)
        parts = [_finder(piece, expression, named) if index % 2 else piece for index, piece in enumerate(pieces)]
        for fixed in parts[::2]:
            _require_plain(str(fixed), expression, named)
        parts = [part.replace("\\$", "$") if isinstance(part, str) else part for part in parts]

    def select(text: str) -> str | None:
        try:
            body = msgspec.json.decode(text)
            return "".join(part if isinstance(part, str) else part(body) for part in parts)
        except (msgspec.DecodeError, RecursionError):
            return None

    return select


_Finder = Callable[[Any], str]


def _finder(path: str, expression: str, named: str) -> _Finder:
    try:
        compiled = jsonpath.compile(f"$.{path}")
    except jsonpath.JSONPathError as error:
        raise ConfigError(f"{named}: got {expression!r}; {path!r} is not a JSONPath after $request.body.") from error

    def find(body: Any) -> str:
        # JSONPath looks into objects and arrays only.
        match compiled.findall(body) if isinstance(body, dict | list) else []:
            case []:
                return ""
            case [value]:
                return selected_text(value)
            case values:
                return selected_text(values)

    return find


def _require_plain(fixed: str, expression: str, named: str) -> None:
    if _SOMETHING_ELSE.search(fixed) is not None:
        raise ConfigError(
            f"{named}: got {expression!r}; allowed: $request.body.<path>, "
            "${request.body.<path>} between plain text, or plain text"
        )
