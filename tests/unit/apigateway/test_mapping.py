"""Mapping templates: the variables of API Gateway, and which template is selected."""

import json
from typing import Any

import pytest

from tellwire.apigateway.definition import IntegrationResponse, Route, Templates
from tellwire.apigateway.mapping import Mapper, MappingFailed
from tellwire.errors import ConfigError

EVENT: dict[str, Any] = {
    "body": '{"name": "Ann", "tags": ["a", "b"], "at": {"x": 1}, "yes": true, "no": null}',
    "requestContext": {"connectionId": "abc=", "requestTimeEpoch": 1000, "identity": {"sourceIp": "127.0.0.1"}},
    "stageVariables": {"color": "red"},
}
CONNECT: dict[str, Any] = {
    "headers": {"Host": "here"},
    "queryStringParameters": {"foo": "bar"},
    "requestContext": {"connectionId": "abc="},
}


def mapper(template: str, selection: str = "", key: str = "$default") -> Mapper:
    return Mapper(Route("$default", "f", request=Templates({key: template}, selection)))


def mapped(template: str, event: dict[str, Any] = EVENT) -> str | None:
    return mapper(template).request(event)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$input.body", EVENT["body"]),
        ("$input.json('$.name')", '"Ann"'),
        ("$input.json('$.at')", '{"x":1}'),
        ("$input.json('$')", '{"name":"Ann","tags":["a","b"],"at":{"x":1},"yes":true,"no":null}'),
        ("$input.path('$.name')", "Ann"),
        ("$input.path('$.at').x", "1"),
        ("$input.path('$')", "{name=Ann, tags=[a, b], at={x=1}, yes=true, no=null}"),
        ("$input.path('$.yes') [$input.path('$.no')]", "true []"),
        ("$input.path('$.tags').size() $input.path('$.tags')[1] $input.path('$.tags').contains('a')", "2 b true"),
        ("$input.path('$.at').keySet() $input.path('$.at').containsKey('x')", "[x] true"),
        ("#foreach($tag in $input.path('$.tags'))[$tag]#end", "[a][b]"),
        ("$context.connectionId $context.identity.sourceIp", "abc= 127.0.0.1"),
        ("[$context.nothing]", "[]"),
        ("$stageVariables.color", "red"),
        ("#set($ttl = $context.requestTimeEpoch + 86400)$ttl", "87400"),
        ("#if($context.connectionId == 'abc=')yes#{else}no#end", "yes"),
        ("$util.urlEncode('a b&c/ä~*')", "a+b%26c%2F%C3%A4%7E*"),
        ("$util.urlDecode('a+b%26')", "a b&"),
        ("$util.base64Encode('hi')", "aGk="),
        ("$util.base64Decode('aGk=')", "hi"),
        ("$util.parseJson('{\"a\": 1}').a", "1"),
        ("$util.escapeJavaScript($input.json('$.name'))", r"\"Ann\""),
    ],
)
def test_a_template_has_the_variables_of_api_gateway(template: str, expected: str) -> None:
    assert mapped(template) == expected


def test_text_is_escaped_as_for_javascript() -> None:
    event = {"body": 'it\'s "a/b"\\\n\u00e4\U0001f600'}
    assert mapped("$util.escapeJavaScript($input.body)", event) == r"it\'s \"a\/b\"\\\n\u00E4\uD83D\uDE00"


def test_parameters_are_those_of_the_handshake() -> None:
    assert mapped("$input.params().get('querystring')", CONNECT) == "{foo=bar}"
    assert mapped("$input.params('foo') $input.params('Host') [$input.params('no')]", CONNECT) == "bar here []"


@pytest.mark.parametrize(
    ("selection", "message", "expected"),
    [
        ("", '{"a": 1}', "chosen"),
        ("\\$default", "not JSON", None),
        ("chosen", "not JSON", "chosen"),
        ("$request.body.kind", '{"kind": "chosen"}', "chosen"),
        ("$request.body.kind", '{"kind": "other"}', None),
    ],
)
def test_the_selection_expression_selects_a_template(selection: str, message: str, expected: str | None) -> None:
    assert mapper("chosen", selection, "chosen").request({"body": message}) == expected


def test_without_the_selected_template_the_default_one_is_used() -> None:
    assert mapper("all", "request.body.action").request(EVENT) == "all"


def test_a_template_of_json_is_the_one_without_an_expression() -> None:
    templates = {"text/plain": "text", "application/json": "json"}
    assert Mapper(Route("x", "f", request=Templates(templates))).request(EVENT) == "json"


@pytest.mark.parametrize(("status", "expected"), [(200, "good"), (404, "bad"), (500, "other")])
def test_a_response_is_mapped_by_its_status(status: int, expected: str) -> None:
    responses = tuple(
        IntegrationResponse(key, Templates({"$default": text}))
        for key, text in {"$default": "other", "/200/": "good", r"/4\d\d/": "bad", "/(/": "never"}.items()
    )
    assert Mapper(Route("x", "f", responses=responses)).response(EVENT, status, "{}") == expected


def test_the_input_of_a_response_is_the_output_of_the_integration() -> None:
    responses = (IntegrationResponse(templates=Templates({"$default": "$input.path('$.id') $context.connectionId"})),)
    assert Mapper(Route("x", "f", responses=responses)).response(EVENT, 200, json.dumps({"id": 7})) == "7 abc="


def test_without_templates_everything_goes_on_as_it_is() -> None:
    plain = Mapper(Route("x", "f"))
    assert plain.request(EVENT) is None
    assert plain.response(EVENT, 200, "{}") is None


@pytest.mark.parametrize("template", ["$input.path('$.name')", "$util.parseJson($input.body)"])
def test_a_template_that_fails_says_where_and_nothing_of_the_client(template: str) -> None:
    with pytest.raises(MappingFailed, match="has a mapping template that fails") as failed:
        mapped(template, {"body": "my secret"})
    assert "my secret" not in str(failed.value)


def test_a_template_that_is_not_velocity_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"route \$default: template \$default: not a template in Velocity"):
        mapper("#foreach($x")
