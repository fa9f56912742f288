"""HTTP client with pooled connections, one timeout per attempt, and failures that say if a request may have been sent.

The caller decides whether to try again: only the caller knows if a request may be repeated.
"""

import atexit
import functools
import math
import random
import re
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct
from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import BuilderError, PyreqwestError

from tellwire.errors import ConfigError, shown
from tellwire.model import is_loopback

_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}

# Messages of the HTTP client. Its ConnectError alone also covers a connection lost after the request was written.
_NEVER_CONNECTED: Final = "client error (Connect)"
_CONNECTION_LOST: Final = "client error (SendRequest)"

_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

_PAUSE_SECONDS: Final = 1.0
_EXIT_DELAY_SECONDS: Final = 0.05

# Shorter than the keep-alive of servers, so that we close an idle connection before the server does.
_POOL_IDLE: Final = timedelta(seconds=50)


def http_base_url(url: str, setting: str = "gateway URL") -> str:
    """Return the HTTP URL for an http(s):// or ws(s):// URL, without a slash at the end.

    Raises:
        ConfigError: another scheme, or a user name, query or fragment in it; the text names the `setting`.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in _SCHEMES or not parts.hostname or set(url) & set("@?# \t\r\n"):
        # A user name, a query or a fragment may be a secret.
        given = "one that may hold a secret" if set(url) & set("@?#") else shown(url)
        raise ConfigError(
            f"{setting}: got {given}; allowed: http://host[:port][/path], https, ws or wss, without user or query"
        )
    return f"{_SCHEMES[parts.scheme]}://{parts.netloc}{parts.path.rstrip('/')}"


def full_jitter(first_seconds: float, longest_seconds: float) -> Iterator[float]:
    """Yield backoff delays with full jitter: random between zero and a bound that doubles."""
    bound = first_seconds
    while True:
        yield random.uniform(0, bound)  # noqa: S311 - jitter
        bound = min(2 * bound, longest_seconds)


class HttpResponse(Struct, frozen=True):
    """An HTTP response. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpFailed(Exception):
    """A request without a response. `not_sent`: the server cannot have acted on it; otherwise it may have."""

    def __init__(self, reason: str, *, not_sent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.not_sent = not_sent


class HttpClient:
    """A client for one base URL. Its connections are shared by every event loop of the process.

    `ca_bundle` is a PEM file of certificates to trust in addition to the system's.
    """

    def __init__(
        self,
        url: str,
        attempt_seconds: float,
        headers: Mapping[str, str] | None = None,
        *,
        ca_bundle: str | None = None,
    ) -> None:
        self._url = url
        self._used_at = math.inf
        self._woke_at = -math.inf
        builder = (
            ClientBuilder()
            .default_headers(dict(headers or {}))
            .user_agent("tellwire")
            .follow_redirects(False)
            .pool_idle_timeout(_POOL_IDLE)
            .timeout(timedelta(seconds=attempt_seconds))
        )
        for certificate in _certificates(ca_bundle) if ca_bundle else ():
            builder = builder.add_root_certificate_pem(certificate)
        # HTTP_PROXY is for other hosts; a proxy cannot reach our loopback interface.
        try:
            self._client = (builder.no_proxy() if is_loopback(urlsplit(url).hostname) else builder).build()
        except RuntimeError as error:
            raise ConfigError("this process was forked after a first publish: fork before it, or spawn") from error
        except BuilderError as error:
            raise _no_bundle(ca_bundle) from error
        delay_exit()

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> HttpResponse:
        """Send one request, once. `path` is percent-encoded and is appended to the base URL.

        Raises:
            HttpFailed: there is no complete response.
        """
        request = self._client.request(method, self._url + path)
        if headers is not None:
            request = request.headers(dict(headers))
        if body is not None:
            request = request.body_bytes(body)
        if timeout_seconds is not None:
            request = request.timeout(timedelta(seconds=timeout_seconds))
        after_pause = self._is_after_pause()
        try:
            response = await request.build().send()
            return HttpResponse(response.status, response.headers, bytes(await response.bytes()))
        except PyreqwestError as error:
            causes = _causes(error)
            # After a pause, a connection that turns out to be closed was closed during the pause, by a server that
            # never saw the request.
            not_sent = _NEVER_CONNECTED in causes or (after_pause and _CONNECTION_LOST in causes)
            raise HttpFailed(causes[-1], not_sent=not_sent) from error

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._client.close()

    def _is_after_pause(self) -> bool:
        """Return whether this attempt follows a pause, in which any pooled connection may have been closed."""
        now = time.monotonic()
        if now - self._used_at > _PAUSE_SECONDS:
            self._woke_at = now
        self._used_at = now
        return now - self._woke_at <= _PAUSE_SECONDS


def _certificates(ca_bundle: str) -> list[bytes]:
    from pathlib import Path  # imported here, as few cold starts need it

    try:
        text = Path(ca_bundle).read_bytes()
    except OSError as error:
        raise _no_bundle(ca_bundle) from error
    if not (found := _CERTIFICATE.findall(text)):
        raise _no_bundle(ca_bundle)
    return found


def _no_bundle(ca_bundle: str | None) -> ConfigError:
    return ConfigError(f"CA bundle: got {shown(ca_bundle)}; allowed: a file of certificates, in PEM, that can be read")


@functools.cache
def delay_exit() -> None:
    """Delay the end of the process by 50 ms.

    The HTTP client's threads use Python objects for a moment after a response has arrived; a process that ends within
    that moment is aborted by the interpreter (pyreqwest 0.15, PyO3 threads during finalization).
    """
    atexit.register(time.sleep, _EXIT_DELAY_SECONDS)


def _causes(error: PyreqwestError) -> list[str]:
    """Return the chain of causes, outermost first, such as "connection error" … "Connection refused"."""
    details: Any = error.args[1] if len(error.args) > 1 else None
    causes = details.get("causes") if isinstance(details, dict) else None
    return [str(cause["message"]) for cause in causes or ()] or [str(error.args[0] if error.args else error)]
