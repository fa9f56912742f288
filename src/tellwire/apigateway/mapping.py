"""Mapping templates: Velocity with the variables of API Gateway. Pure.

    a message, and the context of its event ─▶ the selected template ─▶ the input of the integration
    the output of the integration            ─▶ the selected template ─▶ the answer

Variables are `$input`, `$context`, `$stageVariables` and `$util`.

Source: developer guide, "API Gateway WebSocket API mapping template reference" and "WebSocket selection expressions".
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote_plus, unquote_plus

import jsonpath

from tellwire.apigateway.definition import DEFAULT, Event, IntegrationResponse, Route, Templates
from tellwire.apigateway.routing import compile_selection
from tellwire.errors import ConfigError

_JSON: Final = "application/json"
_ESCAPED: Final = {"'": r"\'", '"': r"\"", "\\": r"\\", "/": r"\/", "\b": r"\b", "\n": r"\n", "\t": r"\t"} | {
    "\f": r"\f",
    "\r": r"\r",
}
_PRINTABLE: Final = range(0x20, 0x7F)


class MappingFailed(Exception):
    """A template that cannot be evaluated with this message. The text says why, for the log."""


@dataclass(frozen=True, slots=True)
class MappingInput:
    """The values that a template can use. `body` is the message, or the output of the integration."""

    body: str
    context: Mapping[str, Any] = field(default_factory=dict)
    stage_variables: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, event: Event, body: str | None = None) -> "MappingInput":
        """Return the input that an event gives; `body` in place of its message."""
        return cls(
            event.get("body", "") if body is None else body,
            event.get("requestContext", {}),
            event.get("stageVariables", {}),
            event.get("headers", {}),
            event.get("queryStringParameters", {}),
        )


class Mapper:
    """The mapping templates of a route.

    Raises:
        ConfigError: a template is not Velocity, or a selection expression has another form than AWS's.
    """

    def __init__(self, route: Route) -> None:
        self._request = _Selected(route.request, f"route {route.key}: template")
        self._responses = [
            (response, _Selected(response.templates, f"route {route.key}: response template"))
            for response in route.responses
        ]

    def request(self, event: Event) -> str | None:
        """Return the input of the integration; None if the message goes on as it is.

        Raises:
            MappingFailed: the template fails with this message, or the integration takes no message without one.
        """
        return self._request.rendered(MappingInput.of(event), event.get("body"))

    def response(self, event: Event, status: int, output: str) -> str | None:
        """Return the answer; None if the output of the integration is the answer as it is.

        Raises:
            MappingFailed: the template fails with this output.
        """
        selected = self._response(status)
        return selected.rendered(MappingInput.of(event, output), event.get("body")) if selected is not None else None

    def _response(self, status: int) -> "_Selected | None":
        fitting = [selected for response, selected in self._responses if _fits(response, status)]
        others = [selected for response, selected in self._responses if response.key == DEFAULT]
        return next(iter([*fitting, *others]), None)


class _Selected:
    def __init__(self, templates: Templates, purpose: str) -> None:
        self._templates = {key: _compiled(text, f"{purpose} {key}") for key, text in templates.by_key.items()}
        self._passes_through = templates.passes_through
        self._select = compile_selection(templates.selection, purpose) if templates.selection else None

    def rendered(self, given: MappingInput, message: str | None) -> str | None:
        template = self._templates.get(self._key(message)) or self._templates.get(DEFAULT)
        if template is None and not self._passes_through:
            raise MappingFailed("has no mapping template for this message, and PassthroughBehavior allows no other")
        return None if template is None else _rendered(template, given)

    def _key(self, message: str | None) -> str:
        if self._select is None:
            return next((key for key in (DEFAULT, _JSON) if key in self._templates), next(iter(self._templates), ""))
        selected = self._select(message) if message is not None else None
        # Without JSON there are no variables, but the expression may be plain.
        return (self._select("null") if selected is None else selected) or ""


def _fits(response: IntegrationResponse, status: int) -> bool:
    if len(response.key) < 3 or not response.key.startswith("/") or not response.key.endswith("/"):
        return False
    try:
        return re.search(response.key[1:-1], str(status)) is not None
    except re.error:
        return False


def _compiled(text: str, subject: str) -> Any:
    try:
        import airspeed
    except ModuleNotFoundError as error:
        raise ConfigError("mapping templates need Velocity: pip install 'tellwire[template]'") from error
    template = airspeed.Template(text)
    try:
        template.ensure_compiled()
    except airspeed.TemplateError as error:
        raise ConfigError(f"{subject}: not a template in Velocity: {error}") from error
    return template


def _rendered(template: Any, given: MappingInput) -> str:
    variables = {
        "input": _Input(given),
        "context": _as_java(given.context),
        "stageVariables": _as_java(given.stage_variables),
        "util": _Util(),
    }
    try:
        return str(template.merge(variables))
    except Exception as error:  # whatever the template's own calls raise
        # Its first line names the place in the template; the next ones may have values of the client.
        raise MappingFailed(f"has a mapping template that fails: {str(error).splitlines()[0]}") from error


class _Input:
    """`$input`: the message, and the parameters of the request."""

    def __init__(self, given: MappingInput) -> None:
        self._given = given
        self.body = given.body

    def path(self, expression: str) -> Any:
        return _as_java(self._found(expression))

    def json(self, expression: str) -> str:
        return json.dumps(self._found(expression), separators=(",", ":"), ensure_ascii=False)

    def params(self, name: str | None = None) -> Any:
        if name is None:
            return _as_java({"path": {}, "querystring": self._given.query, "header": self._given.headers})
        return self._given.query.get(name, self._given.headers.get(name, ""))

    def _found(self, expression: str) -> Any:
        body = json.loads(self._given.body or "{}")
        if expression == "$":
            return body
        values = jsonpath.findall(expression, body) if isinstance(body, dict | list) else []
        return values[0] if len(values) == 1 else values or None


class _Map(dict[str, Any]):
    """An object with the methods of Java's maps, and their text."""

    def __str__(self) -> str:
        return f"{{{', '.join(f'{key}={_java_text(value)}' for key, value in self.items())}}}"

    def containsKey(self, key: str) -> bool:  # noqa: N802 - Java's names, here and below
        return key in self

    def isEmpty(self) -> bool:  # noqa: N802
        return not self

    def keySet(self) -> list[Any]:  # noqa: N802
        return _List(self)

    def put(self, key: str, value: Any) -> Any:
        before = self.get(key)
        self[key] = value
        return before

    def putAll(self, others: Mapping[str, Any]) -> None:  # noqa: N802
        self.update(others)

    def size(self) -> int:
        return len(self)


class _List(list[Any]):
    """An array with the methods of Java's lists, and their text."""

    def __str__(self) -> str:
        return f"[{', '.join(_java_text(value) for value in self)}]"

    def add(self, value: Any) -> bool:
        self.append(value)
        return True

    def contains(self, value: Any) -> bool:
        return value in self

    def get(self, index: int) -> Any:
        return self[index]

    def isEmpty(self) -> bool:  # noqa: N802
        return not self

    def size(self) -> int:
        return len(self)


def _as_java(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _Map({key: _as_java(each) for key, each in value.items()})
    return _List(map(_as_java, value)) if isinstance(value, list) else value


def _java_text(value: Any) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


class _Util:
    """`$util`: functions on text."""

    def escapeJavaScript(self, text: Any) -> str:  # noqa: N802 - AWS's name
        return "".join(_escaped(character) for character in str(text))

    def parseJson(self, text: str) -> Any:  # noqa: N802
        return _as_java(json.loads(text))

    def urlEncode(self, text: Any) -> str:  # noqa: N802
        return quote_plus(str(text), safe="*").replace("~", "%7E")

    def urlDecode(self, text: str) -> str:  # noqa: N802
        return unquote_plus(text)

    def base64Encode(self, text: Any) -> str:  # noqa: N802
        return base64.b64encode(str(text).encode()).decode()

    def base64Decode(self, text: str) -> str:  # noqa: N802
        return base64.b64decode(text).decode("utf-8", "replace")


def _escaped(character: str) -> str:
    if character in _ESCAPED:
        return _ESCAPED[character]
    if ord(character) in _PRINTABLE:
        return character
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex().upper()}" for at in range(0, len(units), 2))
