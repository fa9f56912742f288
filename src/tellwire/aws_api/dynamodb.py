"""DynamoDB's JSON protocol: calls, pages and conditional writes.

Items are in DynamoDB's own form, `{"userId": {"S": "u1"}, "expiresAt": {"N": "1769000000"}}`.

Source: API reference of DynamoDB, 2012-08-10.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from itertools import islice
from typing import Any, Final

import msgspec

from tellwire.aws_api.client import AwsClient, AwsRequest, Payload, error_type_of, refused
from tellwire.aws_api.deadline import remaining_seconds
from tellwire.decode_errors import DECODE_ERRORS
from tellwire.errors import AwsRefused, AwsUnreachable
from tellwire.http_client import full_jitter
from tellwire.http_messages import HttpResponse
from tellwire.limits import AWS_ATTEMPTS, AWS_FIRST_WAIT_SECONDS, AWS_LONGEST_WAIT_SECONDS

Item = Mapping[str, Mapping[str, Any]]

CONDITION_FAILED: Final = "ConditionalCheckFailedException"

_TRANSACTION_FAILED: Final = ("TransactionCanceledException", "TransactionInProgressException")
_CONDITION: Final = "ConditionalCheckFailed"
_PASSING: Final = ("None", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded")


class DynamoDb:
    """A client of DynamoDB. Every call is retried as if it were idempotent, and those of this project are."""

    def __init__(self, client: AwsClient) -> None:
        self._client = client

    async def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call an operation, with parameters as in the API reference; those that are None are left out.

        Raises:
            AwsRefused: DynamoDB refuses. `error_type` is its name for the reason.
            AwsUnreachable: it does not respond, or is too busy.
        """
        response = await self._request(operation, parameters)
        if response.status != 200:
            raise refused(f"DynamoDB {operation}", response)
        return _read(operation, response)

    async def pages(self, operation: str, **parameters: Any) -> AsyncIterator[list[Item]]:
        """Run a Query or Scan, and yield all its pages. A page may be empty without being the last."""
        start: Any = None
        while True:
            page = await self.call(operation, ExclusiveStartKey=start, **parameters)
            yield page.get("Items", [])
            start = page.get("LastEvaluatedKey")
            if not start:
                return

    async def succeeds(self, operation: str, **parameters: Any) -> bool:
        """Run a conditional write. False: its condition did not hold."""
        try:
            await self.call(operation, **parameters)
        except AwsRefused as error:
            if error.error_type == CONDITION_FAILED:
                return False
            raise
        return True

    async def conflict(self, operation: str, **parameters: Any) -> Item | None:
        """Run a conditional write. None: its condition held; otherwise the present item, `{}` if there is none."""
        response = await self._request(operation, {**parameters, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"})
        if response.status == 200:
            return None
        if error_type_of(response) != CONDITION_FAILED:
            raise refused(f"DynamoDB {operation}", response)
        item: Item = _read(operation, response).get("Item") or {}
        return item

    async def transact(self, writes: list[dict[str, Any]], token: str) -> list[Item | None] | None:
        """Run conditional writes, all or none. None: they are written; otherwise for each write the present item if its
        condition did not hold (`{}` if there is none), and None if it held.

        `token` names this transaction: repeated with it, it is done once. Writes that another transaction is in the way
        of are repeated, as when DynamoDB is busy.

        Raises as `call` does.
        """
        parameters = {"TransactItems": writes, "ClientRequestToken": token}
        waits = full_jitter(AWS_FIRST_WAIT_SECONDS, AWS_LONGEST_WAIT_SECONDS)
        for wait_seconds in islice(waits, AWS_ATTEMPTS):
            response = await self._request("TransactWriteItems", parameters)
            if response.status == 200:
                return None
            if error_type_of(response) not in _TRANSACTION_FAILED:
                raise refused("DynamoDB TransactWriteItems", response)
            reasons = _read("TransactWriteItems", response).get("CancellationReasons") or []
            if any(reason.get("Code") == _CONDITION for reason in reasons):
                return [reason.get("Item") or {} if reason.get("Code") == _CONDITION else None for reason in reasons]
            if any(reason.get("Code") not in _PASSING for reason in reasons):
                raise refused("DynamoDB TransactWriteItems", response)
            if wait_seconds >= remaining_seconds():
                break
            await asyncio.sleep(wait_seconds)
        raise AwsUnreachable("DynamoDB TransactWriteItems", "other writes were in its way")

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._client.close()

    async def _request(self, operation: str, parameters: Mapping[str, Any]) -> HttpResponse:
        given = {name: value for name, value in parameters.items() if value is not None}
        headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": f"DynamoDB_20120810.{operation}"}
        payload = Payload.of(msgspec.json.encode(given))
        return await self._client.call(AwsRequest(f"DynamoDB {operation}", "POST", "/", payload, headers))


def _read(operation: str, response: HttpResponse) -> dict[str, Any]:
    try:
        return msgspec.json.decode(response.body, type=dict[str, Any])
    except DECODE_ERRORS as error:
        raise AwsUnreachable(f"DynamoDB {operation}", "the answer is not DynamoDB's; is this its address?") from error
