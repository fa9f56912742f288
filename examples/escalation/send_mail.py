"""Escalations as e-mail.

    TELLWIRE_WEBHOOK_SECRET=… SMTP_HOST=localhost SMTP_PORT=1025 ADDRESSES='{"user-1": "anna@shop.example"}' \\
      uvicorn --factory examples.escalation.send_mail:application --port 8001

In the gateway: TELLWIRE_WEBHOOKS='{"mail": "http://127.0.0.1:8001/"}'
"""

import json
import os
import smtplib
from collections.abc import Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from examples.escalation.receiver import Deliver, KnownIds, Unreachable, receiver

TIMEOUT_SECONDS = 4.0  # the gateway waits for five


def mail_of(address: str, sender: str, notification: Mapping[str, Any], site: str) -> EmailMessage:
    """Return the mail about a notification."""
    mail = EmailMessage()
    mail["From"] = sender
    mail["To"] = address
    # A header is one line, whatever is in the title.
    mail["Subject"] = " ".join(notification["title"].split())
    text = notification["message"]
    url = notification.get("actionUrl")
    if url is not None:
        label = notification.get("actionLabel", "More")
        text += f"\n\n{label}: {site + url if url.startswith('/') else url}"
    mail.set_content(text)
    return mail


def mailer(host: str, port: int, addresses: Mapping[str, str], sender: str, site: str) -> Deliver:
    """Return the function that sends a notification by a mail server. `addresses` are those of users, by id."""

    def deliver(user_id: str, notification: Mapping[str, Any]) -> None:
        address = addresses.get(user_id)
        if address is None:
            raise Unreachable(f"the user {user_id!r} has no address")
        with smtplib.SMTP(host, port, timeout=TIMEOUT_SECONDS) as server:
            server.send_message(mail_of(address, sender, notification, site))

    return deliver


def application() -> Starlette:
    """Return the application that the environment describes."""
    deliver = mailer(
        os.environ.get("SMTP_HOST", "localhost"),
        int(os.environ.get("SMTP_PORT", "25")),
        json.loads(os.environ["ADDRESSES"]),
        os.environ.get("SENDER", "tellwire@localhost"),
        os.environ.get("SITE", "http://localhost"),
    )
    known_ids = KnownIds(Path(os.environ.get("KNOWN_IDS", "mails.sqlite3")))
    return receiver(os.environ["TELLWIRE_WEBHOOK_SECRET"], deliver, known_ids)
