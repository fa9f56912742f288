"""Request validation: whether a message is what the models of its route say. Pure.

Source: developer guide, "Set up data models and request validation"; models are JSON Schema draft 4.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from tellwire.apigateway.definition import DEFAULT, Route
from tellwire.apigateway.routing import compile_selection
from tellwire.errors import ConfigError


class Models:
    """The models of a route. Which one counts, its selection expression says; `$default` is for all the others.

    Raises:
        ConfigError: a model is no JSON Schema, or the selection expression is none.
    """

    def __init__(self, route: Route) -> None:
        self._select = compile_selection(route.model_selection_expression)
        self._validators = {name: _validator(route.key, name, schema) for name, schema in route.models.items()}

    def accept(self, text: str) -> bool:
        """Tell whether a message may go on to its function."""
        if not self._validators:
            return True
        try:
            body = msgspec.json.decode(text)
            validator = self._validators.get(self._select(text) or DEFAULT, self._validators.get(DEFAULT))
            return validator is None or bool(validator.is_valid(body))
        except (msgspec.DecodeError, RecursionError):
            return False


def _validator(route_key: str, name: str, schema: Mapping[str, Any]) -> Any:
    try:
        from jsonschema import Draft4Validator
        from jsonschema.exceptions import SchemaError
    except ModuleNotFoundError as error:
        raise ConfigError("request models need jsonschema: pip install 'tellwire[template]'") from error
    try:
        Draft4Validator.check_schema(schema)
    except SchemaError as error:
        raise ConfigError(f"route {route_key}: model {name}: not a JSON Schema (draft 4): {error.message}") from error
    return Draft4Validator(schema)
