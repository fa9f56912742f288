"""Events on a bus, and the rules of a template that they match.

Source: EventBridge API reference, "PutEvents"; user guide, "Creating Amazon EventBridge event patterns".
"""

import json
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from tellwire.apigateway.definition import ACCOUNT_ID
from tellwire.apigateway.services.definition import EventRule
from tellwire.apigateway.services.event_filters import fits


def matching_events(rules: Sequence[EventRule], body: bytes, region: str) -> Iterator[tuple[EventRule, Any]]:
    """Yield each rule with the input of its function, for the events in the body of a PutEvents call."""
    for entry in _entries(body):
        bus = str(entry.get("EventBusName") or "default").rpartition("/")[2]
        event = _event(entry, region)
        for rule in rules:
            if event is not None and rule.bus == bus and fits((rule.pattern,), event):
                yield rule, event if rule.payload is None else json.loads(rule.payload)


def _entries(body: bytes) -> list[dict[str, Any]]:
    try:
        entries = json.loads(body)["Entries"]
    except (ValueError, KeyError, TypeError):
        return []
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _event(entry: dict[str, Any], region: str) -> Any:
    """Return an entry as its receivers get it; None if its detail is not JSON, which is an error of the call."""
    try:
        detail = json.loads(entry["Detail"])
        at = datetime.fromtimestamp(entry["Time"], UTC) if "Time" in entry else datetime.now(UTC)
    except (ValueError, KeyError, TypeError):
        return None
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": entry.get("DetailType"),
        "source": entry.get("Source"),
        "account": ACCOUNT_ID,
        "time": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "region": region,
        "resources": entry.get("Resources", []),
        "detail": detail,
    }
