"""Broadcasts that go on in another invocation, where the time of a function was too short for all connections.

    delivery = await broadcast_to_all(message)            delivery.resume is a token if there was no time for all
    delivery = await resume_broadcast(delivery.resume)    in the next invocation, until it is None

The environment is that of a worker; see `engines.aws.environment`.
"""

import functools
import os
from typing import TYPE_CHECKING

from tellwire.model import Delivery

if TYPE_CHECKING:
    from tellwire.engines.aws.carrier import AwsCarrier


async def resume_broadcast(token: str) -> Delivery:
    """Go on with a broadcast to a topic, or to all, that had no time for all connections.

    `token` is the `resume` of its delivery, which holds the message: it is a third longer, so at most 176 KB. Whoever
    has it can publish this message, so keep it as you keep your messages. Counted are the connections of this call. It
    may be called again with the same token: a device drops a message with an id that it has heard.

    Raises:
        InvalidMessage: it is not such a token.
        ConfigError: a setting is missing or not valid.
        PublishError: the table cannot be read. The token is good for another attempt.

    Example:
        with deadline(context):
            delivery = await resume_broadcast(event["resume"])
    """
    return await _carrier(os.getpid()).resume(token)


@functools.cache
def _carrier(process_id: int) -> "AwsCarrier":
    from tellwire.engines.aws.carrier import AwsCarrier  # functions of the API need none of it

    return AwsCarrier.from_environment(os.environ)
