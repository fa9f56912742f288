"""Every message on the wire, from the JSON Schema in spec/: its words, its fields, and an example."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scripts.reference.tables import table

SPEC = Path(__file__).parents[2] / "spec"

_REF = "#/$defs/"
_WORDS = {"integer": "whole number", "string": "text", "boolean": "true or false"}


def parts(page: str) -> Mapping[str, str]:
    """Return the sections of published messages, of the other ones of a server, and of requests."""
    schemas = json.loads((SPEC / "wire.schema.json").read_text("utf-8"))["$defs"]
    published = _names(schemas["PublishedMessage"])
    server = [name for name in _names(schemas["ServerMessage"]) if name not in published]
    return {
        "published": "\n\n".join(_message(name, schemas) for name in published),
        "server": "\n\n".join(_message(name, schemas) for name in server),
        "requests": "\n\n".join(
            _request(name, schemas) for name in [*_names(schemas["ClientRequest"]), "CustomRequest"]
        ),
        "structures": "\n\n".join(_structure(name, schemas) for name in _structures(schemas)),
    }


def _names(union: Mapping[str, Any]) -> list[str]:
    return [each["$ref"].removeprefix(_REF) for each in union["anyOf"]]


def _message(name: str, schemas: Mapping[str, Any]) -> str:
    """Describe a message by its type: the words and the fields are those of its data."""
    properties = schemas[name]["properties"]
    kind = properties["type"].get("enum", ["custom"])[0]
    data = properties["data"].get("$ref", "").removeprefix(_REF)
    schema = schemas[data] if data else schemas[name]
    fields = [_fields(schema)] if data else []
    title = "Types of your own" if kind == "custom" else f"`{kind}`"
    return _section(title, schema, fields, SPEC / "messages" / f"{kind}.json")


def _request(name: str, schemas: Mapping[str, Any]) -> str:
    schema = schemas[name]
    kind = schema["properties"]["type"].get("enum", ["custom"])[0]
    title = "Requests of your own types" if kind == "custom" else f"`{kind}`"
    fields = {key: value for key, value in schema["properties"].items() if key != "type"}
    rows = [_fields(schema | {"properties": fields})] if fields else []
    return _section(title, schema, rows, SPEC / "requests" / f"{kind}.json")


def _structure(name: str, schemas: Mapping[str, Any]) -> str:
    return _section(f"`{name}`", schemas[name], [_fields(schemas[name])], Path())


def _structures(schemas: Mapping[str, Any]) -> Iterator[str]:
    """Yield the structs that only stand in others."""
    data = {each.get("properties", {}).get("data", {}).get("$ref", "") for each in schemas.values()}
    for name, schema in schemas.items():
        is_whole = _REF + name in data or name.endswith(("Request", "Message"))
        if name == "ClientMessage" or ("properties" in schema and not is_whole):
            yield name


def _section(title: str, schema: Mapping[str, Any], fields: list[str], example: Path) -> str:
    words = re.sub(r"\n {4}", "\n", schema.get("description", ""))
    lines = [f"### {title}", words, *fields]
    if example.is_file():
        text = json.dumps(json.loads(example.read_text("utf-8")), ensure_ascii=False, indent=2)
        lines.append(f"```json\n{text}\n```")
    return "\n\n".join(line for line in lines if line)


def _fields(schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = [
        (f"`{name}`", _type(each), "yes" if name in required else "no") for name, each in schema["properties"].items()
    ]
    return table(("field", "type", "always there"), rows)


def _type(schema: Mapping[str, Any]) -> str:
    match schema:
        case {"$ref": ref}:
            return f"`{ref.removeprefix(_REF)}`"
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"anyOf": kinds}:
            return _any_of([_type(kind) for kind in kinds]) + _bounds(schema)
        case {"type": "array", "items": items}:
            return f"list of {_type(items)}"
        case {"format": "date-time"}:
            return "time, RFC 3339 in UTC"
        case {"type": str(kind)}:
            return _WORDS.get(kind, kind) + _bounds(schema)
    return "any JSON"


def _any_of(kinds: list[str]) -> str:
    # Every whole number is a number.
    return " or ".join(kind for kind in dict.fromkeys(kinds) if not (kind == _WORDS["integer"] and "number" in kinds))


def _bounds(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None:
        return f", {low:,} to {high:,}" if high is not None else f", at least {low:,}"
    return "" if high is None else f", at most {high:,}"
