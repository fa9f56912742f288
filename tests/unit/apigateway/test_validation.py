"""Models of a route: the model that a message is checked against, and the result."""

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellwire.apigateway.definition import Route
from tellwire.apigateway.validation import Models
from tellwire.errors import ConfigError

TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}
NUMBER = {"type": "object", "required": ["number"], "properties": {"number": {"type": "integer"}}}
TREE = {"type": "object", "properties": {"child": {"$ref": "#"}}}


def models(expression: str = "$default", **schemas: Any) -> Models:
    named = {name.replace("default", "$default"): schema for name, schema in schemas.items()}
    return Models(Route("chat", "fn", models=named, model_selection_expression=expression))


def refusal(expression: str = "$default", **schemas: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        models(expression, **schemas)
    return str(caught.value)


@pytest.mark.parametrize("text", ['{"text": "x"}', "{}", "[]", "not json", "", "[" * 10_000])
def test_a_route_without_models_takes_every_message(text: str) -> None:
    assert models().accept(text)
    assert models("$request.body.kind").accept(text)


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ('{"text": "x"}', True),
        ('{"text": "x", "more": [1]}', True),
        ('{"text": 5}', False),
        ("{}", False),
        ("[]", False),
        ('"x"', False),
        ("null", False),
    ],
)
def test_a_message_is_what_the_model_says_or_refused(text: str, accepted: bool) -> None:
    assert models(default=TEXT).accept(text) is accepted


@pytest.mark.parametrize("text", ["", "not json", "{", "\ufeff{}", "NaN", "[" * 10_000, "1" + "0" * 5_000])
def test_what_is_no_json_is_refused_whatever_the_model(text: str) -> None:
    assert not models(default={}).accept(text)
    assert not models("$request.body.kind", other={}).accept(text)


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ('{"kind": "t", "text": "x"}', True),
        ('{"kind": "t", "number": 1}', False),
        ('{"kind": "n", "number": 1}', True),
        ('{"kind": "n", "text": "x"}', False),
    ],
)
def test_the_selection_expression_chooses_the_model(text: str, accepted: bool) -> None:
    assert models("$request.body.kind", t=TEXT, n=NUMBER).accept(text) is accepted
    assert models("${request.body.kind}", t=TEXT, n=NUMBER, default={}).accept(text) is accepted


@pytest.mark.parametrize("kind", ["other", "", None, "$default"])
def test_a_message_that_no_key_selects_is_checked_against_default(kind: str | None) -> None:
    named = "" if kind is None else f'"kind": "{kind}", '
    chosen = models("$request.body.kind", t=NUMBER, default=TEXT)
    assert chosen.accept(f'{{{named}"text": "x"}}')
    assert not chosen.accept(f'{{{named}"number": 1}}')
    without_default = models("$request.body.kind", t=NUMBER)
    assert without_default.accept(f'{{{named}"text": "x"}}')


def test_models_are_draft_4() -> None:
    above_five = models(default={"minimum": 5, "exclusiveMinimum": True})
    assert not above_five.accept("5")
    assert above_five.accept("6")


def test_a_message_nested_too_deep_to_follow_is_refused() -> None:
    def nested(depth: int) -> str:
        return '{"child":' * depth + "{}" + "}" * depth

    assert models(default=TREE).accept(nested(10))
    assert not models(default=TREE).accept(nested(900))


def test_a_number_that_is_beyond_any_float_is_refused() -> None:
    assert models(default={"multipleOf": 0.1}).accept("1e5")
    assert not models(default={"multipleOf": 0.1}).accept("1" + "0" * 400)


@given(st.text())
def test_no_text_breaks_the_check(text: str) -> None:
    assert models("$request.body.kind", t=TEXT, default=TREE).accept(text) in (True, False)


@pytest.mark.parametrize(
    "schema",
    [{"type": "nothing"}, {"properties": []}, {"required": []}, {"pattern": "("}, {"exclusiveMinimum": 5}],
)
def test_a_schema_that_is_none_is_refused_with_route_and_model(schema: dict[str, Any]) -> None:
    assert refusal(default=schema).startswith("route chat: model $default: not a JSON Schema (draft 4): ")


def test_a_model_may_refer_to_its_own_parts() -> None:
    schema = {"definitions": {"name": {"type": "string"}}, "properties": {"name": {"$ref": "#/definitions/name"}}}
    assert models(default=schema).accept('{"name": "Ada"}')
    assert not models(default=schema).accept('{"name": 5}')


@pytest.mark.parametrize("reference", ["#/definitions/nobody", "http://127.0.0.1:1/models/Other", "Other"])
def test_a_reference_to_what_is_not_in_the_model_is_refused_and_not_fetched(reference: str) -> None:
    assert refusal(default={"properties": {"a": {"items": [{"$ref": reference}]}}}) == (
        f"route chat: model $default: $ref: got {reference!r}; allowed: a part of this model, as #/definitions/<name>"
    )


def test_a_property_may_be_called_ref() -> None:
    assert not models(default={"properties": {"$ref": {"type": "string"}}}).accept('{"$ref": 5}')


def test_an_expression_that_is_none_is_refused_with_the_route() -> None:
    assert refusal("$context.connectionId", default=TEXT).startswith(
        "route chat: model selection expression: got '$context.connectionId'; allowed: $request.body.<path>"
    )


def test_without_jsonschema_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    assert refusal(default=TEXT) == "request models need jsonschema: pip install 'tellwire[template]'"
    assert models().accept("{}")
