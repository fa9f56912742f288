"""Report of skipped items, collected while an upload runs and published once at its end.

In: the number (or name) of each skipped item, with a cause. Out: a summary, one `error` message that groups the items
by cause, one notification. Pure.

Rules:
- For each cause the first 20 items are named and all are counted: a million bad rows make as short a message as 21.
- Messages contain numbers and names only, never contents: those may be long, private, or not text at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tellwire import Message, Severity, create_error_message, create_notification_message

NAMED_PER_CAUSE: Final = 20


@dataclass(frozen=True, slots=True)
class Kind:
    """Nouns and verb for an upload: its `item`s (rows) become `product`s (parts) that are `done` (imported).

    `reasons` has the text for each cause; `error_code` is the code of the message about skipped items.
    """

    item: str
    product: str
    done: str
    error_code: str
    reasons: Mapping[str, str]


@dataclass(slots=True)
class SkippedItems:
    """The items skipped for one cause."""

    count: int = 0
    first: list[int | str] = field(default_factory=list)

    def add(self, item: int | str) -> None:
        self.count += 1
        if len(self.first) < NAMED_PER_CAUSE:
            self.first.append(item)


@dataclass(slots=True)
class Report:
    """Counts of the items of one upload: kept, and skipped by cause."""

    kind: Kind
    kept: int = 0
    causes: dict[str, SkippedItems] = field(default_factory=dict)

    def skip(self, item: int | str, cause: str) -> None:
        """Add a skipped item. `cause` is one of the kind's reasons."""
        self.causes.setdefault(cause, SkippedItems()).add(item)

    @property
    def skipped(self) -> int:
        """Number of skipped items."""
        return sum(cause.count for cause in self.causes.values())

    @property
    def total(self) -> int:
        """Number of processed items."""
        return self.kept + self.skipped

    @property
    def summary(self) -> str:
        """Summary for people: `9,988 parts imported, 12 rows left out`."""
        kept = f"{counted(self.kept, self.kind.product)} {self.kind.done}"
        return f"{kept}, {counted(self.skipped, self.kind.item)} left out" if self.skipped else kept

    def messages(self, upload_id: str, file_name: str) -> list[Message]:
        """Return the messages for the end of the upload: skipped items, if there are any, and a notification."""
        severity: Severity = "success" if self.kept and not self.skipped else "warning"
        notification = create_notification_message(
            "Upload complete" if self.kept else "Nothing kept", f"{file_name}: {self.summary}", severity
        )
        return [self._error(upload_id, file_name), notification] if self.skipped else [notification]

    def _error(self, upload_id: str, file_name: str) -> Message:
        verb = "was" if self.skipped == 1 else "were"
        text = f"{self.skipped:,} of {counted(self.total, self.kind.item)} {verb} left out"
        details = {
            "uploadId": upload_id,
            "fileName": file_name,
            "leftOut": self.skipped,
            "total": self.total,
            "causes": [self._details(cause) for cause in sorted(self.causes, key=lambda c: -self.causes[c].count)],
        }
        return create_error_message(self.kind.error_code, text, details)

    def _details(self, cause: str) -> dict[str, Any]:
        skipped = self.causes[cause]
        return {
            "cause": cause,
            "reason": self.kind.reasons[cause],
            "count": skipped.count,
            f"{self.kind.item}s": skipped.first,
            "more": skipped.count > len(skipped.first),
        }


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: `1 row`, `12,000 rows`."""
    return f"1 {noun}" if count == 1 else f"{count:,} {noun}s"
