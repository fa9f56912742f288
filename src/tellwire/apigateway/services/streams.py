"""Streams of tables whose changes invoke functions.

Source: Lambda developer guide, "Using AWS Lambda with Amazon DynamoDB"; DynamoDB API reference, "GetRecords".
"""

import asyncio
import base64
import contextlib
import datetime
import logging
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tellwire.apigateway.runner.handlers import HandlerFailed
from tellwire.apigateway.services.calls import AwsCall
from tellwire.apigateway.services.definition import StreamSource
from tellwire.apigateway.services.event_filters import fits
from tellwire.apigateway.services.event_sources import EventSources
from tellwire.apigateway.services.queues import failed_items
from tellwire.apigateway.services.resources import client_of

logger = logging.getLogger("tellwire.lambda")

_AGAIN_SECONDS: Final = 5.0
"""Real time before a batch whose function has failed comes again, unless there is a write before."""

_READING: Final = ("GetItem", "Query", "Scan", "BatchGetItem", "TransactGetItems", "GetRecords", "GetShardIterator")


class Streams(EventSources[StreamSource]):
    """The streams of a template. A batch whose function fails comes again, and those after it wait, as on AWS."""

    def _may_fill(self, call: AwsCall) -> bool:
        return call.service == "dynamodb" and call.action not in _READING

    async def _run(self, source: StreamSource, wake: asyncio.Event) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            stream = await asyncio.to_thread(_Stream, source, self._url, self._region)
            while True:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(wake.wait(), _AGAIN_SECONDS)
                wake.clear()
                while (records := await asyncio.to_thread(stream.next)) and await self._batch(stream, records):
                    pass
        except (BotoCoreError, ClientError, IndexError, KeyError) as error:
            logger.error("stream of %s: %s; its changes invoke nothing", source.table, error)  # noqa: TRY400 - a line

    async def _batch(self, stream: "_Stream", records: Sequence[Mapping[str, Any]]) -> bool:
        """Invoke the function with the records that fit; False if they must come again."""
        source = stream.source
        wanted = [
            record
            for record in (stream_record(each, source, self._region) for each in records)
            if fits(source.filters, record)
        ]
        if not wanted:
            stream.advance()
            return True
        try:
            result = await self._functions.invoke(source.function, {"Records": wanted}, str(uuid.uuid4()))
        except HandlerFailed as error:
            logger.warning("stream of %s: %s failed: %s; it comes again", source.table, source.function, error)
            return False
        failed = failed_items(result) if source.reports_failures else set()
        numbers = [str(record["dynamodb"]["SequenceNumber"]) for record in wanted]
        first = next((number for number in numbers if number in failed), None)
        if first is None:
            stream.advance()
            return True
        logger.warning("stream of %s: %s reports a failure; it comes again", source.table, source.function)
        await asyncio.to_thread(stream.go_to, first)
        return False


class _Stream:
    """The position in a stream. Tables on this machine begin empty, so it begins with the first change."""

    def __init__(self, source: StreamSource, url: str, region: str) -> None:
        self.source = source
        self._client = client_of("dynamodbstreams", url, region)
        described = client_of("dynamodb", url, region).describe_table(TableName=source.table)
        self._arn = described["Table"]["LatestStreamArn"]
        shards = self._client.describe_stream(StreamArn=self._arn)["StreamDescription"]["Shards"]
        self._shard = shards[0]["ShardId"]
        self._position = self._iterator(ShardIteratorType="TRIM_HORIZON")
        self._after = self._position

    def _iterator(self, **where: str) -> str:
        answer = self._client.get_shard_iterator(StreamArn=self._arn, ShardId=self._shard, **where)
        return str(answer["ShardIterator"])

    def next(self) -> list[Mapping[str, Any]]:
        """Return the records after the position."""
        answer = self._client.get_records(ShardIterator=self._position, Limit=self.source.batch_size)
        self._after = answer.get("NextShardIterator", self._position)
        return list(answer["Records"])

    def advance(self) -> None:
        """Go on behind the records that `next` has returned."""
        self._position = self._after

    def go_to(self, sequence_number: str) -> None:
        """Go to a record."""
        self._position = self._iterator(ShardIteratorType="AT_SEQUENCE_NUMBER", SequenceNumber=sequence_number)


def stream_record(record: Mapping[str, Any], source: StreamSource, region: str) -> dict[str, Any]:
    """Return a record of a function's event, as JSON."""
    return {
        "eventID": record["eventID"],
        "eventName": record["eventName"],
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": region,
        "dynamodb": _as_json(record["dynamodb"]),
        "eventSourceARN": source.arn,
    }


def _as_json(value: Any) -> Any:
    match value:
        case dict():
            return {name: _as_json(each) for name, each in value.items()}
        case list():
            return [_as_json(each) for each in value]
        case bytes():
            return base64.b64encode(value).decode()
        case datetime.datetime():
            return int(value.timestamp())
        case _:
            return value
