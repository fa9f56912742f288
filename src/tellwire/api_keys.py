"""API keys of the HTTP API: several at once, each with a name and scopes; and the files they are in.

    4f9a…                      a key for everything, named `default`
    worker:publish:4f9a…       `<name>:<scopes>:<key>`
    ops:publish+admin:8c21…

Several are separated by white space: in one variable, or a line each in a file, where a line that begins with `#` is a
comment. `publish` is for producers, `metrics` for `/metrics` alone; `admin` is for all else: connections, users,
counters.
"""

import re
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Final, NamedTuple

from tellwire.errors import ConfigError, shown
from tellwire.limits import MIN_API_KEY_CHARACTERS, MIN_API_KEY_DIFFERENT
from tellwire.model import require_api_key


class Scope(Enum):
    """The purposes of a key."""

    PUBLISH = "publish"
    ADMIN = "admin"
    METRICS = "metrics"


class ApiKey(NamedTuple):
    """A key. `name` is for logs."""

    name: str
    scopes: frozenset[Scope]
    key: str

    def __repr__(self) -> str:
        return f"ApiKey({self.name!r})"


_EVERYTHING: Final = frozenset(Scope)
_NAMED: Final = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9_.-]{0,31}):(?P<scopes>[a-z]+(?:\+[a-z]+)*):(?P<key>\S+)")


def parse_api_keys(texts: str | Iterable[str], setting: str = "TELLWIRE_API_KEY") -> tuple[ApiKey, ...]:
    """Return the keys in a setting, in their order.

    Raises:
        ConfigError: one is weak, has an unknown scope or other characters, or two have one name. No key is quoted.
    """
    keys = tuple(key for text in ([texts] if isinstance(texts, str) else texts) for key in _keys(text, setting))
    if not keys:
        raise ConfigError(f"{setting}: got no key; allowed: one key, or several that are separated by white space")
    names = [key.name for key in keys]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"{setting}: got two keys of the name {twice[0]}; allowed: each <name>:<scopes>:<key>")
    for key in keys:
        _require_strong(key, setting)
    return keys


def secret_in(path: str, setting: str) -> str:
    """Return the text of a file that holds keys or secrets, without white space around it.

    Raises:
        ConfigError: it cannot be read, or is empty; the text names the `setting`.
    """
    from pathlib import Path  # imported here, as few cold starts need it

    try:
        text = Path(path).read_text("utf-8-sig").strip()  # some editors begin a file with a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{setting}: {shown(path)} cannot be read: {reason}") from error
    if not text:
        raise ConfigError(f"{setting}: {shown(path)} is empty")
    return text


def producer_key(texts: str, setting: str = "TELLWIRE_API_KEY") -> str:
    """Return the key that a producer sends: the first one for publishing. It is the gateway that judges its strength.

    Raises:
        ConfigError: there is none, or it has other characters.
    """
    found = next((key.key for key in _keys(texts, setting) if Scope.PUBLISH in key.scopes), None)
    if found is None:
        raise ConfigError(f"{setting}: got no key for publishing; allowed: a key, or <name>:publish:<key>")
    return found


def _keys(text: str, setting: str) -> Iterator[ApiKey]:
    for line in text.splitlines():
        if not line.lstrip().startswith("#"):
            yield from (_parse(word, setting) for word in line.split())


def _parse(word: str, setting: str) -> ApiKey:
    match = _NAMED.fullmatch(word)
    if match is None:
        require_api_key(word)
        return ApiKey("default", _EVERYTHING, word)
    try:
        scopes = frozenset(map(Scope, match["scopes"].split("+")))
    except ValueError:
        allowed = " or ".join(scope.value for scope in Scope)
        raise ConfigError(f"{setting}: {match['name']}: got another scope; allowed: {allowed}, joined by +") from None
    require_api_key(match["key"])
    return ApiKey(match["name"], scopes, match["key"])


def _require_strong(key: ApiKey, setting: str) -> None:
    if len(key.key) < MIN_API_KEY_CHARACTERS or len(set(key.key)) < MIN_API_KEY_DIFFERENT:
        raise ConfigError(
            f"{setting}: {key.name}: got a weak key, with {len(key.key)} characters, {len(set(key.key))} of them "
            f"different; allowed: at least {MIN_API_KEY_CHARACTERS}, at least {MIN_API_KEY_DIFFERENT} different: "
            "`openssl rand -hex 32` makes one"
        )
