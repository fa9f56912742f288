"""The models that the messages of a route are checked against.

A route refers to them by name or by logical id; templates use both.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from tellwire.apigateway.template import references
from tellwire.apigateway.template.intrinsics import Unresolved, text
from tellwire.apigateway.template.links import own
from tellwire.apigateway.template.resource import Resource
from tellwire.apigateway.template.stack import Stack
from tellwire.errors import ConfigError, shown


def read_models(stack: Stack, api: Resource, route: Resource, key: str) -> dict[str, Mapping[str, Any]]:
    """Return the JSON Schemas of a route by their model keys.

    Raises:
        ConfigError: a model is not in this template, or its schema is not a JSON object; it names the route.
    """
    wanted = route.value("RequestModels") or {}
    if not isinstance(wanted, dict):
        raise ConfigError(f"route {key}: RequestModels: got {shown(wanted)}; allowed: model keys and names of models")
    if not wanted:
        return {}
    models = {name: model for model in own(stack, api, references.MODEL) for name in _names(model)}
    for name in wanted.values():
        if not isinstance(name, str) or name not in models:
            raise ConfigError(f"route {key}: RequestModels: got {shown(name)}; allowed: {', '.join(models) or 'none'}")
    return {model_key: _schema(models[name], key) for model_key, name in wanted.items()}


def _names(model: Resource) -> list[str]:
    try:
        return [model.logical_id, text(model.resolved("Name"))]
    except Unresolved:
        return [model.logical_id]


def _schema(model: Resource, key: str) -> Mapping[str, Any]:
    schema = model.value("Schema")
    if isinstance(schema, str):
        try:
            schema = msgspec.json.decode(schema)
        except msgspec.DecodeError as error:
            raise ConfigError(f"route {key}: {model}: Schema: not JSON: {error}") from error
    if not isinstance(schema, dict):
        raise ConfigError(f"route {key}: {model}: Schema: got {shown(schema)}; allowed: a JSON Schema")
    return schema
