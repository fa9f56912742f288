"""JSON with escaped halves of surrogate pairs, such as `"caf\\udce9"`. Pure.

Encoders of Python and JavaScript write a file name that is not UTF-8 in this way. It is valid JSON (RFC 8259 §8.2), but
our fast decoder refuses it, since no text in UTF-8 can hold it. The message that is made of it repairs its words.
"""

import re
from typing import Any, Final, NoReturn

from tellwire.errors import InvalidMessage

_HALF_PAIR: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def half_pairs_in(payload: bytes) -> bool:
    """Return True if a JSON text may hold half a surrogate pair."""
    return _HALF_PAIR.search(payload) is not None


def decode_half_pairs(payload: bytes) -> Any:
    """Decode a JSON text that holds half a surrogate pair.

    Raises:
        InvalidMessage: it is not JSON.
    """
    import json  # imported here, as few producers need it

    try:
        return json.loads(payload, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InvalidMessage("message", payload[:80], f"JSON ({error})") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")
