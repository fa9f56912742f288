"""Report of skipped items, collected while an upload runs and published once at its end.

In: the number (or name) of each skipped item, with a cause. Out: a summary, one `error` message that groups the items
by cause, one notification. Pure.

Rules:
- For each cause the first 20 items are named and all are counted: a million bad rows make as short a message as 21.
- Messages contain numbers and names, and of each cause the first cell as an example, shortened.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from examples.parts_upload.causes import shown
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
    example: str = ""

    def add(self, item: int | str, example: str) -> None:
        self.count += 1
        self.example = self.example or example
        if len(self.first) < NAMED_PER_CAUSE:
            self.first.append(item)


@dataclass(slots=True)
class Report:
    """Counts of the items of one upload: kept, and skipped by cause.

    `found` is the format of its file if that is worth telling: `Windows-1252, separated by ;`.
    """

    kind: Kind
    kept: int = 0
    found: str = ""
    causes: dict[str, SkippedItems] = field(default_factory=dict)

    def skip(self, item: int | str, cause: str, example: str = "") -> None:
        """Add a skipped item. `cause` is one of the kind's reasons, `example` the cell that is the reason."""
        self.causes.setdefault(cause, SkippedItems()).add(item, example)

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
        """Summary for people: `9,988 parts imported, 12 rows left out. Read as UTF-8, separated by ;`."""
        text = f"{counted(self.kept, self.kind.product)} {self.kind.done}"
        if self.skipped:
            text += f", {counted(self.skipped, self.kind.item)} left out"
        return f"{text}. Read as {self.found}" if self.found else text

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

    def _reason(self, cause: str) -> str:
        example, reason = self.causes[cause].example, self.kind.reasons[cause]
        return f"{reason}, for example {shown(example)}" if example else reason

    def _details(self, cause: str) -> dict[str, Any]:
        skipped = self.causes[cause]
        return {
            "cause": cause,
            "reason": self._reason(cause),
            "count": skipped.count,
            f"{self.kind.item}s": skipped.first,
            "more": skipped.count > len(skipped.first),
        }


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: `1 row`, `12,000 rows`."""
    return f"1 {noun}" if count == 1 else f"{count:,} {noun}s"
