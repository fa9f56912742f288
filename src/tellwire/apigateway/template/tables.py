"""The DynamoDB tables of a template, as parameters of CreateTable.

Only keys, indexes and streams: capacity, replicas, backups, encryption and tags mean nothing on this machine.

Source: CloudFormation template reference, "AWS::DynamoDB::Table" and "AWS::DynamoDB::GlobalTable"; DynamoDB API
reference, "CreateTable".
"""

from collections.abc import Mapping
from typing import Any, Final

from tellwire.apigateway.template.references import GLOBAL_TABLE, TABLE
from tellwire.apigateway.template.resource import Resource
from tellwire.apigateway.template.stack import Stack
from tellwire.errors import ConfigError, shown

_REQUIRED: Final = ("AttributeDefinitions", "KeySchema")
_INDEXES: Final = ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")
_OF_AN_INDEX: Final = ("IndexName", "KeySchema", "Projection")


def read_tables(stack: Stack) -> tuple[tuple[Mapping[str, Any], ...], dict[str, str]]:
    """Return the tables, and by table the attribute by which its items expire. A table that is left out is noted."""
    tables, ttl_attributes = [], {}
    for resource in stack.resources(TABLE, GLOBAL_TABLE):
        try:
            table = _table(stack, resource)
            ttl_attribute = _ttl_attribute(resource)
        except ConfigError as error:
            stack.note(f"{error}; the table is left out")
            continue
        tables.append(table)
        if ttl_attribute is not None:
            ttl_attributes[table["TableName"]] = ttl_attribute
    return tuple(tables), ttl_attributes


def _table(stack: Stack, resource: Resource) -> dict[str, Any]:
    table: dict[str, Any] = {"TableName": stack.name_of(resource), "BillingMode": "PAY_PER_REQUEST"}
    for name in _REQUIRED:
        if not isinstance(value := resource.value(name), list):
            raise ConfigError(f"{resource}: {name} is missing")
        table[name] = value
    for name in _INDEXES:
        if indexes := _indexes(resource, name):
            table[name] = indexes
    match resource.value("StreamSpecification"):
        case None:
            pass
        case {"StreamViewType": view}:
            table["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": view}
        case other:
            raise ConfigError(f"{resource}: StreamSpecification: got {shown(other)}; allowed: a StreamViewType")
    return table


def _indexes(resource: Resource, name: str) -> list[dict[str, Any]]:
    indexes = resource.value(name, [])
    if not isinstance(indexes, list) or not all(isinstance(index, dict) for index in indexes):
        raise ConfigError(f"{resource}: {name}: got {shown(indexes)}; allowed: a list of indexes")
    return [{part: index[part] for part in _OF_AN_INDEX if part in index} for index in indexes]


def _ttl_attribute(resource: Resource) -> str | None:
    match resource.value("TimeToLiveSpecification"):
        case {"Enabled": True | "true", "AttributeName": str(name)}:
            return name
        case _:
            return None
