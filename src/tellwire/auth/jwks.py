"""Keys from a JSON Web Key Set (RFC 7517), given inline or fetched from a URL.

Only keys for RS256 and ES256 signatures are taken, each under its `kid`; a token's `kid` is looked up in this set and
nowhere else. An unknown `kid` makes us fetch the set once more (the provider may have rotated its keys), then not again
for ten seconds, however many such tokens arrive. Callers that need the same fetch share one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import jwt
import msgspec

from tellwire.errors import ConfigError, KeysUnavailable, TokenInvalid
from tellwire.http_client import HttpClient, HttpFailed
from tellwire.limits import JWKS_MAX_AGE_SECONDS, JWKS_MAX_BYTES, JWKS_PENALTY_SECONDS
from tellwire.model import is_loopback
from tellwire.ports import Clock, SystemClock

logger = logging.getLogger("tellwire.auth")

Keys = dict[str, tuple[Any, str]]
_ALGORITHMS: Final[dict[tuple[Any, Any], str]] = {("RSA", None): "RS256", ("EC", "P-256"): "ES256"}
_FETCH_SECONDS: Final = 3.0


class Jwks:
    """A `KeySource`. Give it a `url`, or the set itself as `inline` JSON.

    Raises:
        ConfigError: the URL is not https (plain http is for loopback only), or the inline set has no usable key.
    """

    def __init__(
        self,
        url: str | None = None,
        inline: str | bytes | None = None,
        clock: Clock | None = None,
        fetch: Callable[[str], Awaitable[bytes]] | None = None,
    ) -> None:
        self._url = url
        self._clock = clock or SystemClock()
        self._fetch = fetch or fetch_over_http
        self._keys: Keys = {}
        self._tried_at = float("-inf")
        self._fetched_at = float("-inf")
        self._last_fetch_succeeded = True
        self._pending: asyncio.Task[None] | None = None
        if inline is not None:
            self._keys = parse_jwks(inline)
        if url is not None:
            _require_safe_url(url)

    async def key_for(self, header: Mapping[str, Any]) -> tuple[Any, str]:
        key_id = header.get("kid")
        if not isinstance(key_id, str):
            raise TokenInvalid("it names no key (kid)")
        if self._url is not None and self._wants_fetch(key_id):
            await self._refresh()
        key = self._keys.get(key_id)
        if key is None:
            if not self._last_fetch_succeeded:
                raise KeysUnavailable
            raise TokenInvalid("its key (kid) is not in the key set")
        if header.get("alg") != key[1]:
            raise TokenInvalid("its algorithm is not the one of its key")
        return key

    def _wants_fetch(self, key_id: str) -> bool:
        if self._pending is not None:
            return key_id not in self._keys
        now = self._clock.now()
        if now - self._tried_at < JWKS_PENALTY_SECONDS:
            return False
        return key_id not in self._keys or now - self._fetched_at > JWKS_MAX_AGE_SECONDS

    async def _refresh(self) -> None:
        if self._pending is None:
            self._pending = asyncio.create_task(self._fetch_keys(), name="tellwire-jwks")
        # Shielded: the first caller may be a client that disconnects while others wait for the same keys.
        await asyncio.shield(self._pending)

    async def _fetch_keys(self) -> None:
        assert self._url is not None  # noqa: S101 - key_for asked
        self._last_fetch_succeeded = False
        try:
            self._keys = parse_jwks(await self._fetch_with_one_retry(self._url))
            self._fetched_at = self._clock.now()
            self._last_fetch_succeeded = True
        except (HttpFailed, OSError, ConfigError) as error:
            logger.warning("cannot fetch the key set from %s: %s", self._url, error)
        finally:
            self._tried_at = self._clock.now()
            self._pending = None

    async def _fetch_with_one_retry(self, url: str) -> bytes:
        try:
            return await self._fetch(url)
        except (HttpFailed, OSError):
            return await self._fetch(url)


async def fetch_over_http(url: str) -> bytes:
    """Fetch a key set within three seconds, without redirects. Any status but 200 is an error."""
    client = HttpClient(url, _FETCH_SECONDS)
    try:
        answer = await client.send("GET", "")
    finally:
        await client.close()
    if answer.status != 200:
        raise OSError(f"it answered {answer.status}")
    if len(answer.body) > JWKS_MAX_BYTES:
        raise OSError(f"the key set has {len(answer.body):,} bytes; allowed: at most {JWKS_MAX_BYTES:,}")
    return answer.body


def parse_jwks(document: str | bytes) -> Keys:
    """Return the usable signature keys of a JWKS by `kid`, each with its one algorithm.

    Keys for other uses or algorithms are skipped: a provider may publish them in the same set.

    Raises:
        ConfigError: not a JWKS, or no usable key in it.
    """
    try:
        entries = msgspec.json.decode(document)["keys"]
        found = [usable for entry in entries if isinstance(entry, dict) and (usable := _usable(entry))]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError) as error:
        raise ConfigError('JWKS: not a key set; allowed: {"keys": […]} as in RFC 7517') from error
    if not found:
        raise ConfigError("JWKS: no usable key; allowed: RSA (RS256) and EC P-256 (ES256) signature keys with a kid")
    return dict(found)


def _usable(entry: Mapping[str, Any]) -> tuple[str, tuple[Any, str]] | None:
    algorithm = _ALGORITHMS.get((str(entry.get("kty")), entry.get("crv") and str(entry["crv"])))
    key_id = entry.get("kid")
    if algorithm is None or not isinstance(key_id, str) or entry.get("use", "sig") != "sig":
        return None
    if entry.get("alg", algorithm) != algorithm or "d" in entry:
        return None
    try:
        return key_id, (jwt.PyJWK(dict(entry), algorithm).key, algorithm)
    except jwt.PyJWTError:
        return None


def _require_safe_url(url: str) -> None:
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ConfigError("JWKS URL: got one with a user name or password; allowed: one without")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))):
        raise ConfigError(f"JWKS URL: got {url!r}; allowed: an https:// address (http:// on loopback only)")
