"""Request validation: whether a message is what the models of its route say. Pure.

Source: developer guide, "Set up data models and request validation"; models are JSON Schema draft 4.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from tellwire.apigateway.definition import DEFAULT, Route
from tellwire.apigateway.routing import compile_selection
from tellwire.errors import ConfigError, shown


class Models:
    """The models of a route. Which one counts, its selection expression says; `$default` is for all the others.

    Raises:
        ConfigError: a model is no JSON Schema, or the selection expression is none.
    """

    def __init__(self, route: Route) -> None:
        self._select = compile_selection(route.model_selection_expression, f"route {route.key}: model")
        self._validators = {name: _validator(route.key, name, schema) for name, schema in route.models.items()}

    def accept(self, text: str) -> bool:
        """Tell whether a message may go on to its function."""
        if not self._validators:
            return True
        try:
            body = msgspec.json.decode(text)
            validator = self._validators.get(self._select(text) or DEFAULT, self._validators.get(DEFAULT))
            return validator is None or bool(validator.is_valid(body))
        except (msgspec.DecodeError, RecursionError, OverflowError):
            # Not JSON, nested deeper than can be followed, or a number beyond any float.
            return False


def _validator(route_key: str, name: str, schema: Mapping[str, Any]) -> Any:
    try:
        from jsonschema import Draft4Validator
        from jsonschema.exceptions import SchemaError
        from referencing import Registry
        from referencing.exceptions import Unresolvable
        from referencing.jsonschema import DRAFT4
    except ModuleNotFoundError as error:
        raise ConfigError("request models need jsonschema: pip install 'tellwire[template]'") from error
    what = f"route {route_key}: model {name}"
    try:
        Draft4Validator.check_schema(schema)
    except SchemaError as error:
        raise ConfigError(f"{what}: not a JSON Schema (draft 4): {error.message}") from error
    # Without one of its own, the validator would fetch over the network what it does not know.
    registry: Any = Registry()
    resolver = registry.resolver_with_root(DRAFT4.create_resource(schema))
    for reference in _references(schema):
        try:
            resolver.lookup(reference)
        except Unresolvable as error:
            allowed = "a part of this model, as #/definitions/<name>"
            raise ConfigError(f"{what}: $ref: got {shown(reference)}; allowed: {allowed}") from error
    return Draft4Validator(schema, registry=registry)


def _references(part: Any) -> Iterator[Any]:
    if isinstance(part, dict) and isinstance(part.get("$ref"), str):
        yield part["$ref"]
    children = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    for child in children:
        yield from _references(child)
