"""Encoding of a text, found by evidence in its bytes. Pure.

Rules, in this order:
- A byte order mark decides. Without one, zero bytes at every other place are UTF-16.
- Bytes that are UTF-8 are UTF-8. Some bytes that are not spoil their rows only, if most of the others are.
- Otherwise it is Windows-1252 or Mac Roman: the one in which the characters and their neighbours look more like words.
  A tie is Windows-1252, the default of the most used spreadsheet.
- A spreadsheet in Warsaw, Moscow or Tokyo writes other encodings. One of them is proven by a header: under it, more of
  the columns have known names.
"""

import codecs
import re
from collections.abc import Callable
from itertools import islice
from typing import Final

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    # Before UTF-16, whose mark it begins with.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NAMES: Final = {
    "ascii": "UTF-8",
    "utf-8": "UTF-8",
    "utf-8-sig": "UTF-8",
    "utf-32": "UTF-32",
    "cp1252": "Windows-1252",
    "mac_roman": "Mac Roman",
    "cp1250": "Windows-1250",
    "cp1251": "Windows-1251",
    "cp932": "Shift JIS",
    "gb18030": "GB 18030",
    "big5": "Big5",
    "cp949": "EUC-KR",
}
# Those that only a header can prove.
_PROVEN: Final = ("cp1250", "cp1251", "cp932", "gb18030", "big5", "cp949")
_HEADER_BYTES: Final = 2048

_UTF_8: Final = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_UNFINISHED: Final = re.compile(rb"(?:[\xc2-\xf4]|[\xe0-\xf4][\x80-\xbf]|[\xf0-\xf4][\x80-\xbf]{2})$")
_NOT_ASCII: Final = re.compile(rb"[\x80-\xff]")
_ENOUGH_BYTES: Final = 2000

# Letters of names and colours in the languages of both encodings, then signs that are common in lists.
_LETTERS: Final = frozenset("äöüßéèêëàâçîïôûùñóíáúåøæœãõìòÄÖÜÉÈÀÂÇÑÓÍÁÚÅØÆŒ")
_RARE: Final = frozenset("œŒìòõ")
_NEVER_LAST: Final = frozenset("îïñœ")
_APOSTROPHE: Final = "’"
_SIGNS: Final = frozenset("°×–—‘’“”„…®™²³½¼€ªº·«»")


def encoding_of(beginning: bytes, recognized_in: Callable[[str], int]) -> str:
    """Return Python's name of the encoding; "ascii" if the bytes do not tell. `recognized_in` tells how many columns of
    a header are recognized in a text.
    """
    for mark, encoding in _MARKS:
        if beginning.startswith(mark):
            return encoding
    if utf_16 := _utf_16_of(beginning):
        return utf_16
    if beginning.isascii():
        return "ascii"
    if _is_utf_8(beginning):
        return "utf-8"
    western = _single_byte_encoding(beginning)
    # Of equals, the first.
    return max((western, *_PROVEN), key=lambda each: recognized_in(beginning[:_HEADER_BYTES].decode(each, "replace")))


def name_of(encoding: str) -> str:
    """Return the name of an encoding for people."""
    return _NAMES.get(encoding, "UTF-16")


def is_legacy(encoding: str) -> bool:
    """Return True for the encodings that are found by their likelihood alone."""
    return encoding in ("cp1252", "mac_roman", *_PROVEN)


def _utf_16_of(beginning: bytes) -> str | None:
    even, odd = beginning[:4096:2].count(0), beginning[1:4096:2].count(0)
    half = len(beginning[:4096]) // 2
    if half > 3 and even < half // 20 + 1 and odd > half * 0.6:
        return "utf-16-le"
    if half > 3 and odd < half // 20 + 1 and even > half * 0.6:
        return "utf-16-be"
    return None


def _is_utf_8(content: bytes) -> bool:
    characters = len(_UTF_8.findall(content))
    rest = _UTF_8.sub(b"", _UNFINISHED.sub(b"", content))
    return characters >= len(_NOT_ASCII.findall(rest))


def _single_byte_encoding(content: bytes) -> str:
    places = [match.start() for match in islice(_NOT_ASCII.finditer(content), _ENOUGH_BYTES)]

    def score(encoding: str) -> int:
        text = content.decode(encoding, errors="replace")
        return sum(_likelihood(text, place) for place in places)

    return max(("cp1252", "mac_roman"), key=score)


def _likelihood(text: str, place: int) -> int:
    character = text[place]
    before, after = text[max(0, place - 1) : place], text[place + 1 : place + 2]
    if character == "\ufffd":
        return -20
    if character in _LETTERS:
        return _letter_likelihood(character, before, after)
    if character in _SIGNS:
        is_in_word = before.isalpha() and after.isalpha()
        return 2 if not is_in_word else 3 if character == _APOSTROPHE else -1
    return -2 if before.isalpha() or after.isalpha() else -1


def _letter_likelihood(letter: str, before: str, after: str) -> int:
    if not (before.isalpha() or after.isalpha()):
        return 0
    is_odd_capital = letter.isupper() and before.islower()
    is_odd_small = letter.islower() and after.isupper()
    is_odd_end = letter in _NEVER_LAST and not after.isalpha()
    if is_odd_capital or is_odd_small or is_odd_end:
        return -1
    return 1 if letter in _RARE else 3
