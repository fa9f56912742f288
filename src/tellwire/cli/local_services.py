"""Services for handlers given by name, and their tables: `--table connections=connectionId`.

A table may have indexes, whose keys stand behind its own: `--table 'rooms=room,at:N;byOwner=owner'`.
"""

import re
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Final

from tellwire.apigateway.dynamodb import create_tables
from tellwire.apigateway.services.attached import TemplateServices
from tellwire.apigateway.services.server import LocalServices, can_answer
from tellwire.cli.local_template import say
from tellwire.errors import ConfigError

_KEY: Final = re.compile(r"([A-Za-z0-9_.-]{1,255})(?::([SNB]))?")
_TABLE_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_ALLOWED: Final = (
    "NAME=KEY or NAME=KEY,SORTKEY, with ;INDEX=KEY or ;INDEX=KEY,SORTKEY for each index; a key that is a number as "
    "KEY:N; names of 3 to 255 letters, digits, _.-"
)
_KINDS: Final = ("HASH", "RANGE")


def start_services(
    stack: ExitStack, written: Mapping[str, str], region: str, functions: Iterable[str], port: int
) -> TemplateServices | None:
    """Start the services for handlers given by name, with these tables, until `stack` is closed.

    None: their packages are not installed, and there are no tables.

    Raises:
        ConfigError: a table's keys are not valid, or there are tables and packages for them are missing.
    """
    tables = [table(name, keys) for name, keys in written.items()]
    if not tables and not can_answer():
        return None
    server = stack.enter_context(LocalServices(region, port=port, say=say))
    services = TemplateServices(server, functions={name: name for name in functions})
    if not tables:
        return services
    server.load()
    return replace(services, dynamodb=server.url, tables=create_tables(server.url, tables, {}, region))


def table(name: str, keys: str) -> dict[str, Any]:
    """Return the parameters of CreateTable for a table with a key, or with a key and a sort key, and for its indexes.

    Raises:
        ConfigError: a name or a key is not valid.
    """
    own, *indexes = keys.split(";")
    try:
        attributes, schema = _keys(name, own)
        found = []
        for index in indexes:
            index_name, _, index_keys = index.partition("=")
            more, index_schema = _keys(index_name.strip(), index_keys)
            attributes = more | attributes
            found.append(
                {"IndexName": index_name.strip(), "KeySchema": index_schema, "Projection": {"ProjectionType": "ALL"}}
            )
    except ValueError:
        raise ConfigError(f"--table: got {f'{name}={keys}'!r}; allowed: {_ALLOWED}") from None
    return {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": key, "AttributeType": kind} for key, kind in attributes.items()],
        "KeySchema": schema,
        **({"GlobalSecondaryIndexes": found} if found else {}),
    }


def _keys(name: str, keys: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Return the types of the keys of a table or an index, and their schema.

    Raises:
        ValueError: the name or a key is not valid.
    """
    found = [_KEY.fullmatch(key.strip()) for key in keys.split(",")]
    if _TABLE_NAME.fullmatch(name) is None or len(found) > len(_KINDS):
        raise ValueError(name)
    attributes: dict[str, str] = {}
    for key in found:
        if key is None:
            raise ValueError(keys)
        attributes[key[1]] = key[2] or "S"
    schema = [{"AttributeName": key, "KeyType": kind} for key, kind in zip(attributes, _KINDS, strict=False)]
    return attributes, schema
