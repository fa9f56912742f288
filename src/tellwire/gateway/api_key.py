"""The guard of the HTTP API: the key of a request, and its scopes.

Wrong keys are counted for each client's address, and above a rate the address gets 429 without its key being looked at:
so nobody guesses a key. A key that this address has sent before is no guess: it is looked at and not counted. Otherwise
whoever guesses behind the same proxy would lock out its neighbours, and so would a program that goes on with one key
which was withdrawn.
"""

import hmac
import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final, Protocol

from starlette.requests import Request
from starlette.responses import Response

from tellwire.api_keys import ApiKey, Scope
from tellwire.gateway.guesses import Guesses
from tellwire.gateway.http import Endpoint, problem
from tellwire.gateway.paths import client_of
from tellwire.limited_log import LimitedLog
from tellwire.limits import TRACKED_ADDRESSES
from tellwire.model import is_loopback_authority
from tellwire.ports import Clock
from tellwire.protocol import bearer_in

logger = logging.getLogger("tellwire.gateway")

_RETRY_AFTER_SECONDS: Final = 10
_TOLD_AGAIN_SECONDS: Final = 60.0


class Guard(Protocol):
    """A guard of endpoints: of the HTTP API by keys, of the console by sessions."""

    def guarded(self, endpoint: Endpoint, scope: Scope, *others: Scope) -> Endpoint:
        """Return an endpoint that refuses requests that are not allowed this."""
        ...


class ApiKeyGuard:
    """The keys that producers and operators send. Without any everybody is refused, unless `is_open` (development)."""

    def __init__(self, keys: Iterable[ApiKey], clock: Clock, *, is_open: bool = False) -> None:
        self._clock = clock
        self._guesses = Guesses()
        self._log = LimitedLog(logger, logging.WARNING, "requests without an API key", clock)
        # The keys that an address has sent, right or wrong, and when that was last in the log.
        self._sent: OrderedDict[tuple[str, bytes], float] = OrderedDict()
        self.replace(keys, is_open=is_open)

    def replace(self, keys: Iterable[ApiKey], *, is_open: bool = False) -> None:
        """Take these keys from now on, and no other."""
        # Digests have one length, so the time of a comparison reveals nothing.
        self._keys = [(_digest(key.key), key) for key in keys]
        self._is_open = is_open and not self._keys

    def guarded(self, endpoint: Endpoint, scope: Scope, *others: Scope) -> Endpoint:
        """Return an endpoint that refuses requests without a key for this. A key with one of the scopes is."""

        async def guarded(request: Request) -> Response:
            return self.refusal(request, scope, *others) or await endpoint(request)

        return guarded

    def refusal(self, request: Request, scope: Scope, *others: Scope) -> Response | None:
        """Return the refusal of a request; None: it is allowed. See `key_of` for its key."""
        if self._is_open:
            return _development_refusal(request)
        if not self._keys:
            return problem(403, "API_KEY_NOT_CONFIGURED", "The HTTP API is closed: the gateway has no TELLWIRE_API_KEY")
        given = bearer_in(request.headers.get("authorization", ""))
        address = client_of(request)
        if given is None:
            self._warn("no API key from %s", address)
            return _unauthorized("Send the header Authorization: Bearer <api key>")
        digest = _digest(given)
        now = self._clock.monotonic()
        told_at = self._sent.get((address, digest))
        if told_at is None and not self._guesses.may_try(address, now):
            text = "Too many wrong API keys from this address; try again later"
            return problem(429, "TOO_MANY_WRONG_KEYS", text, {"retry-after": str(_RETRY_AFTER_SECONDS)})
        key = self._find(digest)
        if key is None:
            is_due = self._guesses.count(address, now) if told_at is None else now - told_at >= _TOLD_AGAIN_SECONDS
            if is_due:
                self._warn("a wrong API key from %s", address)
            self._remember(address, digest, now if is_due or told_at is None else told_at)
            return _unauthorized("This is not one of the gateway's API keys")
        self._remember(address, digest, float("-inf"))
        request.state.api_key = key.name
        if key.scopes.isdisjoint((scope, *others)):
            text = f"The API key {key.name} is not for this: it needs the scope {scope.value}"
            return problem(403, "API_KEY_NOT_FOR_THIS", text)
        return None

    @property
    def needs_none(self) -> bool:
        """True in development, where there are no keys."""
        return self._is_open

    @property
    def keys(self) -> object:
        """The keys as they are now: another object after each `replace`."""
        return self._keys

    def known(self, headers: Sequence[tuple[bytes, bytes]], address: str, scope: Scope) -> ApiKey | None:
        """Return the key of a request, if it is for this, and its address has sent it before. None: ask `refusal`."""
        given = [bearer_in(value.decode("latin-1")) for name, value in headers if name == b"authorization"]
        if self._is_open or len(given) != 1 or given[0] is None:
            return None
        digest = _digest(given[0])
        key = self._find(digest) if (address, digest) in self._sent else None
        return key if key is not None and scope in key.scopes else None

    def _warn(self, message: str, address: str) -> None:
        # Whoever has many addresses must not fill the log either.
        self._log.tell_left_out()
        self._log.write(message, address)

    def _find(self, digest: bytes) -> ApiKey | None:
        found = None
        for known, key in self._keys:
            # All of them, whichever it is.
            if hmac.compare_digest(known, digest):
                found = key
        return found

    def _remember(self, address: str, digest: bytes, told_at: float) -> None:
        self._sent[address, digest] = told_at
        self._sent.move_to_end((address, digest))
        if len(self._sent) > TRACKED_ADDRESSES:
            self._sent.popitem(last=False)


def key_of(request: Request) -> str:
    """Return the name of the API key of a request that was allowed; empty in development, where it needs none."""
    return getattr(request.state, "api_key", "")


def _digest(key: str) -> bytes:
    return sha256(key.encode("utf-8", "surrogateescape")).digest()


def _unauthorized(message: str) -> Response:
    return problem(401, "API_KEY_WRONG", message, {"www-authenticate": "Bearer"})


def _development_refusal(request: Request) -> Response | None:
    # Without a key only requests from this machine are allowed, and not those of pages in its browser.
    if "origin" in request.headers or not is_loopback_authority(request.headers.get("host")):
        return problem(403, "NOT_FROM_A_PAGE", "In development mode pages may not publish; set TELLWIRE_API_KEY")
    return None
