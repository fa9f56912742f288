"""The few calls of DynamoDB's JSON protocol that are needed here.

Items are in DynamoDB's own form, `{"userId": {"S": "u1"}, "expiresAt": {"N": "1769000000"}}`.

Source: API reference of DynamoDB, 2012-08-10.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import msgspec

from tellwire.aws_api.client import NOT_JSON, AwsClient, AwsRequest, Payload, error_type_of, refused
from tellwire.errors import AwsRefused, AwsUnreachable
from tellwire.http_client import Answer

Item = Mapping[str, Mapping[str, Any]]

CONDITION_FAILED: Final = "ConditionalCheckFailedException"


class DynamoDb:
    """A DynamoDB. Every call may be repeated without harm; none of those made here does more the second time."""

    def __init__(self, client: AwsClient) -> None:
        self._client = client

    async def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Make a call by its name, with parameters as the API reference has them; those that are None are left out.

        Raises:
            AwsRefused: DynamoDB says no. `error_type` is its name for the reason.
            AwsUnreachable: it does not answer, or is too busy.
        """
        answer = await self._ask(operation, parameters)
        if answer.status != 200:
            raise refused(f"DynamoDB {operation}", answer)
        return _read(operation, answer)

    async def pages(self, operation: str, **parameters: Any) -> AsyncIterator[list[Item]]:
        """Make a Query or Scan, and yield its pages to the end. A page may be empty and not be the last."""
        start: Any = None
        while True:
            page = await self.call(operation, ExclusiveStartKey=start, **parameters)
            yield page.get("Items", [])
            start = page.get("LastEvaluatedKey")
            if not start:
                return

    async def succeeds(self, operation: str, **parameters: Any) -> bool:
        """Make a conditional write, and tell whether its condition held."""
        try:
            await self.call(operation, **parameters)
        except AwsRefused as error:
            if error.error_type == CONDITION_FAILED:
                return False
            raise
        return True

    async def conflict(self, operation: str, **parameters: Any) -> Item | None:
        """Make a conditional write. None: its condition held; otherwise the item there is, `{}` if there is none."""
        answer = await self._ask(operation, {**parameters, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"})
        if answer.status == 200:
            return None
        if error_type_of(answer) != CONDITION_FAILED:
            raise refused(f"DynamoDB {operation}", answer)
        there: Item = _read(operation, answer).get("Item") or {}
        return there

    async def close(self) -> None:
        """Let the pooled connections go."""
        await self._client.close()

    async def _ask(self, operation: str, parameters: Mapping[str, Any]) -> Answer:
        given = {name: value for name, value in parameters.items() if value is not None}
        headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": f"DynamoDB_20120810.{operation}"}
        payload = Payload.of(msgspec.json.encode(given))
        return await self._client.call(AwsRequest(f"DynamoDB {operation}", "POST", "/", payload, headers))


def _read(operation: str, answer: Answer) -> dict[str, Any]:
    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any])
    except NOT_JSON as error:
        raise AwsUnreachable(f"DynamoDB {operation}", "the answer is not DynamoDB's; is this its address?") from error
