"""Request validation: messages are checked against the models of their route. Pure.

Source: developer guide, "Set up data models and request validation"; models are JSON Schema draft 4.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from tellwire.apigateway.definition import DEFAULT, Route
from tellwire.apigateway.routing import compile_selection
from tellwire.errors import ConfigError, shown


class Models:
    """The models of a route. The model selection expression chooses one; `$default` is for all other messages.

    Raises:
        ConfigError: a model is not a JSON Schema, or the selection expression is not valid.
    """

    def __init__(self, route: Route) -> None:
        self._select = compile_selection(route.model_selection_expression, f"route {route.key}: model")
        self._validators = {name: _validator(route.key, name, schema) for name, schema in route.models.items()}

    def accept(self, text: str) -> bool:
        """Return whether a message matches its model, so that its function is invoked."""
        if not self._validators:
            return True
        try:
            body = msgspec.json.decode(text)
            validator = self._validators.get(self._select(text) or DEFAULT, self._validators.get(DEFAULT))
            return validator is None or bool(validator.is_valid(body))
        except (msgspec.DecodeError, RecursionError, OverflowError):
            # Not JSON, nested too deeply for the decoder, or a number beyond any float.
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
    subject = f"route {route_key}: model {name}"
    try:
        Draft4Validator.check_schema(schema)
    except SchemaError as error:
        raise ConfigError(f"{subject}: not a JSON Schema (draft 4): {error.message}") from error
    # Without a registry, the validator would fetch unknown references over the network.
    registry: Any = Registry()
    resolver = registry.resolver_with_root(DRAFT4.create_resource(schema))
    for reference in _references(schema):
        try:
            resolver.lookup(reference)
        except Unresolvable as error:
            allowed = "a part of this model, as #/definitions/<name>"
            raise ConfigError(f"{subject}: $ref: got {shown(reference)}; allowed: {allowed}") from error
    return Draft4Validator(schema, registry=registry)


def _references(part: Any) -> Iterator[Any]:
    if isinstance(part, dict) and isinstance(part.get("$ref"), str):
        yield part["$ref"]
    children = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    for child in children:
        yield from _references(child)
