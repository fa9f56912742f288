"""The few calls of DynamoDB's JSON protocol that are needed here.

Items are in DynamoDB's own form, `{"userId": {"S": "u1"}, "expiresAt": {"N": "1769000000"}}`.

Source: API reference of DynamoDB, 2012-08-10.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import msgspec

from tellwire.aws.client import NOT_JSON, AwsClient, AwsRequest, Payload, refused
from tellwire.errors import AwsRefused, AwsUnreachable

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
        action = f"DynamoDB {operation}"
        given = {name: value for name, value in parameters.items() if value is not None}
        headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": f"DynamoDB_20120810.{operation}"}
        payload = Payload.of(msgspec.json.encode(given))
        answer = await self._client.call(AwsRequest(action, "POST", "/", payload, headers))
        if answer.status != 200:
            raise refused(action, answer)
        try:
            return msgspec.json.decode(answer.body, type=dict[str, Any])
        except NOT_JSON as error:
            raise AwsUnreachable(action, "the answer is not DynamoDB's; is this its address?") from error

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

    async def close(self) -> None:
        """Let the pooled connections go."""
        await self._client.close()
