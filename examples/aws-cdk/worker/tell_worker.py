"""A function that tells a user something: `{"userId": "…", "title": "…", "message": "…"}`, on all their devices."""

from typing import Any

from tellwire import create_notification_message
from tellwire.sync import broadcast_to_user


def handler(event: dict[str, str], context: Any) -> dict[str, int]:
    """Return how many devices took it."""
    message = create_notification_message(event["title"], event["message"], "info")
    delivery = broadcast_to_user(event["userId"], message)
    return {"delivered": delivery.delivered, "gone": delivery.gone, "failed": delivery.failed}
