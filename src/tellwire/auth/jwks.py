"""Keys from a JSON Web Key Set (RFC 7517), given inline or fetched from a URL.

A token's `kid` is looked up in this set and nowhere else; for a token without one, or in a set without, every key whose
algorithm fits is tried, up to a bound. A token that no key at hand has signed makes us fetch the set once more (the
provider may have rotated its keys), then not again for ten seconds, however many such tokens arrive. Callers that need
the same fetch share one. All of it is measured on the monotonic clock: a step of the wall clock delays no fetch.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from tellwire.auth.jwk import KeySet, parse_jwks
from tellwire.auth.keys import Key
from tellwire.auth.public_keys import ALGORITHMS
from tellwire.errors import ConfigError, KeysUnavailable, shown
from tellwire.http_client import HttpClient, HttpFailed
from tellwire.limits import JWKS_MAX_AGE_SECONDS, JWKS_MAX_BYTES, JWKS_PENALTY_SECONDS, MAX_KEYS_TRIED
from tellwire.model import is_loopback
from tellwire.ports import Clock, SystemClock

logger = logging.getLogger("tellwire.auth")

_FETCH_SECONDS: Final = 3.0


class Jwks:
    """A `KeySource`. Give it a `url`, or the set itself as `inline` JSON.

    Raises:
        ConfigError: the URL is not https (plain http is for loopback only), or the inline set has no usable key.
    """

    is_quick = False

    def __init__(
        self,
        url: str | None = None,
        inline: str | bytes | None = None,
        clock: Clock | None = None,
        fetch: Callable[[str], Awaitable[bytes]] | None = None,
    ) -> None:
        self.url = url
        self._clock = clock or SystemClock()
        self._fetch = fetch or fetch_over_http
        self._keys: list[Key] = []
        self._names: frozenset[str] = frozenset()
        self._tried_at = float("-inf")
        self._fetched_at = float("-inf")
        self._last_fetch_succeeded = True
        self._pending: asyncio.Task[None] | None = None
        # The query may hold a key of the provider's.
        self._source = "the key set in the settings" if url is None else f"the key set from {url.partition('?')[0]}"
        if inline is not None:
            found = parse_jwks(inline)
            found.require_key()
            self._take(found)
        if url is not None:
            _require_safe_url(url)

    def takes(self, header: Mapping[str, Any]) -> bool:
        return header.get("alg") in ALGORITHMS

    def known(self, header: Mapping[str, Any]) -> list[Key]:
        key_id = header.get("kid")
        fitting = [key for key in self._keys if header.get("alg") in key.checks]
        if key_id is not None:
            # A key without a kid may be the one that the token names.
            fitting = [key for key in fitting if key.key_id == key_id] or [key for key in fitting if key.key_id is None]
        return fitting[:MAX_KEYS_TRIED]

    def trusts(self, name: str) -> bool:
        return name in self._names

    @property
    def must_renew(self) -> bool:
        if self.url is None or self._fetched_at == float("-inf") or self._pending is not None:
            return False
        now = self._clock.monotonic()
        return now - self._fetched_at > JWKS_MAX_AGE_SECONDS and now - self._tried_at >= JWKS_PENALTY_SECONDS

    async def renew(self) -> None:
        if self.must_renew:
            await self._refresh()

    async def fetch(self, header: Mapping[str, Any]) -> bool:
        if self.url is None:
            return False
        before = self._identities()
        if self._pending is not None or self._clock.monotonic() - self._tried_at >= JWKS_PENALTY_SECONDS:
            await self._refresh()
        key_id = header.get("kid")
        is_named = key_id is not None and any(key.key_id == key_id for key in self._keys)
        if not self._last_fetch_succeeded and not is_named:
            raise KeysUnavailable
        return self._identities() != before

    async def reload(self) -> bool:
        """Fetch the set now, whatever its age. False: it cannot be fetched, and the keys at hand stay."""
        if self.url is not None:
            await self._refresh()
        return self._last_fetch_succeeded

    def _identities(self) -> list[tuple[str | None, str]]:
        return [(key.key_id, key.name) for key in self._keys]

    def _take(self, found: KeySet) -> None:
        """Use the keys of a set from now on. A fetched one without any is taken as well: its keys were withdrawn."""
        names = frozenset(key.name for key in found.keys)
        if found.skipped and names != self._names:
            logger.warning("%s: not used: %s", self._source, "; ".join(found.skipped)[:1000])
        if not found.keys:
            logger.warning("%s has no usable key, so tokens of its keys are refused", self._source)
        self._keys, self._names = found.keys, names

    async def _refresh(self) -> None:
        if self._pending is None:
            self._pending = asyncio.create_task(self._fetch_keys(), name="tellwire-jwks")
        # Shielded: the first caller may be a client that disconnects while others wait for the same keys.
        await asyncio.shield(self._pending)

    async def _fetch_keys(self) -> None:
        assert self.url is not None  # noqa: S101 - the callers asked
        self._last_fetch_succeeded = False
        try:
            self._take(parse_jwks(await self._fetch_with_one_retry(self.url)))
            self._fetched_at = self._clock.monotonic()
            self._last_fetch_succeeded = True
        except (HttpFailed, OSError, ConfigError) as error:
            logger.warning("cannot fetch %s: %s", self._source, error)
        finally:
            self._tried_at = self._clock.monotonic()
            self._pending = None

    async def _fetch_with_one_retry(self, url: str) -> bytes:
        try:
            return await self._fetch(url)
        except (HttpFailed, OSError):
            return await self._fetch(url)


async def fetch_over_http(url: str) -> bytes:
    """Fetch a key set within three seconds, without redirects. Any status but 200, or too many bytes, is an error."""
    client = HttpClient(url, _FETCH_SECONDS)
    try:
        answer = await client.send("GET", "", max_bytes=JWKS_MAX_BYTES)
    finally:
        await client.close()
    if 300 <= answer.status < 400:
        raise OSError(f"it answered {answer.status}, a redirect: set the address it leads to")
    if answer.status != 200:
        raise OSError(f"it answered {answer.status}")
    return answer.body


def _require_safe_url(url: str) -> None:
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ConfigError("JWKS URL: got one with a user name or password; allowed: one without")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))):
        given = shown(url.partition("?")[0])
        raise ConfigError(f"JWKS URL: got {given}; allowed: an https:// address (http:// on loopback only)")
