"""Queues whose messages invoke functions, and topics that do.

Source: Lambda developer guide, "Using Lambda with Amazon SQS", "Using Lambda with Amazon SNS".
"""

import asyncio
import contextlib
import json
import logging
import uuid
from collections.abc import Mapping
from typing import Any, Final

from tellwire.apigateway.runner.handlers import HandlerFailed
from tellwire.apigateway.services.calls import AwsCall
from tellwire.apigateway.services.definition import QueueSource
from tellwire.apigateway.services.event_filters import fits
from tellwire.apigateway.services.event_sources import EventSources
from tellwire.apigateway.services.resources import client_of

logger = logging.getLogger("tellwire.lambda")

_LOOK_SECONDS: Final = 5.0
"""Real time between two looks into a queue: messages become visible again without a call."""

_FILLING: Final = ("sqs", "sns", "events")


class Queues(EventSources[QueueSource]):
    """The queues of a template."""

    def _may_fill(self, call: AwsCall) -> bool:
        return call.service in _FILLING and call.action != "ReceiveMessage"

    async def _run(self, source: QueueSource, wake: asyncio.Event) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        client = await asyncio.to_thread(client_of, "sqs", self._url, self._region)
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), _LOOK_SECONDS)
            wake.clear()
            try:
                while await self._batch(client, source):
                    pass
            except (BotoCoreError, ClientError) as error:
                logger.warning("queue %s: %s", source.queue, error)

    async def _batch(self, client: Any, source: QueueSource) -> bool:
        """Invoke the function with the next messages; False if there are none."""
        answer = await asyncio.to_thread(
            client.receive_message,
            QueueUrl=source.queue,
            MaxNumberOfMessages=min(source.batch_size, 10),
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages = answer.get("Messages", [])
        if not messages:
            return False
        records = [queue_record(message, source, self._region) for message in messages]
        wanted = [record for record in records if fits(source.filters, _filtered(record))]
        try:
            # What does not fit is deleted, as on AWS.
            event = {"Records": wanted}
            result = await self._functions.invoke(source.function, event, str(uuid.uuid4())) if wanted else None
        except HandlerFailed as error:
            logger.warning("queue %s: %s failed: %s; its messages come again", source.queue, source.function, error)
            return True
        failed = failed_items(result) if source.reports_failures else set()
        for message in messages:
            if message["MessageId"] not in failed:
                receipt = message["ReceiptHandle"]
                await asyncio.to_thread(client.delete_message, QueueUrl=source.queue, ReceiptHandle=receipt)
        return True


def queue_record(message: Mapping[str, Any], source: QueueSource, region: str) -> dict[str, Any]:
    """Return the record of a message in a function's event."""
    attributes = {
        name: {
            key[0].lower() + key[1:]: value for key, value in attribute.items() if key in ("StringValue", "DataType")
        }
        for name, attribute in message.get("MessageAttributes", {}).items()
    }
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": attributes,
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": source.arn,
        "awsRegion": region,
    }


def _filtered(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a record as filters see it: a body that is JSON is an object."""
    try:
        return {**record, "body": json.loads(record["body"])}
    except ValueError:
        return record


def topic_event(notification: bytes) -> dict[str, Any]:
    """Return the event of a function that a topic invokes, from the notification that a topic posts."""
    posted = json.loads(notification)
    attributes = posted.get("MessageAttributes") or {}
    return {
        "Records": [
            {
                "EventSource": "aws:sns",
                "EventVersion": "1.0",
                "EventSubscriptionArn": f"{posted.get('TopicArn')}:local",
                "Sns": {
                    "Type": "Notification",
                    "MessageId": posted.get("MessageId"),
                    "TopicArn": posted.get("TopicArn"),
                    "Subject": posted.get("Subject"),
                    "Message": posted.get("Message"),
                    "Timestamp": posted.get("Timestamp"),
                    "SignatureVersion": "1",
                    "Signature": "local",
                    "SigningCertUrl": "",
                    "UnsubscribeUrl": "",
                    "MessageAttributes": attributes,
                },
            }
        ]
    }


def failed_items(result: Any) -> set[str]:
    """Return the identifiers in a result that reports failures of single items."""
    match result:
        case {"batchItemFailures": list(failures)}:
            return {str(each.get("itemIdentifier")) for each in failures if isinstance(each, dict)}
        case _:
            return set()
