"""The pytest plugin in another project."""

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import asyncio
import json

import boto3
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus


def greet(event, context):
    request = event["requestContext"]
    api = boto3.client("apigatewaymanagementapi", endpoint_url=f"https://{request['domainName']}/{request['stage']}")
    api.post_to_connection(ConnectionId=request["connectionId"], Data=b"hello")
    return {"statusCode": 200, "body": "bye"}


def let_in(event, context):
    return {"statusCode": 200 if event["queryStringParameters"]["who"] == "friend" else 403}


def test_synchronous(api_gateway):
    api = api_gateway({"$connect": let_in, "$default": greet}, answering=["$default"])
    with api.connect({"who": "friend"}) as socket:
        socket.send("hi")
        assert socket.recv(45) == "hello"
        assert socket.recv(45) == "bye"  # the function has ended, so no time runs out for it
        api.advance(601)
        with pytest.raises(ConnectionClosed):
            socket.recv(45)
    with pytest.raises(InvalidStatus), api.connect({"who": "foe"}):
        pass


def test_asynchronous(api_gateway):
    api = api_gateway({"$default": greet})

    async def talk():
        async with connect(api.url, proxy=None) as socket:
            await socket.send("hi")
            return await socket.recv()

    assert asyncio.run(talk()) == "hello"


def test_an_authorizer_and_an_answer(api_gateway):
    def authorize(event, context):
        statement = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": event["methodArn"]}
        return {"principalId": "ada", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}}

    def whoami(event, context):
        return {"statusCode": 200, "body": event["requestContext"]["authorizer"]["principalId"]}

    api = api_gateway(
        {"$connect": lambda event, context: {"statusCode": 200}, "whoami": whoami},
        authorizer=authorize,
        identity_sources=["route.request.header.Authorization"],
        answering=["whoami"],
        stage="dev",
    )
    assert api.url.endswith("/dev")
    with api.connect(headers={"Authorization": "x"}) as socket:
        socket.send(json.dumps({"action": "whoami"}))
        assert socket.recv(45) == "ada"


def test_two_at_once(api_gateway):
    one, two = api_gateway({"$default": greet}), api_gateway({"$default": greet})
    with one.connect() as first, two.connect() as second:
        first.send("hi")
        second.send("hi")
        assert first.recv(45) == second.recv(45) == "hello"
"""


def test_the_fixture_serves_a_project_of_somebody_elses(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS)
    # A project may have no asyncio plugin.
    result = pytester.runpytest_subprocess("-p", "no:asyncio", "-W", "error", "--timeout", "50")
    result.assert_outcomes(passed=4)


MISTAKES = [
    ('{"$nothing": f}', "route: got '$nothing'; allowed: *"),
    ('{"$default": "app:handler"}', "handler of $default: got 'app:handler'; allowed: a function *"),
    ('{"$default": f}, answering="$default"', "answering: got '$default'; allowed: a list of them, *"),
    ('{"$default": f}, answering=["default"]', "answering: got *default*; allowed: $default"),
    ('{"$default": f}, authorizer=f', "authorizer: there is no $connect route*"),
    ('{"$connect": f}, identity_sources=["context.x"]', "identity_sources: *"),
    ('{"$connect": f}, authorizer=f, identity_sources=["x"]', "identity source: got 'x'; *"),
]


def test_a_mistake_is_told_in_the_test(pytester: pytest.Pytester) -> None:
    tests = "".join(f"def test_{n}(api_gateway):\n    api_gateway({a})\n" for n, (a, _) in enumerate(MISTAKES))
    pytester.makepyfile(f"def f(e, c): ...\n{tests}")
    result = pytester.runpytest_subprocess("-p", "no:asyncio")
    result.assert_outcomes(failed=len(MISTAKES))
    result.stdout.fnmatch_lines([f"*ConfigError: {words}" for _, words in MISTAKES])


def test_without_its_packages_the_fixture_says_what_to_install(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(jsonpath="raise ModuleNotFoundError(name='jsonpath')", test_it="def test_it(api_gateway): ...")
    result = pytester.runpytest_subprocess("-p", "no:asyncio")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*api_gateway needs jsonpath: pip install 'tellwire[[]local]'*"])
