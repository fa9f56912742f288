"""The negotiation of permessage-deflate (RFC 7692 §7.1), as pure code: a client's header in, our answer out.

We keep no compression state between messages, and ask the client for the same. So all clients with the same window get
the same bytes, and a connection costs no memory for it. What a client says of its own window needs no answer.
"""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from tellwire.limits import MAX_EXTENSIONS_CHARACTERS
from tellwire.server.refusal import Refusal

WINDOWS: Final = (15, 12, 9)
"""The windows that we compress with, in bits. A message is compressed once for each, so there are few."""

_NAME: Final = "permessage-deflate"
_NO_TAKEOVER: Final = "server_no_context_takeover; client_no_context_takeover"

_WORD: Final = r"[-!#$%&'*+.^_`|~0-9A-Za-z]++"
# A part of an offer up to the next delimiter: a name, and a value that may be quoted (RFC 6455 §9.1).
_PART: Final = re.compile(
    rf'[ \t]*+({_WORD})[ \t]*+(?:=[ \t]*+(?:({_WORD})|"((?:[^"\\]|\\.)*+)")[ \t]*+)?([,;]|\Z)', re.DOTALL
)
_NOTHING: Final = re.compile(r"[ \t,]*+")
_QUOTED_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)
_WINDOW_BITS: Final = re.compile(r"[89]|1[0-5]")

Parameters = list[tuple[str, str | None]]


class Agreement(NamedTuple):
    """An agreement with a client: the window for its messages, in bits, and the header that says so."""

    window_bits: int
    header: str


_NOT_ASKED: Final = Agreement(WINDOWS[0], f"{_NAME}; {_NO_TAKEOVER}")
_ASKED: Final[Mapping[int, Agreement]] = MappingProxyType(
    {bits: Agreement(bits, f"{_NAME}; {_NO_TAKEOVER}; server_max_window_bits={bits}") for bits in WINDOWS}
)


def agree(header: str | None) -> Agreement | None:
    """Return the agreement with a client that sent this `Sec-WebSocket-Extensions`: that of its first offer that we can
    accept; None if there is none. A header that is very long is not read.

    Raises:
        Refusal: 400; the header has not the form of one (RFC 6455 §9.1).
    """
    if not header or len(header) > MAX_EXTENSIONS_CHARACTERS:
        return None
    agreements = [_agreement(parameters) for name, parameters in _offers(header) if name == _NAME]
    return next((each for each in agreements if each is not None), None)


def _agreement(parameters: Parameters) -> Agreement | None:
    """Return the agreement with one offer; None if it is not valid, or we cannot accept it (RFC 7692 §7)."""
    given = dict(parameters)
    if len(given) < len(parameters) or not all(_is_valid(name, value) for name, value in parameters):
        return None
    asked = given.get("server_max_window_bits")
    if asked is None:
        return _NOT_ASKED
    # Nobody's zlib compresses with a window of 8 bits.
    return next((_ASKED[bits] for bits in WINDOWS if bits <= int(asked)), None)


def _is_valid(name: str, value: str | None) -> bool:
    match name:
        case "server_no_context_takeover" | "client_no_context_takeover":
            return value is None
        case "server_max_window_bits":
            return value is not None and _WINDOW_BITS.fullmatch(value) is not None
        case "client_max_window_bits":
            return value is None or _WINDOW_BITS.fullmatch(value) is not None
    return False


def _offers(header: str) -> Iterator[tuple[str, Parameters]]:
    at = _skip_nothing(header, 0)
    while at < len(header):
        name, parameters = "", Parameters()
        delimiter = ";"
        while delimiter == ";":
            part = _PART.match(header, at)
            if part is None:
                raise _malformed()
            token, value = part[1], _value(part)
            if name:
                parameters.append((token, value))
            elif value is not None:
                raise _malformed()
            name = name or token
            at, delimiter = part.end(), part[4]
        yield name, parameters
        at = _skip_nothing(header, at)


def _value(part: re.Match[str]) -> str | None:
    if part[3] is None:
        return part[2]
    unquoted = _QUOTED_PAIR.sub(r"\1", part[3])
    if re.fullmatch(_WORD, unquoted) is None:
        raise _malformed()
    return unquoted


def _skip_nothing(header: str, at: int) -> int:
    """Return the index of the next element of the list: empty ones are ignored (RFC 9110 §5.6.1)."""
    nothing = _NOTHING.match(header, at)
    return at if nothing is None else nothing.end()


def _malformed() -> Refusal:
    return Refusal(400, "BAD_HANDSHAKE", "Sec-WebSocket-Extensions is malformed (RFC 6455 §9.1)")
