"""Text that every device can read: repaired words, and ids within their bounds. Pure.

    words for people    a title, a message, a file name, a reason …    repaired: they are shown, whatever they hold
    ids                 of a user, a connection, an upload, a message  plain, and bounded: two of them never become one

A string of Python may be more than text: a file name that is not UTF-8 holds lone surrogates, as `os.listdir` gives
them, and a template engine's strings are of a class of their own. UTF-8 cannot carry the first, JSON not the second.
"""

import re
from typing import Final

from tellwire.errors import InvalidMessage
from tellwire.limits import (
    MAX_PARTS,
    MAX_REDIS_PREFIX_CHARACTERS,
    MAX_TARGET_NAME_CHARACTERS,
    MAX_TOPIC_BYTES,
)

PART_PATTERN: Final = r"^[1-9][0-9]{0,3}/[1-9][0-9]{0,3}$"
"""The form of a part, such as 3/8. Without flags, so that the same text is right in the JSON Schema."""

_PART: Final = re.compile(PART_PATTERN)

# No braces: they would be the hash tag of a Redis Cluster.
REDIS_PREFIX_PATTERN: Final = rf"^[A-Za-z0-9._:-]{{1,{MAX_REDIS_PREFIX_CHARACTERS}}}$"
REDIS_PREFIX_WORDS: Final = f"1 to {MAX_REDIS_PREFIX_CHARACTERS} letters, digits and any of . _ : -"
"""The form of the prefix of all names in Redis, and the words for it."""

TOPIC_PATTERN: Final = r"^[^\s*{}\x00-\x1f\x7f-\x9f]+$"
"""The form of a topic's name: the braces and the star are those of patterns. Without flags, for the JSON Schema."""

_TOPIC: Final = re.compile(TOPIC_PATTERN.replace("$", r"\Z"))

TARGET_NAME_PATTERN: Final = rf"^[A-Za-z0-9][A-Za-z0-9_-]{{0,{MAX_TARGET_NAME_CHARACTERS - 1}}}$"
TARGET_NAME_WORDS: Final = f"1 to {MAX_TARGET_NAME_CHARACTERS} letters, digits and any of _ -, a letter or digit first"
"""The form of the name of a target of webhooks, and the words for it."""

ELLIPSIS: Final = "…"
"""The last character of words that were cut."""


def plain(text: str) -> str:
    """Return a string of any class as a `str` with the same characters."""
    return text if type(text) is str else str.__str__(text)


def string_of(value: object) -> str | None:
    """Return whatever behaves as a string as a plain `str`; None if it is something else.

    Django, Flask-Babel and others have lazy strings, which are translated when they are shown, and are of no class of
    strings: they have its methods.
    """
    if isinstance(value, str):
        return plain(value)
    try:
        return plain(str(value)) if hasattr(value, "casefold") else None
    except Exception:  # noqa: BLE001 - whatever an object's own code raises
        return None


def is_text(text: str) -> bool:
    """Return True if a string can be encoded as UTF-8: it holds no lone surrogate."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def repaired(text: str) -> str:
    """Return words as a plain `str` that UTF-8 can carry: U+FFFD stands for each lone surrogate."""
    text = plain(text)
    # Two surrogates that are a pair are one character.
    return text if is_text(text) else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def shortened(text: str, max_characters: int) -> str:
    """Return repaired words of at most `max_characters`: longer ones are cut, and end with `…`."""
    # Cut before the repair, which would take long for a long text.
    text = plain(text)
    if len(text) > max_characters:
        text = f"{text[: max_characters - 1]}{ELLIPSIS}"
    return repaired(text)


def one_line(text: str, max_characters: int) -> str:
    """Return another program's words for a log line: cut, and without line breaks and other control characters."""
    return "".join(each if each.isprintable() else " " for each in shortened(text, max_characters))


def words_of(value: object, max_characters: int) -> str:
    """Return any object as words, for reports that must never raise. One that has no text is shown by its class."""
    try:
        return shortened(value if isinstance(value, str) else str(value), max_characters)
    except Exception:  # noqa: BLE001 - an object's own code may raise anything
        return f"a {type(value).__name__}"


def escaped_id(text: str) -> str:
    """Return an id as a plain `str` that UTF-8 can carry. Lone surrogates are escaped, so that two ids stay two."""
    text = plain(text)
    return text if is_text(text) else text.encode(errors="backslashreplace").decode()


def require_id(name: str, value: object, max_bytes: int) -> str:
    """Return an id as a plain `str`.

    Raises:
        InvalidMessage: it is no string, it is empty, it is over `max_bytes` in UTF-8, or UTF-8 cannot carry it.
    """
    # Once per published message, so the most frequent case is the shortest.
    if type(value) is str and value.isascii() and 0 < len(value) <= max_bytes:
        return value
    text = string_of(value)
    if not text:
        raise InvalidMessage(name, value, "a non-empty string")
    if not is_text(text):
        raise InvalidMessage(name, value, "text that UTF-8 can carry")
    return require_id_bytes(name, text, max_bytes)


def require_id_bytes(name: str, text: str, max_bytes: int) -> str:
    """Return an id. Raise `InvalidMessage` if it is over `max_bytes` in UTF-8."""
    # No character has more than 4 bytes, so most ids need not be encoded.
    if len(text) * 4 > max_bytes and len(text.encode()) > max_bytes:
        raise InvalidMessage(name, text, f"at most {max_bytes:,} bytes in UTF-8")
    return text


def is_topic(text: str) -> bool:
    """Return True if a text has the form of a topic's name, of any length."""
    return _TOPIC.match(text) is not None


def require_topic(name: str, value: object) -> str:
    """Return the name of a topic as a plain `str`.

    Raises:
        InvalidMessage: it is no string, it is empty or too long, or it has a character that is not allowed.
    """
    topic = require_id(name, value, MAX_TOPIC_BYTES)
    if not _TOPIC.match(topic):
        raise InvalidMessage(name, topic, "a topic: no white space, no control characters, and none of * { }")
    return topic


def require_part(name: str, value: object) -> tuple[int, int]:
    """Return the number of a part and that of all parts, such as 3 and 8 for 3/8. Raise `InvalidMessage` otherwise."""
    if isinstance(value, str) and _PART.fullmatch(value):
        number, of = map(int, value.split("/"))
        if number <= of <= MAX_PARTS:
            return number, of
    raise InvalidMessage(name, value, f"the number of a part and of all, such as 3/8, of at most {MAX_PARTS}")
