"""The schemas of the OpenAPI document in the form that generators of clients read. Pure.

    kinds ─▶ msgspec's schemas ─▶ in_plain_words, of_plain_types, with_required ─▶ the document

msgspec writes what it decodes. Generators take some of it another way: a field with a default must be given, `integer |
number` is a class of its own, a name out of a list has any type, a number has 32 bits. Values that a schema allows are
the same before and after.
"""

import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct

Schemas = dict[str, dict[str, Any]]

_INTEGER_OR_NUMBER: Final = [{"type": "integer"}, {"type": "number"}]
_SNAKE: Final = re.compile(r"`([a-z]+(?:_[a-z]+)+)`")
_RAISES: Final = "\n\nRaises:"


def client_schemas(kinds: Iterable[type[Struct]], ref_template: str) -> Schemas:
    """Return the schemas of bodies, and of all that they are made of."""
    kinds = tuple(kinds)
    _, schemas = msgspec.json.schema_components(kinds, ref_template=ref_template)
    for kind in kinds:
        if _is_whole(kind):
            schemas[kind.__name__]["required"] = _always(kind)
    names = {name for schema in schemas.values() for name in schema.get("properties", ())}
    for schema in _all_of(list(schemas.values())):
        _simplify(schema)
        if "description" in schema:
            schema["description"] = _in_plain_words(schema["description"], names)
    return schemas


def _is_whole(kind: type[Struct]) -> bool:
    """Return True if every field is written, whatever its value: an answer."""
    config = kind.__struct_config__
    return not config.omit_defaults and not config.forbid_unknown_fields


def _always(kind: type[Struct]) -> list[str]:
    return [each.encode_name for each in msgspec.structs.fields(kind) if each.default is not UNSET]


def _all_of(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every schema in a value, inner ones last."""
    if isinstance(value, list):
        for each in value:
            yield from _all_of(each)
    elif isinstance(value, dict):
        yield value
        for each in list(value.values()):
            yield from _all_of(each)


def _simplify(schema: dict[str, Any]) -> None:
    # Whoever reads fills nothing in. `properties` may have a field of that name.
    if not isinstance(schema.get("default"), dict):
        schema.pop("default", None)
    if schema.get("anyOf") == _INTEGER_OR_NUMBER:
        del schema["anyOf"]
        schema["type"] = "number"
    if schema.get("type") == "number":
        schema["format"] = "double"
    if isinstance(names := schema.get("enum"), list) and all(isinstance(each, str) for each in names):
        schema["type"] = "string"


def _in_plain_words(docstring: str, names: set[str]) -> str:
    """Return a docstring without its indentation and exceptions, with the names of fields as they are on the wire."""
    text = inspect.cleandoc(docstring).partition(_RAISES)[0]
    return _SNAKE.sub(lambda found: f"`{name}`" if (name := _camel(found[1])) in names else found[0], text)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(each.title() for each in others)
