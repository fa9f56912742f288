"""A function that sends a notification to all devices of a user: `{"userId": "…", "title": "…", "message": "…"}`."""

from typing import Any

from tellwire import create_notification_message
from tellwire.sync import broadcast_to_user


def handler(event: dict[str, str], context: Any) -> dict[str, int]:
    """Send the notification, and return the numbers of connections."""
    message = create_notification_message(event["title"], event["message"], "info")
    delivery = broadcast_to_user(event["userId"], message)
    return {"delivered": delivery.delivered, "gone": delivery.gone, "failed": delivery.failed}
