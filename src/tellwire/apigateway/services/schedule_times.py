"""Times of schedules: `rate(5 minutes)`, `cron(0 8 ? * MON-FRI *)`, `at(2026-01-01T08:00:00)`. Pure.

Source: EventBridge user guide, "Setting a schedule pattern"; EventBridge Scheduler user guide, "Schedule types".
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from tellwire.errors import ConfigError, shown

_RATE = re.compile(r"rate\(\s*(\d+)\s+(minute|hour|day)s?\s*\)")
_CRON = re.compile(r"cron\((.+)\)")
_AT = re.compile(r"at\((.+)\)")
_UNITS: Final = {"minute": 60, "hour": 3600, "day": 86_400}
_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_LOOK_AHEAD_DAYS: Final = 366 * 8

Next = Callable[[float], float | None]
"""From a time to the next one after it, both in seconds since 1970; None if there is none."""


def next_times(expression: str, timezone: str = "UTC", begins_at: float = 0.0) -> Next:
    """Return the function that gives the times of a schedule. The times of a rate are counted from `begins_at`.

    Raises:
        ConfigError: the expression has not one of the three forms, or uses `L`, `W` or `#`.
    """
    written = expression.strip()
    if (rate := _RATE.fullmatch(written)) is not None and int(rate[1]) > 0:
        period = int(rate[1]) * _UNITS[rate[2]]
        return lambda now: begins_at + (int((now - begins_at) // period) + 1) * period
    try:
        zone = UTC if timezone == "UTC" else ZoneInfo(timezone)
        if (cron := _CRON.fullmatch(written)) is not None:
            fields = _Fields.parse(cron[1])
            return lambda now: fields.after(datetime.fromtimestamp(now, zone))
        if (once := _AT.fullmatch(written)) is not None:
            at = datetime.fromisoformat(once[1]).replace(tzinfo=zone).timestamp()
            return lambda now: at if at > now else None
    except (ValueError, KeyError, OSError) as error:
        raise ConfigError(f"schedule: got {shown(expression)} ({error}); allowed here: {_ALLOWED}") from error
    raise ConfigError(f"schedule: got {shown(expression)}; allowed here: {_ALLOWED}")


_ALLOWED: Final = "rate(5 minutes), cron(0 8 ? * MON-FRI *) without L, W and #, at(2026-01-01T08:00:00)"


@dataclass(frozen=True, slots=True)
class _Fields:
    """The six fields of a cron expression, as the values that fit; None: every value."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int] | None
    months: frozenset[int]
    weekdays: frozenset[int] | None
    years: frozenset[int] | None

    @classmethod
    def parse(cls, text: str) -> "_Fields":
        parts = text.split()
        if len(parts) != 6:
            raise ValueError(f"{len(parts)} fields, where six must be")
        minutes, hours, days, months, weekdays, years = parts
        return cls(
            _values(minutes, 0, 59),
            _values(hours, 0, 23),
            None if days in ("*", "?") else _values(days, 1, 31),
            _values(months, 1, 12, _MONTHS, 1),
            None if weekdays in ("*", "?") else _values(weekdays, 1, 7, _DAYS, 1),
            None if years == "*" else _values(years, 1970, 2199),
        )

    def after(self, now: datetime) -> float | None:
        begin = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
        for days in range(_LOOK_AHEAD_DAYS):
            day = begin.date() + timedelta(days=days)
            if self._has_day(day):
                for hour in sorted(self.hours):
                    for minute in sorted(self.minutes):
                        at = datetime(day.year, day.month, day.day, hour, minute, tzinfo=now.tzinfo)
                        if at >= begin:
                            return at.timestamp()
        return None

    def _has_day(self, day: date) -> bool:
        # AWS counts from 1 for Sunday.
        weekday = day.isoweekday() % 7 + 1
        return (
            (self.years is None or day.year in self.years)
            and day.month in self.months
            and (self.days is None or day.day in self.days)
            and (self.weekdays is None or weekday in self.weekdays)
        )


def _values(text: str, least: int, most: int, names: tuple[str, ...] = (), first: int = 0) -> frozenset[int]:
    def number(word: str) -> int:
        value = names.index(word.upper()) + first if word.upper() in names else int(word)
        if not least <= value <= most:
            raise ValueError(f"{word} is not in {least} to {most}")
        return value

    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        if span in ("*", "?"):
            begin, end = least, most
        elif "-" in span:
            begin, end = (number(word) for word in span.split("-", 1))
        else:
            begin = number(span)
            end = most if step else begin
        values = range(begin, end + 1) if begin <= end else (*range(begin, most + 1), *range(least, end + 1))
        found.update(list(values)[:: max(1, int(step)) if step else 1])
    return frozenset(found)
