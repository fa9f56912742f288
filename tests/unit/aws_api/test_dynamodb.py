"""DynamoDB's protocol: calls, pages, conditions, and answers that are not DynamoDB's."""

from typing import Any

import msgspec
import pytest

from tellwire.aws_api.dynamodb import DynamoDb, Item
from tellwire.errors import AwsRefused, AwsUnreachable
from tests.unit.aws_api.conftest import QUICK, MakeClient, StartService
from tests.unit.aws_api.scripted import DROPS, OK, Response, Service, Step, dynamodb_error

KEY = {"userId": {"S": "u1"}}


@pytest.fixture
def start_dynamodb(start_service: StartService, make_client: MakeClient) -> Any:
    async def start(*steps: Step) -> tuple[Service, DynamoDb]:
        service = await start_service(*steps)
        return service, DynamoDb(make_client(service, "dynamodb"))

    return start


def page(*items: Item, last: Any = None) -> Response:
    content = {"Count": len(items), "Items": items} | ({} if last is None else {"LastEvaluatedKey": last})
    return Response(body=msgspec.json.encode(content))


async def pages_of(dynamodb: DynamoDb, **parameters: Any) -> list[list[Item]]:
    return [items async for items in dynamodb.pages("Query", **parameters)]


async def test_a_call_is_a_post_that_names_its_operation(start_dynamodb: Any) -> None:
    service, dynamodb = await start_dynamodb(Response(body=b'{"Item":{"userId":{"S":"u1"}}}'))
    assert await dynamodb.call("GetItem", TableName="t", Key=KEY, IndexName=None) == {"Item": KEY}
    [request] = service.requests
    assert (request.method, request.target) == ("POST", "/")
    assert request.headers["x-amz-target"] == "DynamoDB_20120810.GetItem"
    assert request.headers["content-type"] == "application/x-amz-json-1.0"
    assert request.json == {"TableName": "t", "Key": KEY}
    scope, _, names = request.headers["authorization"].partition(", SignedHeaders=")
    assert scope.endswith("/eu-central-1/dynamodb/aws4_request")
    assert {"content-type", "host", "x-amz-target"} < set(names.partition(",")[0].split(";"))


async def test_falsy_parameters_are_given_all_the_same(start_dynamodb: Any) -> None:
    service, dynamodb = await start_dynamodb()
    await dynamodb.call("Scan", ConsistentRead=False, Limit=0)
    assert service.requests[0].json == {"ConsistentRead": False, "Limit": 0}


async def test_pages_are_read_to_the_end_also_past_empty_ones(start_dynamodb: Any) -> None:
    first, second = {"userId": {"S": "a"}}, {"userId": {"S": "b"}}
    service, dynamodb = await start_dynamodb(
        page(last=KEY),
        page(first, last=first),
        Response(body=b'{"LastEvaluatedKey":{"userId":{"S":"x"}}}'),
        page(second),
    )
    assert await pages_of(dynamodb, TableName="t") == [[], [first], [], [second]]
    starts = [request.json.get("ExclusiveStartKey") for request in service.requests]
    assert starts == [None, KEY, first, {"userId": {"S": "x"}}]
    assert all(request.json["TableName"] == "t" for request in service.requests)


async def test_nothing_found_is_one_empty_page(start_dynamodb: Any) -> None:
    service, dynamodb = await start_dynamodb(Response(body=b'{"Items":[],"Count":0,"LastEvaluatedKey":{}}'))
    assert await pages_of(dynamodb) == [[]]
    assert len(service.requests) == 1


async def test_a_page_is_read_when_it_is_wanted(start_dynamodb: Any) -> None:
    service, dynamodb = await start_dynamodb(page(KEY, last=KEY))
    async for _ in dynamodb.pages("Query"):
        break
    assert len(service.requests) == 1


async def test_a_page_that_was_throttled_is_asked_for_again(start_dynamodb: Any) -> None:
    service, dynamodb = await start_dynamodb(
        page(KEY, last=KEY), dynamodb_error("ProvisionedThroughputExceededException"), DROPS, page()
    )
    assert await pages_of(dynamodb) == [[KEY], []]
    assert [request.json for request in service.requests[1:]] == [{"ExclusiveStartKey": KEY}] * 3


async def test_a_condition_that_holds_succeeds(start_dynamodb: Any) -> None:
    _, dynamodb = await start_dynamodb(OK)
    assert await dynamodb.succeeds("DeleteItem", Key=KEY) is True


async def test_a_condition_that_does_not_hold_is_no_error(start_dynamodb: Any) -> None:
    service, dynamodb = await start_dynamodb(dynamodb_error("ConditionalCheckFailedException"))
    assert await dynamodb.succeeds("DeleteItem", Key=KEY) is False
    assert len(service.requests) == 1


async def test_a_write_whose_condition_holds_has_no_conflict(start_dynamodb: Any) -> None:
    service, dynamodb = await start_dynamodb(OK)
    assert await dynamodb.conflict("PutItem", Item=KEY) is None
    assert service.requests[0].json == {"Item": KEY, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}


@pytest.mark.parametrize(
    ("there", "present"), [(b',"Item":{"userId":{"S":"u1"}}', KEY), (b"", {}), (b',"Item":null', {})]
)
async def test_a_write_whose_condition_fails_returns_the_present_item(
    there: bytes, present: Any, start_dynamodb: Any
) -> None:
    _, dynamodb = await start_dynamodb(Response(400, b'{"__type":"x#ConditionalCheckFailedException"%b}' % there))
    assert await dynamodb.conflict("PutItem", Item=KEY) == present


async def test_any_other_refusal_of_a_write_is_one(start_dynamodb: Any) -> None:
    _, dynamodb = await start_dynamodb(dynamodb_error("AccessDeniedException", "not authorized"))
    with pytest.raises(AwsRefused, match=r"PutItem.*not authorized"):
        await dynamodb.conflict("PutItem", Item=KEY)


async def test_any_other_refusal_of_a_conditional_write_is_one(start_dynamodb: Any) -> None:
    _, dynamodb = await start_dynamodb(
        dynamodb_error("AccessDeniedException", "not authorized to perform: dynamodb:DeleteItem")
    )
    with pytest.raises(AwsRefused, match="not authorized") as caught:
        await dynamodb.succeeds("DeleteItem", Key=KEY)
    assert (caught.value.action, caught.value.status) == ("DynamoDB DeleteItem", 400)
    assert caught.value.error_type == "AccessDeniedException"


async def test_a_conditional_write_without_a_response_is_unreachable(start_dynamodb: Any) -> None:
    service, dynamodb = await start_dynamodb(DROPS)
    with pytest.raises(AwsUnreachable):
        await dynamodb.succeeds("DeleteItem", Key=KEY)
    assert len(service.requests) == QUICK.attempts


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"null", b'{"Items"', b'{"a":"\xff"}', b'{"a":' + b"[" * 50_000]
)
async def test_an_answer_that_is_not_dynamodbs_is_said_to_be_none(body: bytes, start_dynamodb: Any) -> None:
    service, dynamodb = await start_dynamodb(Response(body=body))
    with pytest.raises(AwsUnreachable, match=r"DynamoDB Query: .*not DynamoDB's; is this its address") as caught:
        await dynamodb.call("Query")
    assert caught.value.__cause__ is not None
    assert len(service.requests) == 1


@pytest.mark.parametrize("status", [204, 301, 404])
async def test_only_200_is_a_success(status: int, start_dynamodb: Any) -> None:
    _, dynamodb = await start_dynamodb(Response(status, b""))
    with pytest.raises(AwsRefused, match=f"refused \\({status} Unknown\\)"):
        await dynamodb.call("Query")
