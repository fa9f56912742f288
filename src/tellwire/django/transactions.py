"""Messages of a transaction: they are published when it is committed, and not if it is rolled back.

They never raise: the transaction is over by then, and its view has done its work.
"""

from django.db import transaction

from tellwire.messages import Message
from tellwire.sync import try_broadcast_to_topic, try_broadcast_to_user


def broadcast_to_user_on_commit(
    user_id: object, message: Message, *, ttl_seconds: float | None = None, using: str | None = None
) -> None:
    """Send `message` to every device of a user when the transaction is committed; without one, now.

    `using` names the database. Outcomes are those of `tellwire.try_broadcast_to_user`.

    Example:
        with transaction.atomic():
            order.save()
            broadcast_to_user_on_commit(order.user_id, create_notification_message("Paid", order.number, "success"))
    """
    user = str(user_id)
    transaction.on_commit(lambda: try_broadcast_to_user(user, message, ttl_seconds=ttl_seconds), using=using)


def broadcast_to_topic_on_commit(
    topic: str, message: Message, *, ttl_seconds: float | None = None, using: str | None = None
) -> None:
    """Send `message` to a topic when the transaction is committed. See `broadcast_to_user_on_commit`."""
    transaction.on_commit(lambda: try_broadcast_to_topic(topic, message, ttl_seconds=ttl_seconds), using=using)
