"""Selection expressions, with the examples of the documentation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellwire.apigateway.definition import Api, Route
from tellwire.apigateway.routing import Router, compile_selection
from tellwire.errors import ConfigError

PAYLOAD = '{"service":"chat","action":"join","data":{"room":"room1234"},"n":5,"t":true,"l":["item1","item2"],"z":null}'


@pytest.mark.parametrize(
    ("expression", "key"),
    [
        ("$request.body.action", "join"),
        ("${request.body.action}", "join"),
        ("${request.body.service}/${request.body.action}", "chat/join"),
        ("${request.body.action}-${request.body.invalidPath}", "join-"),
        ("action", "action"),
        ("\\$default", "$default"),
        ("$request.body.data.room", "room1234"),
        ("$request.body.l", "[item1, item2]"),
        ("$request.body.l[0]", "item1"),
        ("$request.body.l[*]", "[item1, item2]"),
        ("$request.body['action']", None),
        ("$request.body.n", "5"),
        ("$request.body.t", "true"),
        ("$request.body.z", ""),
        ("$request.body.data", "{room=room1234}"),
        ("$request.body..room", "room1234"),
    ],
)
def test_what_an_expression_selects(expression: str, key: str | None) -> None:
    if key is None:
        with pytest.raises(ConfigError):
            compile_selection(expression, "route")
    else:
        assert compile_selection(expression, "route")(PAYLOAD) == key


@pytest.mark.parametrize("text", ["", "hello", "{", "[1", "\ufeff{}", "nul", "{'a': 1}", "[" * 10_000])
def test_what_is_no_json_selects_nothing(text: str) -> None:
    assert compile_selection("$request.body.action", "route")(text) is None


@pytest.mark.parametrize("text", ["5", '"join"', "null", "true", "[]", "{}", '[{"action": "join"}]'])
def test_json_without_the_path_selects_the_empty_key(text: str) -> None:
    assert compile_selection("$request.body.action", "route")(text) == ""


@pytest.mark.parametrize(
    "expression",
    [
        "$request.header.x",
        "${request.header.x}",
        "$context.connectionId",
        "${context.stage}",
        "$request.body.",
        "$request.body.[[",
        "${request.body.[[}",
        "${request.body.action",
        "a${stageVariables.x}",
        "$request.body",
    ],
)
def test_another_expression_is_refused_by_name(expression: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compile_selection(expression, "route")
    assert expression in str(caught.value).replace("\\\\", "\\")


def router(*keys: str, selection: str = "$request.body.action") -> Router:
    return Router(Api(tuple(Route(key, key) for key in keys), route_selection_expression=selection))


def chosen(given: Router, text: str) -> str | None:
    route = given.route(text)
    return None if route is None else route.key


def test_a_key_is_matched_exactly_and_the_rest_is_default() -> None:
    routes = router("$connect", "$disconnect", "$default", "join")
    assert chosen(routes, '{"action": "join"}') == "join"
    for text in ('{"action": "Join"}', '{"action": "join "}', "{}", "no json", '{"action": ["join"]}'):
        assert chosen(routes, text) == "$default"
    assert chosen(router("join"), '{"action": "leave"}') is None


@given(st.sampled_from(["$connect", "$disconnect", "$default"]))
def test_a_client_never_selects_a_route_of_the_system(key: str) -> None:
    routes = router("$connect", "$disconnect", "join")
    assert chosen(routes, f'{{"action": "{key}"}}') is None


@given(st.text())
def test_no_text_breaks_the_selection(text: str) -> None:
    assert chosen(router("join"), text) in (None, "join")
