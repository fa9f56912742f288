"""What an upload left out, and why: collected while it runs, told once at its end.

In: the number (or name) of each item left out, with a cause. Out: a summary, one `error` message that groups them by
cause, one notification. Pure.

Rules:
- Of each cause the first 20 items are named and all are counted: a million bad rows make as short a message as 21.
- Only numbers and names are told, never contents: those may be long, private, or not text at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tellwire import Message, Severity, create_error_message, create_notification_message

NAMED_PER_CAUSE: Final = 20


@dataclass(frozen=True, slots=True)
class Kind:
    """What an upload consists of and what comes of it: `row`s become `part`s that are `imported`.

    `reasons` has the words for each cause; `error_code` is the code of the message about what was left out.
    """

    item: str
    product: str
    done: str
    error_code: str
    reasons: Mapping[str, str]


@dataclass(slots=True)
class LeftOut:
    """The items left out for one cause."""

    count: int = 0
    first: list[int | str] = field(default_factory=list)

    def add(self, item: int | str) -> None:
        self.count += 1
        if len(self.first) < NAMED_PER_CAUSE:
            self.first.append(item)


@dataclass(slots=True)
class Report:
    """What became of the items of one upload."""

    kind: Kind
    kept: int = 0
    causes: dict[str, LeftOut] = field(default_factory=dict)

    def leave_out(self, item: int | str, cause: str) -> None:
        """Note that `item` was left out. `cause` is one of the kind's reasons."""
        self.causes.setdefault(cause, LeftOut()).add(item)

    @property
    def left_out(self) -> int:
        """How many items were left out."""
        return sum(cause.count for cause in self.causes.values())

    @property
    def total(self) -> int:
        """How many items were looked at."""
        return self.kept + self.left_out

    @property
    def summary(self) -> str:
        """One line for people: `9,988 parts imported, 12 rows left out`."""
        kept = f"{counted(self.kept, self.kind.product)} {self.kind.done}"
        return f"{kept}, {counted(self.left_out, self.kind.item)} left out" if self.left_out else kept

    def messages(self, upload_id: str, file_name: str) -> list[Message]:
        """Return what the user is told at the end: what was left out, if anything was, and a notification."""
        severity: Severity = "success" if self.kept and not self.left_out else "warning"
        notification = create_notification_message(
            "Upload complete" if self.kept else "Nothing kept", f"{file_name}: {self.summary}", severity
        )
        return [self._error(upload_id, file_name), notification] if self.left_out else [notification]

    def _error(self, upload_id: str, file_name: str) -> Message:
        verb = "was" if self.left_out == 1 else "were"
        text = f"{self.left_out:,} of {counted(self.total, self.kind.item)} {verb} left out"
        details = {
            "uploadId": upload_id,
            "fileName": file_name,
            "leftOut": self.left_out,
            "total": self.total,
            "causes": [self._details(cause) for cause in sorted(self.causes, key=lambda c: -self.causes[c].count)],
        }
        return create_error_message(self.kind.error_code, text, details)

    def _details(self, cause: str) -> dict[str, Any]:
        left_out = self.causes[cause]
        return {
            "cause": cause,
            "reason": self.kind.reasons[cause],
            "count": left_out.count,
            f"{self.kind.item}s": left_out.first,
            "more": left_out.count > len(left_out.first),
        }


def counted(count: int, noun: str) -> str:
    """Return a number of things in words: `1 row`, `12,000 rows`."""
    return f"1 {noun}" if count == 1 else f"{count:,} {noun}s"
