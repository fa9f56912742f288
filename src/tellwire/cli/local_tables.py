"""Tables for handlers given by name, in a DynamoDB in memory: `--table connections=connectionId`."""

import re
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Final

from tellwire.errors import ConfigError

_KEY: Final = re.compile(r"([A-Za-z0-9_.-]{1,255})(?::([SNB]))?")
_TABLE_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_ALLOWED: Final = (
    "NAME=KEY or NAME=KEY,SORTKEY, a key that is a number as KEY:N; names of 3 to 255 letters, digits, _.-"
)


def start_tables(stack: ExitStack, written: Mapping[str, str], region: str) -> tuple[dict[str, str], str]:
    """Start a DynamoDB with these tables, until `stack` is closed. Return the variable for it, and a line about it.

    Raises:
        ConfigError: a table's keys are not valid, or optional packages are missing.
    """
    tables = [table(name, keys) for name, keys in written.items()]
    # Imported here: handlers without tables need none of it.
    from tellwire.apigateway.dynamodb import create_tables, local_dynamodb

    url = stack.enter_context(local_dynamodb())
    names = create_tables(url, tables, {}, region)
    return {"AWS_ENDPOINT_URL_DYNAMODB": url}, f"dynamodb    {url}  {', '.join(names)}"


def table(name: str, keys: str) -> dict[str, Any]:
    """Return the parameters of CreateTable for a table with a key, or with a key and a sort key.

    Raises:
        ConfigError: the name or a key is not valid.
    """
    found = [_KEY.fullmatch(key.strip()) for key in keys.split(",")]
    kinds = ("HASH", "RANGE")
    if _TABLE_NAME.fullmatch(name) is None or None in found or len(found) > len(kinds):
        raise ConfigError(f"--table: got {f'{name}={keys}'!r}; allowed: {_ALLOWED}")
    attributes = [(key[1], key[2] or "S") for key in found if key is not None]
    return {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": key, "AttributeType": kind} for key, kind in attributes],
        "KeySchema": [
            {"AttributeName": key, "KeyType": kind} for (key, _), kind in zip(attributes, kinds, strict=False)
        ],
    }
