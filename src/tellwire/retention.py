"""The bounds of a stream: how much it keeps, and how long. Pure.

the log           by age, count and bytes, the oldest first; a message with a time to live is not replayed after it
running uploads   until they end: a bound never removes one. Without a lease of its own, an upload has one of a day
ended uploads     by age, count and bytes, those that ended first; shown for `finished_keep_seconds`
"""

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from tellwire import limits
from tellwire.errors import ConfigError, shown

RUNNING_MAX_AGE_SECONDS: Final = 3.0 * limits.MAX_LEASE_SECONDS
"""Age of a running upload that nobody has ended, although its lease has expired; it is removed then."""

_ESCALATION_MAX_AGE_SECONDS: Final = limits.MAX_ESCALATION_SECONDS + limits.ESCALATION_TRIED_SECONDS + 24 * 3600.0

HistorySeconds = Annotated[float, Meta(gt=0, le=limits.LONGEST_SECONDS)]
HistoryBytes = Annotated[int, Meta(ge=limits.MAX_MESSAGE_BYTES)]


class Retention(Struct, frozen=True, kw_only=True):
    """The bounds of one stream. `max_bytes` holds for the log, for running uploads and for ended ones, each by itself.

    `finished_keep_seconds` is the time that an ended upload is in the snapshot of a device that begins anew.
    """

    max_age_seconds: HistorySeconds = limits.HISTORY_MAX_AGE_SECONDS
    max_messages: Annotated[int, Meta(ge=1)] = limits.HISTORY_MAX_MESSAGES
    max_bytes: HistoryBytes = limits.HISTORY_MAX_BYTES
    max_states: Annotated[int, Meta(ge=1)] = limits.HISTORY_MAX_STATES
    finished_keep_seconds: Annotated[float, Meta(ge=0, le=limits.LONGEST_SECONDS)] = limits.FINISHED_KEEP_SECONDS

    @property
    def running_max_age_seconds(self) -> float:
        """The age above which a running upload is removed. Its lease ends it, long before."""
        return max(self.max_age_seconds, RUNNING_MAX_AGE_SECONDS)

    @property
    def max_running(self) -> int:
        """The uploads that may run at a time."""
        return limits.MAX_RUNNING_UPLOADS

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Retention":
        """Return the retention that a function's environment names, such as `HISTORY_MAX_AGE_SECONDS`.

        Raises:
            ConfigError: a value is no number, or out of bounds.
        """
        found = {field: environ.get(name, "").strip() for field, name in ENVIRONMENT_NAMES.items()}
        for field, value in found.items():
            try:
                msgspec.convert({field: value} if value else {}, cls, strict=False)
            except msgspec.ValidationError as error:
                reason = str(error).partition(" - at ")[0]
                raise ConfigError(f"{ENVIRONMENT_NAMES[field]}: got {shown(value)}; allowed: {reason}") from None
        return msgspec.convert({field: value for field, value in found.items() if value}, cls, strict=False)


class _OfEscalations(Retention, frozen=True, kw_only=True):
    """The bounds of a stream of escalations, whose states wait until they end by themselves."""

    @property
    def running_max_age_seconds(self) -> float:
        return _ESCALATION_MAX_AGE_SECONDS

    @property
    def max_running(self) -> int:
        return limits.MAX_ESCALATIONS


OF_ESCALATIONS: Final = _OfEscalations(max_age_seconds=3600.0, max_messages=1, max_states=1, finished_keep_seconds=0.0)
"""The bounds of a stream of escalations. Nobody asks for those that have ended."""

ENVIRONMENT_NAMES: Final = {
    "max_age_seconds": "HISTORY_MAX_AGE_SECONDS",
    "max_messages": "HISTORY_MAX_MESSAGES",
    "max_bytes": "HISTORY_MAX_BYTES",
    "finished_keep_seconds": "FINISHED_KEEP_SECONDS",
}
"""The settings of functions on AWS, by field."""
