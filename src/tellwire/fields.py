"""The checks of a message's fields: numbers, texts, ids, times. Pure.

A field of another type that means the same (NumPy's number, a lazy string) becomes plain, and words are repaired.
"""

import functools
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from msgspec import Struct
from msgspec.structs import force_setattr

from tellwire.errors import InvalidMessage
from tellwire.limits import MAX_ESCALATION_SECONDS, MAX_LEASE_SECONDS, MAX_TTL_SECONDS, MIN_LEASE_SECONDS
from tellwire.numeric import finite_number, whole_number
from tellwire.row_errors import MAX_NUMBER
from tellwire.text import escaped_id, repaired, require_id_bytes, string_of
from tellwire.wire import TIMESTAMP_PATTERN

# Without flags, so that the same text is right in the JSON Schema.
URL_PATTERN: Final = r"^([hH][tT][tT][pP][sS]?://[^/\\]|/(?![/\\]))[^\x00-\x20\x7f\\]*$"
"""An address of http(s), or a path on the page's own site."""

_TIMESTAMP = re.compile(TIMESTAMP_PATTERN)
_URL = re.compile(URL_PATTERN)


def plain_count(name: str, value: object) -> int:
    """Return a count as an `int`: of Python, or of another library.

    Raises:
        InvalidMessage: it is not a whole number, 0 or more, or not every language reads it from JSON exactly.
    """
    count = plain_measure(name, value)
    if count > MAX_NUMBER:
        raise InvalidMessage(name, value, f"a whole number, at most {MAX_NUMBER:,}")
    return count


def plain_measure(name: str, value: object) -> int:
    """Return a count of any size as an `int`. Raises `InvalidMessage` if it is not a whole number, 0 or more."""
    count = whole_number(value)
    if count is None or count < 0:
        raise InvalidMessage(name, value, "a whole number, 0 or more")
    return count


def plain_percent(name: str, value: object) -> int | float:
    """Return a percentage as an `int` or a `float`. Raises `InvalidMessage` if it is none."""
    percent = finite_number(value)
    if percent is None or not 0 <= percent <= 100:
        raise InvalidMessage(name, value, "a number from 0 to 100")
    return percent


def plain_lease(name: str, value: object) -> int | float:
    """Return a lease in seconds as an `int` or a `float`. Raises `InvalidMessage` if it is none."""
    seconds = finite_number(value)
    if seconds is None or not MIN_LEASE_SECONDS <= seconds <= MAX_LEASE_SECONDS:
        raise InvalidMessage(name, value, f"a number of seconds from {MIN_LEASE_SECONDS} to {MAX_LEASE_SECONDS:,}")
    return seconds


def plain_ttl(name: str, value: object) -> int | float:
    """Return a time to live in seconds as an `int` or a `float`. Raises `InvalidMessage` if it is none."""
    seconds = finite_number(value)
    if seconds is None or not 0 < seconds <= MAX_TTL_SECONDS:
        raise InvalidMessage(name, value, f"a number of seconds above 0, and at most {MAX_TTL_SECONDS:,}")
    return seconds


def plain_escalation_wait(name: str, value: object) -> int | float:
    """Return the wait before an escalation in seconds, as a plain number. Raises `InvalidMessage` if it is none."""
    seconds = finite_number(value)
    if seconds is None or not MIN_LEASE_SECONDS <= seconds <= MAX_ESCALATION_SECONDS:
        allowed = f"a number of seconds from {MIN_LEASE_SECONDS} to {MAX_ESCALATION_SECONDS:,}"
        raise InvalidMessage(name, value, allowed)
    return seconds


# The next ones check a field of a struct, and replace it by plain text if it is something else. They run several times
# for each publication, so the most frequent case comes first and is the shortest.


def keep(struct: Struct, name: str, given: object, kept: object) -> None:
    """Replace a field of a struct, unless it is kept as it was given."""
    if kept is not given:
        force_setattr(struct, name, kept)


def keep_timestamp(struct: Struct, name: str, shown_name: str) -> None:
    """Check a field that is an RFC 3339 time."""
    value = getattr(struct, name)
    if type(value) is str and epoch_seconds(value) is not None:
        return
    text = string_of(value)
    if text is None or epoch_seconds(text) is None:
        raise InvalidMessage(shown_name, value, "an RFC 3339 time such as 2026-11-23T09:18:54.123Z")
    keep(struct, name, value, text)


def keep_words(struct: Struct, name: str, shown_name: str) -> None:
    """Check a field of words for people, which may be empty."""
    value = getattr(struct, name)
    if type(value) is str and value.isascii():
        return
    text = string_of(value)
    if text is None:
        raise InvalidMessage(shown_name, value, "a string")
    keep(struct, name, value, repaired(text))


def keep_text(struct: Struct, name: str, shown_name: str) -> None:
    """Check a field of words for people, which may not be empty."""
    value = getattr(struct, name)
    if type(value) is str and value.isascii() and value and not value.isspace():
        return
    keep(struct, name, value, repaired(_required_text(shown_name, value)))


def keep_id(struct: Struct, name: str, shown_name: str, max_bytes: int) -> None:
    """Check a field that is an id."""
    value = getattr(struct, name)
    if type(value) is str and value.isascii() and 0 < len(value) <= max_bytes and not value.isspace():
        return
    text = escaped_id(_required_text(shown_name, value))
    keep(struct, name, value, require_id_bytes(shown_name, text, max_bytes))


def keep_count(struct: Struct, name: str, shown_name: str) -> None:
    """Check a field that is a count."""
    value = getattr(struct, name)
    if type(value) is not int or not 0 <= value <= MAX_NUMBER:
        force_setattr(struct, name, plain_count(shown_name, value))


def keep_one_of(struct: Struct, name: str, shown_name: str, choices: frozenset[str]) -> None:
    """Check a field that has one of these values."""
    value = getattr(struct, name)
    if type(value) is str and value in choices:
        return
    text = string_of(value)
    if text not in choices:
        raise InvalidMessage(shown_name, value, _listed(choices))
    keep(struct, name, value, text)


def keep_url(struct: Struct, name: str, shown_name: str) -> None:
    """Check a field that is an address."""
    value = getattr(struct, name)
    text = string_of(value)
    if text is None or not _URL.fullmatch(text):
        raise InvalidMessage(shown_name, value, "an http:// or https:// address, or a path that starts with one /")
    keep(struct, name, value, repaired(text))


# Called twice for each publication, and a burst of messages has the same few timestamps.
@functools.lru_cache(maxsize=1024)
def epoch_seconds(time: str) -> float | None:
    """Return an RFC 3339 time in UTC as epoch seconds; None if it has another form, or the day does not exist."""
    try:
        return datetime.fromisoformat(time).timestamp() if _TIMESTAMP.fullmatch(time) else None
    except ValueError:
        return None


def _required_text(name: str, value: object) -> str:
    text = string_of(value)
    if not text or text.isspace():
        raise InvalidMessage(name, value, "a non-empty string")
    return text


def _listed(choices: Iterable[str]) -> str:
    return ", ".join(sorted(choices))
