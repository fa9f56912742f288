"""Identity sources, and the results of authorizers."""

from typing import Any

import msgspec
import pytest

from tellwire.apigateway.authorizer import InvalidAuthorizerResult, missing_source, read_authorizer_result
from tellwire.apigateway.definition import Api, IdentitySource, Route
from tellwire.errors import ConfigError

API = Api((Route("$connect", "connect"),))
ARN = "arn:aws:execute-api:us-east-1:123456789012:tellwire00/prod/$connect"


def result(*statements: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"principalId": "me", "policyDocument": {"Version": "2012-10-17", "Statement": list(statements)}, **more}


def statement(effect: str = "Allow", resource: Any = ARN, action: Any = "execute-api:Invoke") -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource}


@pytest.mark.parametrize(
    "resource",
    [
        ARN,
        "*",
        "arn:aws:execute-api:*:*:tellwire00/prod/*",
        "arn:aws:execute-api:us-east-1:123456789012:tellwire00/*",
        "arn:aws:execute-api:us-east-1:123456789012:*/*",
        "arn:aws:execute-api:us-east-1:123456789012:tellwire00/prod/?connect",
        ["arn:aws:execute-api:us-east-1:1:other/prod/$connect", ARN],
    ],
)
def test_resources_that_cover_connect(resource: Any) -> None:
    assert read_authorizer_result(result(statement(resource=resource))).allows(API)


@pytest.mark.parametrize(
    "resource",
    [
        "arn:aws:execute-api:us-east-1:123456789012:tellwire00/prod/*/*",
        "arn:aws:execute-api:us-east-1:123456789012:tellwire00/dev/$connect",
        "arn:aws:execute-api:us-east-1:123456789012:tellwire00/prod/$CONNECT",
        "arn:aws:execute-api:us-east-1:123456789012:tellwire00/prod/[$]connect",
        "arn:aws:execute-api:eu-west-1:123456789012:tellwire00/prod/$connect",
        f"{ARN}/more",
        "",
        [],
    ],
)
def test_resources_that_do_not(resource: Any) -> None:
    assert not read_authorizer_result(result(statement(resource=resource))).allows(API)


@pytest.mark.parametrize(
    ("action", "allowed"),
    [
        ("execute-api:Invoke", True),
        ("execute-api:*", True),
        ("*", True),
        ("EXECUTE-API:invoke", True),
        (["s3:GetObject", "execute-api:Invoke"], True),
        ("execute-api:ManageConnections", False),
        ("s3:*", False),
    ],
)
def test_actions(action: Any, allowed: bool) -> None:
    assert read_authorizer_result(result(statement(action=action))).allows(API) is allowed


def test_a_deny_wins_wherever_it_stands() -> None:
    for statements in ([statement(), statement("Deny")], [statement("Deny"), statement()]):
        assert not read_authorizer_result(result(*statements)).allows(API)
    assert read_authorizer_result(result(statement(), statement("Deny", "arn:other"))).allows(API)


def test_what_nothing_allows_is_denied() -> None:
    assert not read_authorizer_result(result()).allows(API)


def test_the_other_ways_to_name_things() -> None:
    not_action = {"Effect": "Deny", "NotAction": "s3:*", "Resource": "*"}
    not_resource = {"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::*"}
    assert read_authorizer_result(result(not_resource)).allows(API)
    assert not read_authorizer_result(result(not_resource, not_action)).allows(API)


def test_one_statement_need_not_be_in_a_list() -> None:
    given = result()
    given["policyDocument"]["Statement"] = statement()
    assert read_authorizer_result(given).allows(API)


@pytest.mark.parametrize(
    "result",
    [
        None,
        "Allow",
        {"statusCode": 401},
        {"principalId": "me"},
        {"policyDocument": {"Statement": []}},
        result({"Effect": "allow", "Action": "*", "Resource": "*"}),
        result({"Effect": "Allow", "Resource": "*"}),
        result({"Effect": "Allow", "Action": "*"}),
        result({**statement(), "NotResource": "*"}),
        result({**statement(), "Condition": {"IpAddress": {"aws:SourceIp": "1.2.3.4"}}}),
        result(statement(), principalId=""),
        result(statement(), context={"list": []}),
        result(statement(), context={"object": {}}),
        result(statement(), context={"null": None}),
        result(statement(), context={"long": "x" * 9000}),
    ],
)
def test_what_is_no_verdict(result: Any) -> None:
    with pytest.raises(InvalidAuthorizerResult):
        read_authorizer_result(result)


def test_a_result_of_8_kib_is_taken_and_one_byte_more_is_not() -> None:
    room = 8192 - len(msgspec.json.encode(result(statement(), context={"a": ""})))
    read_authorizer_result(result(statement(), context={"a": "x" * room}))
    with pytest.raises(InvalidAuthorizerResult):
        read_authorizer_result(result(statement(), context={"a": "x" * (room + 1)}))


def test_the_context_becomes_text() -> None:
    given = {"name": "Ada", "number": 123, "float": 1.5, "yes": True, "no": False}
    context = read_authorizer_result(result(statement(), context=given)).as_context(7)
    assert list(context.items()) == [
        ("principalId", "me"),
        ("name", "Ada"),
        ("number", "123"),
        ("float", "1.5"),
        ("yes", "true"),
        ("no", "false"),
        ("integrationLatency", 7),
    ]


EVENT = {
    "headers": {"Authorization": "t", "Empty": ""},
    "queryStringParameters": {"token": "t", "empty": ""},
    "stageVariables": {"colour": "blue"},
    "requestContext": {"stage": "prod", "identity": {"sourceIp": "::1"}},
}


@pytest.mark.parametrize(
    ("source", "there"),
    [
        ("route.request.header.Authorization", True),
        ("route.request.header.authorization", True),
        ("route.request.header.Empty", False),
        ("route.request.header.Missing", False),
        ("route.request.querystring.token", True),
        ("route.request.querystring.Token", False),
        ("route.request.querystring.empty", False),
        ("stageVariables.colour", True),
        ("stageVariables.size", False),
        ("context.stage", True),
        ("context.identity.sourceIp", True),
        ("context.identity.apiKey", False),
        ("context.stage.deeper", False),
    ],
)
def test_identity_sources(source: str, there: bool) -> None:
    given = IdentitySource(source)
    assert missing_source([given], EVENT) == (None if there else given)


def test_without_a_query_string_its_sources_are_missing() -> None:
    source = IdentitySource("route.request.querystring.token")
    assert missing_source([source], {key: value for key, value in EVENT.items() if key[0] != "q"}) == source


@pytest.mark.parametrize(
    "source", ["$request.header.X", "method.request.header.X", "route.request.header.", "header.X"]
)
def test_a_source_of_another_form_is_refused(source: str) -> None:
    with pytest.raises(ConfigError, match=r"route\.request\.header"):
        IdentitySource(source)
