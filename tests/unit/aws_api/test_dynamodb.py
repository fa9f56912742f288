"""DynamoDB's protocol: calls, pages, conditions, and answers that are not DynamoDB's."""

from typing import Any

import msgspec
import pytest

from tellwire.aws_api.dynamodb import DynamoDb, Item
from tellwire.errors import AwsRefused, AwsUnreachable
from tests.unit.aws_api.conftest import QUICK, MakeClient, StartService
from tests.unit.aws_api.scripted import DROPS, OK, Says, Service, Step, throws

KEY = {"userId": {"S": "u1"}}


@pytest.fixture
def start_dynamodb(start_service: StartService, make_client: MakeClient) -> Any:
    async def start(*steps: Step) -> tuple[Service, DynamoDb]:
        service = await start_service(*steps)
        return service, DynamoDb(make_client(service, "dynamodb"))

    return start


def page(*items: Item, last: Any = None) -> Says:
    content = {"Count": len(items), "Items": items} | ({} if last is None else {"LastEvaluatedKey": last})
    return Says(body=msgspec.json.encode(content))


async def pages_of(dynamodb: DynamoDb, **parameters: Any) -> list[list[Item]]:
    return [items async for items in dynamodb.pages("Query", **parameters)]


async def test_a_call_is_a_post_that_names_its_operation(start_dynamodb: Any) -> None:
    service, dynamodb = await start_dynamodb(Says(body=b'{"Item":{"userId":{"S":"u1"}}}'))
    assert await dynamodb.call("GetItem", TableName="t", Key=KEY, IndexName=None) == {"Item": KEY}
    [asked] = service.asked
    assert (asked.method, asked.target) == ("POST", "/")
    assert asked.headers["x-amz-target"] == "DynamoDB_20120810.GetItem"
    assert asked.headers["content-type"] == "application/x-amz-json-1.0"
    assert asked.json == {"TableName": "t", "Key": KEY}
    scope, _, names = asked.headers["authorization"].partition(", SignedHeaders=")
    assert scope.endswith("/eu-central-1/dynamodb/aws4_request")
    assert {"content-type", "host", "x-amz-target"} < set(names.partition(",")[0].split(";"))


async def test_falsy_parameters_are_given_all_the_same(start_dynamodb: Any) -> None:
    service, dynamodb = await start_dynamodb()
    await dynamodb.call("Scan", ConsistentRead=False, Limit=0)
    assert service.asked[0].json == {"ConsistentRead": False, "Limit": 0}


async def test_pages_are_read_to_the_end_also_past_empty_ones(start_dynamodb: Any) -> None:
    first, second = {"userId": {"S": "a"}}, {"userId": {"S": "b"}}
    service, dynamodb = await start_dynamodb(
        page(last=KEY), page(first, last=first), Says(body=b'{"LastEvaluatedKey":{"userId":{"S":"x"}}}'), page(second)
    )
    assert await pages_of(dynamodb, TableName="t") == [[], [first], [], [second]]
    starts = [asked.json.get("ExclusiveStartKey") for asked in service.asked]
    assert starts == [None, KEY, first, {"userId": {"S": "x"}}]
    assert all(asked.json["TableName"] == "t" for asked in service.asked)


async def test_nothing_found_is_one_empty_page(start_dynamodb: Any) -> None:
    service, dynamodb = await start_dynamodb(Says(body=b'{"Items":[],"Count":0,"LastEvaluatedKey":{}}'))
    assert await pages_of(dynamodb) == [[]]
    assert len(service.asked) == 1


async def test_a_page_is_read_when_it_is_wanted(start_dynamodb: Any) -> None:
    service, dynamodb = await start_dynamodb(page(KEY, last=KEY))
    async for _ in dynamodb.pages("Query"):
        break
    assert len(service.asked) == 1


async def test_a_page_that_was_throttled_is_asked_for_again(start_dynamodb: Any) -> None:
    service, dynamodb = await start_dynamodb(
        page(KEY, last=KEY), throws("ProvisionedThroughputExceededException"), DROPS, page()
    )
    assert await pages_of(dynamodb) == [[KEY], []]
    assert [asked.json for asked in service.asked[1:]] == [{"ExclusiveStartKey": KEY}] * 3


async def test_a_condition_that_holds_succeeds(start_dynamodb: Any) -> None:
    _, dynamodb = await start_dynamodb(OK)
    assert await dynamodb.succeeds("DeleteItem", Key=KEY) is True


async def test_a_condition_that_does_not_hold_is_no_error(start_dynamodb: Any) -> None:
    service, dynamodb = await start_dynamodb(throws("ConditionalCheckFailedException"))
    assert await dynamodb.succeeds("DeleteItem", Key=KEY) is False
    assert len(service.asked) == 1


async def test_a_write_whose_condition_holds_is_in_nobodys_way(start_dynamodb: Any) -> None:
    service, dynamodb = await start_dynamodb(OK)
    assert await dynamodb.conflict("PutItem", Item=KEY) is None
    assert service.asked[0].json == {"Item": KEY, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}


@pytest.mark.parametrize(("there", "said"), [(b',"Item":{"userId":{"S":"u1"}}', KEY), (b"", {}), (b',"Item":null', {})])
async def test_a_write_whose_condition_fails_shows_what_is_there(there: bytes, said: Any, start_dynamodb: Any) -> None:
    _, dynamodb = await start_dynamodb(Says(400, b'{"__type":"x#ConditionalCheckFailedException"%b}' % there))
    assert await dynamodb.conflict("PutItem", Item=KEY) == said


async def test_any_other_refusal_of_a_write_is_one(start_dynamodb: Any) -> None:
    _, dynamodb = await start_dynamodb(throws("AccessDeniedException", "not authorized"))
    with pytest.raises(AwsRefused, match=r"PutItem.*not authorized"):
        await dynamodb.conflict("PutItem", Item=KEY)


async def test_any_other_refusal_of_a_conditional_write_is_one(start_dynamodb: Any) -> None:
    _, dynamodb = await start_dynamodb(
        throws("AccessDeniedException", "not authorized to perform: dynamodb:DeleteItem")
    )
    with pytest.raises(AwsRefused, match="not authorized") as caught:
        await dynamodb.succeeds("DeleteItem", Key=KEY)
    assert (caught.value.action, caught.value.status) == ("DynamoDB DeleteItem", 400)
    assert caught.value.error_type == "AccessDeniedException"


async def test_a_condition_of_which_nothing_is_heard_is_unknown(start_dynamodb: Any) -> None:
    service, dynamodb = await start_dynamodb(DROPS)
    with pytest.raises(AwsUnreachable):
        await dynamodb.succeeds("DeleteItem", Key=KEY)
    assert len(service.asked) == QUICK.attempts


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"null", b'{"Items"', b'{"a":"\xff"}', b'{"a":' + b"[" * 50_000]
)
async def test_an_answer_that_is_not_dynamodbs_is_said_to_be_none(body: bytes, start_dynamodb: Any) -> None:
    service, dynamodb = await start_dynamodb(Says(body=body))
    with pytest.raises(AwsUnreachable, match=r"DynamoDB Query: .*not DynamoDB's; is this its address") as caught:
        await dynamodb.call("Query")
    assert caught.value.__cause__ is not None
    assert len(service.asked) == 1


@pytest.mark.parametrize("status", [204, 301, 404])
async def test_only_200_is_yes(status: int, start_dynamodb: Any) -> None:
    _, dynamodb = await start_dynamodb(Says(status, b""))
    with pytest.raises(AwsRefused, match=f"refused \\({status} Unknown\\)"):
        await dynamodb.call("Query")
