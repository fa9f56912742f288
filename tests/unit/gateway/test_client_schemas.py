"""Schemas for generators of clients: optional fields, plain types, and names as they are on the wire."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from tellwire.gateway.client_schemas import client_schemas

REF = "#/{name}"


class Wish(Struct, forbid_unknown_fields=True, rename="camel"):
    """A wish. After `ttl_seconds` it is forgotten, see `track_upload`.

    Raises:
        InvalidMessage: it is none.
    """

    ttl_seconds: float | None = None
    progress: Annotated[int | float, Meta(extra_json_schema={"minimum": 0})] = 0
    kind: Literal["a", "b"] = "a"


class Counts(Struct):
    """Counts."""

    default: int = 0
    nodes: int | None = None


def test_a_field_of_a_request_that_may_be_left_out_has_no_default() -> None:
    schema = client_schemas([Wish], REF)["Wish"]
    assert schema["required"] == []
    assert not any("default" in each for each in schema["properties"].values())


def test_an_answer_has_all_its_fields() -> None:
    schema = client_schemas([Counts], REF)["Counts"]
    assert schema["required"] == ["default", "nodes"]
    assert schema["properties"]["default"] == {"type": "integer"}


def test_a_number_is_one_type_and_has_64_bits() -> None:
    properties = client_schemas([Wish], REF)["Wish"]["properties"]
    assert properties["progress"] == {"type": "number", "format": "double", "minimum": 0}
    assert properties["ttlSeconds"]["anyOf"][0] == {"type": "number", "format": "double"}


def test_a_name_out_of_a_list_is_a_string() -> None:
    assert client_schemas([Wish], REF)["Wish"]["properties"]["kind"] == {"type": "string", "enum": ["a", "b"]}


def test_a_description_has_the_names_on_the_wire_and_no_exceptions() -> None:
    described = client_schemas([Wish], REF)["Wish"]["description"]
    assert described == "A wish. After `ttlSeconds` it is forgotten, see `track_upload`."
