"""The setting `webhooks`: the targets of escalations, by name, as JSON or as a table of `tellwire.toml`. Pure.

{"mail": "https://shop.example/tellwire/mail", "push": "https://shop.example/tellwire/push"}
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tellwire.decode_errors import DECODE_ERRORS
from tellwire.errors import ConfigError, shown
from tellwire.limits import MAX_WEBHOOK_TARGETS
from tellwire.text import TARGET_NAME_PATTERN, TARGET_NAME_WORDS

SETTING: Final = "TELLWIRE_WEBHOOKS"

_NAME: Final = re.compile(TARGET_NAME_PATTERN.replace("$", r"\Z"))
_FORM: Final = 'names and addresses, such as {"mail": "https://shop.example/mail"}'

_addresses: Final = msgspec.json.Decoder(dict[str, str])


def parse_webhooks(given: str | Mapping[str, Any]) -> dict[str, str]:
    """Return the addresses in a setting, by name. Whoever opens them checks the addresses.

    Raises:
        ConfigError: it has another form, or a name is not allowed. No address is quoted: it may have a secret in it.
    """
    try:
        found = _addresses.decode(given.encode() if isinstance(given, str) else msgspec.json.encode(given))
    except (*DECODE_ERRORS, TypeError, UnicodeEncodeError):
        raise ConfigError(f"{SETTING}: got something else; allowed: {_FORM}") from None
    if len(found) > MAX_WEBHOOK_TARGETS:
        raise ConfigError(f"{SETTING}: got {len(found):,} targets; allowed: at most {MAX_WEBHOOK_TARGETS}")
    for name in found:
        if not _NAME.match(name):
            raise ConfigError(f"{SETTING}: got the name {shown(name)}; allowed: {TARGET_NAME_WORDS}")
    return found
