"""Escalations as Web Push, which a browser shows although no page is open.

    TELLWIRE_WEBHOOK_SECRET=… VAPID_KEY=vapid.pem VAPID_SUBJECT=mailto:ops@shop.example \\
      SUBSCRIPTIONS=subscriptions.json uvicorn --factory examples.escalation.send_push:application --port 8002

`VAPID_KEY` is a private key of P-256: `openssl ecparam -name prime256v1 -genkey -noout -out vapid.pem`. A page
subscribes with `registration.pushManager.subscribe({userVisibleOnly: true, applicationServerKey})` and sends the
subscription to your server; here they are in a file: {"user-1": [subscription, …]}. One that the push service no longer
knows is removed.
"""

import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pywebpush import WebPushException, webpush  # type: ignore[import-untyped]
from starlette.applications import Starlette

from examples.escalation.receiver import Deliver, KnownIds, Unreachable, receiver

TIMEOUT_SECONDS = 4.0  # the gateway waits for five
TTL_SECONDS = 24 * 3600
_GONE = (404, 410)
_MAX_TEXT = 1000  # a push service takes 4,096 bytes in all


class Subscriptions:
    """The subscriptions of users' browsers, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def of(self, user_id: str) -> list[dict[str, Any]]:
        """Return those of a user."""
        found: list[dict[str, Any]] = json.loads(self._path.read_text()).get(user_id, [])
        return found

    def remove(self, user_id: str, endpoint: str) -> None:
        """Remove one that its push service no longer knows."""
        with self._lock:
            all_of_them = json.loads(self._path.read_text())
            kept = [each for each in all_of_them.get(user_id, []) if each["endpoint"] != endpoint]
            new = self._path.with_suffix(".new")
            new.write_text(json.dumps(all_of_them | {user_id: kept}))
            new.replace(self._path)


def pusher(vapid_key: str, subject: str, subscriptions: Subscriptions, push: Callable[..., Any] = webpush) -> Deliver:
    """Return the function that pushes a notification to all browsers of a user. It succeeds if one of them gets it."""

    def deliver(user_id: str, notification: Mapping[str, Any]) -> None:
        shown = {name: notification[name] for name in ("title", "actionUrl") if name in notification}
        data = json.dumps({**shown, "message": notification["message"][:_MAX_TEXT]})
        failed: WebPushException | None = None
        is_pushed = False
        for subscription in subscriptions.of(user_id):
            try:
                push(
                    subscription,
                    data,
                    vapid_private_key=vapid_key,
                    vapid_claims={"sub": subject},
                    ttl=TTL_SECONDS,
                    timeout=TIMEOUT_SECONDS,
                    headers={"urgency": "high"},
                )
                is_pushed = True
            except WebPushException as error:
                if error.response is not None and error.response.status_code in _GONE:
                    subscriptions.remove(user_id, subscription["endpoint"])
                else:
                    failed = error
        if not is_pushed:
            raise failed or Unreachable(f"the user {user_id!r} has no subscription")

    return deliver


def application() -> Starlette:
    """Return the application that the environment describes."""
    deliver = pusher(
        os.environ["VAPID_KEY"], os.environ["VAPID_SUBJECT"], Subscriptions(Path(os.environ["SUBSCRIPTIONS"]))
    )
    known_ids = KnownIds(Path(os.environ.get("KNOWN_IDS", "pushes.sqlite3")))
    return receiver(os.environ["TELLWIRE_WEBHOOK_SECRET"], deliver, known_ids)
