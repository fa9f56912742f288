"""`@connections`: responses for a gone connection, and ids that are never sent."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tellwire.aws_api.client import Payload
from tellwire.aws_api.management import Activity, Management
from tellwire.errors import AwsRefused, AwsUnreachable
from tests.unit.aws_api.conftest import QUICK, MakeClient, StartService
from tests.unit.aws_api.scripted import DROPS, OK, Response, Service, Step, api_gateway_error

ID = "nBUGZLR2Hhyb5qM="
HELLO = Payload.of(b'{"type":"hello"}')

# As observed; a 410 has no body.
GONE = Response(410, b"", {"x-amzn-ErrorType": "GoneException"})
NO_ID = Response(400, b'{"message":"Invalid connectionId: foo","connectionId":"foo","requestId":"eHr="}')
NOT_THERE = pytest.mark.parametrize("answer", [GONE, NO_ID], ids=["410", "400"])

REFUSALS = [
    api_gateway_error(403, "ForbiddenException", "Forbidden"),
    api_gateway_error(
        403, "AccessDeniedException", "User: … is not authorized to perform: execute-api:ManageConnections"
    ),
    api_gateway_error(403, "MissingAuthenticationTokenException", "Missing Authentication Token"),
    api_gateway_error(413, "PayloadTooLargeException", "Request Entity Too Large"),
    api_gateway_error(400, "BadRequestException", "Bad request"),
    Response(404, b"<html>"),
]


@pytest.fixture
def start_management(start_service: StartService, make_client: MakeClient) -> Any:
    async def start(*steps: Step) -> tuple[Service, Management]:
        service = await start_service(*steps)
        return service, Management(make_client(f"{service.url}/prod"))

    return start


async def each(management: Management, connection_id: str = ID) -> list[Any]:
    """Call all methods with an id, and return their results."""
    return [
        await management.post(connection_id, HELLO),
        await management.delete(connection_id),
        await management.get(connection_id),
    ]


async def test_a_post_takes_the_message_to_the_connection(start_management: Any) -> None:
    service, management = await start_management(Response(200, b""))
    assert await management.post(ID, HELLO) is True
    [request] = service.requests
    assert (request.method, request.target) == ("POST", "/prod/@connections/nBUGZLR2Hhyb5qM%3D")
    assert request.body == HELLO.body
    assert "/eu-central-1/execute-api/aws4_request" in request.headers["authorization"]


async def test_a_delete_closes_it(start_management: Any) -> None:
    service, management = await start_management(Response(204, b""))
    assert await management.delete(ID) is True
    [request] = service.requests
    assert (request.method, request.target, request.body) == ("DELETE", "/prod/@connections/nBUGZLR2Hhyb5qM%3D", b"")


async def test_a_get_says_when_it_was_made_and_last_active(start_management: Any) -> None:
    body = (
        b'{"connectedAt":"2026-01-02T03:04:05.678Z","identity":{"sourceIp":"192.0.2.1","userAgent":"x"},'
        b'"lastActiveAt":"2026-01-02T03:05:05Z"}'
    )
    service, management = await start_management(Response(body=body))
    assert await management.get(ID) == Activity(
        datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC), datetime(2026, 1, 2, 3, 5, 5, tzinfo=UTC)
    )
    assert service.requests[0].method == "GET"


@NOT_THERE
async def test_a_connection_that_does_not_exist_is_gone(answer: Response, start_management: Any) -> None:
    service, management = await start_management(answer)
    assert await each(management) == [False, False, None]
    assert len(service.requests) == 3


@pytest.mark.parametrize("answer", REFUSALS, ids=lambda response: f"{response.status} {response.body[:40]!r}")
async def test_any_other_refusal_is_an_error(answer: Response, start_management: Any) -> None:
    service, management = await start_management(answer)
    for action, doing in (
        ("POST", management.post(ID, HELLO)),
        ("DELETE", management.delete(ID)),
        ("GET", management.get(ID)),
    ):
        with pytest.raises(AwsRefused) as caught:
            await doing
        assert (caught.value.action, caught.value.status) == (f"{action} @connections", answer.status)
    assert len(service.requests) == 3


@pytest.mark.parametrize(
    "connection_id",
    ["", ".", "..", "../..", "a/b", "/", "a?b", "a#b", "a b", "a%3D", "é", "\ud800", "a\n", "\0", "@", "x" * 129],
)
async def test_an_impossible_id_is_gone_without_a_request(connection_id: str, start_management: Any) -> None:
    service, management = await start_management(OK)
    assert await each(management, connection_id) == [False, False, None]
    await management.expel(connection_id, b"bye")
    assert not service.requests


@pytest.mark.parametrize("connection_id", ["Qyi07eCbtjMCJKw=", "eHrdFcnvvHcCE-w=", "a_b", "connection-1", "x" * 128])
async def test_every_possible_id_is_requested(connection_id: str, start_management: Any) -> None:
    service, management = await start_management(GONE)
    await management.get(connection_id)
    assert service.requests[0].target == f"/prod/@connections/{connection_id.replace('=', '%3D')}"


async def test_expel_posts_the_reason_first(start_management: Any) -> None:
    service, management = await start_management(Response(200, b""), Response(204, b""))
    await management.expel(ID, b"bye")
    assert [(request.method, request.body) for request in service.requests] == [("POST", b"bye"), ("DELETE", b"")]


@NOT_THERE
async def test_expel_ignores_a_gone_connection(answer: Response, start_management: Any) -> None:
    _, management = await start_management(answer)
    await management.expel(ID, b"bye")


async def test_a_message_that_may_have_arrived_is_not_sent_twice(start_management: Any) -> None:
    service, management = await start_management(DROPS)
    with pytest.raises(AwsUnreachable):
        await management.post(ID, HELLO)
    assert len(service.requests) == 1


async def test_delete_and_get_are_retried(start_management: Any) -> None:
    service, management = await start_management(DROPS, Response(204, b""))
    assert await management.delete(ID) is True
    assert len(service.requests) == 2
    service.steps = [DROPS]
    with pytest.raises(AwsUnreachable):
        await management.get(ID)
    assert len(service.requests) == 2 + QUICK.attempts


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b'{"connectedAt":"yesterday","lastActiveAt":"today"}',
        b'{"\xff":1}',
        b'{"a":' + b"[" * 50_000,
    ],
)
async def test_an_answer_that_is_none_of_api_gateways_is_an_error(body: bytes, start_management: Any) -> None:
    _, management = await start_management(Response(200, body))
    with pytest.raises(AwsRefused, match="GET @connections"):
        await management.get(ID)
