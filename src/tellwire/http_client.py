"""HTTP client with pooled connections, one timeout per attempt, and failures that say if a request may have been sent.

The caller decides whether to try again: only the caller knows if a request may be repeated.

Nothing is opened before the first request, so a client may be made before a fork: each process opens its own. A process
that was forked after its parent's first request cannot start the threads of `pyreqwest` again; it uses `plain_http`.
"""

import asyncio
import atexit
import functools
import math
import os
import random
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import BuilderError, PyreqwestError
from pyreqwest.request import RequestBuilder

from tellwire.errors import NEEDS_ASYNCIO, CannotRunHere, ConfigError, shown
from tellwire.http_messages import HttpResponse, PlainFailed, PlainRequest
from tellwire.limits import EXIT_DELAY_SECONDS
from tellwire.model import is_loopback

if TYPE_CHECKING:
    from tellwire.plain_http import PlainHttp

_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}

# Messages of the HTTP client. Its ConnectError alone also covers a connection lost after the request was written.
_NEVER_CONNECTED: Final = "client error (Connect)"
_CONNECTION_LOST: Final = "client error (SendRequest)"

# The HTTP client's names for what is wrong with a server's certificate.
_BAD_CERTIFICATE: Final = re.compile(r"invalid peer certificate: (?:Other\(OtherError\((\w+)\)\)|(.+))$")
_CERTIFICATE_WORDS: Final = {
    "BadSignature": "its signature is not that of its issuer",
    "CaUsedAsEndEntity": "it is a certificate authority's own, which is not for servers",
    "Expired": "it has expired",
    "NotValidForName": "it is for another host name",
    "NotValidYet": "it is not valid yet",
    "Revoked": "it was revoked",
    "UnknownIssuer": "its issuer is not trusted; SSL_CERT_FILE names a file of further ones",
}

_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

_PAUSE_SECONDS: Final = 1.0
_GRACE_SECONDS: Final = 1.0

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


class HttpFailed(Exception):
    """A request without a response. `not_sent`: the server cannot have acted on it; otherwise it may have."""

    def __init__(self, reason: str, *, not_sent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.not_sent = not_sent


class AnswerTooBig(HttpFailed):
    """A response over the bound of the request, which another attempt would get again."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"the answer is over {max_bytes:,} bytes", not_sent=False)


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
        # HTTP_PROXY is for other hosts; a proxy cannot reach our loopback interface.
        self._is_local = is_loopback(urlsplit(url).hostname)
        self._attempt_seconds = attempt_seconds
        self._headers = dict(headers or {})
        self._ca_bundle = ca_bundle
        self._certificates = _certificates(ca_bundle) if ca_bundle else []
        self._used_at = math.inf
        self._woke_at = -math.inf
        self._is_closed = False
        self._opened: tuple[int, Client | PlainHttp] | None = None
        self._inherited: object = None
        if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
            self._client()  # while the function starts: it has a whole processor then

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
        max_bytes: int | None = None,
    ) -> HttpResponse:
        """Send one request, once. `path` is percent-encoded and is appended to the base URL. `max_bytes` bounds the
        body of the response while it is read, decompressed.

        Raises:
            HttpFailed: there is no complete response, or it is over `max_bytes`.
            CannotRunHere: no event loop of asyncio runs, as in trio.
        """
        if asyncio._get_running_loop() is None:
            raise CannotRunHere(NEEDS_ASYNCIO)
        if self._is_closed:
            raise HttpFailed("the client is closed", not_sent=True)
        seconds = self._attempt_seconds if timeout_seconds is None else timeout_seconds
        client = self._client()
        try:
            # The client below has a timeout of its own. This one holds even if its threads are gone.
            async with asyncio.timeout(seconds + _GRACE_SECONDS):
                if not isinstance(client, Client):
                    target = urlsplit(self._url).path + path or "/"
                    all_headers = self._headers | dict(headers or {})
                    plain = PlainRequest(method, target, all_headers, body, seconds, max_bytes)
                    return await self._send_plainly(client, plain)
                request = client.request(method, self._url + path)
                if headers is not None:
                    request = request.headers(dict(headers))
                if body is not None:
                    request = request.body_bytes(body)
                if timeout_seconds is not None:
                    request = request.timeout(timedelta(seconds=timeout_seconds))
                return await self._send(request, max_bytes)
        except TimeoutError as error:
            raise HttpFailed("operation timed out", not_sent=False) from error

    @property
    def url(self) -> str:
        """The base URL."""
        return self._url

    async def close(self) -> None:
        """Close the pooled connections."""
        self._is_closed = True
        owner, client = self._opened or (None, None)
        if owner != os.getpid():
            return
        if isinstance(client, Client):
            await client.close()
        elif client is not None:
            client.close()

    def _client(self) -> "Client | PlainHttp":
        """Return the client of this process."""
        process_id = os.getpid()
        if self._opened is None or self._opened[0] != process_id:
            # Kept, since it belongs to threads that are not here: whatever it does at its end could wait for them.
            self._inherited = self._inherited, self._opened
            self._opened = process_id, self._open()
        return self._opened[1]

    def _open(self) -> "Client | PlainHttp":
        builder = (
            ClientBuilder()
            .default_headers(self._headers)
            .user_agent("tellwire")
            .follow_redirects(False)
            .pool_idle_timeout(_POOL_IDLE)
            .timeout(timedelta(seconds=self._attempt_seconds))
        )
        for certificate in self._certificates:
            builder = builder.add_root_certificate_pem(certificate)
        try:
            client = (builder.no_proxy() if self._is_local else builder).build()
        except RuntimeError:
            return self._open_plainly()
        except BuilderError as error:
            raise _no_bundle(self._ca_bundle) from error
        delay_exit()
        return client

    def _open_plainly(self) -> "PlainHttp":
        from tellwire.plain_http import PlainHttp, proxy_for  # imported here, as few processes need it

        return PlainHttp(self._url, proxy=None if self._is_local else proxy_for(self._url), ca_bundle=self._ca_bundle)

    async def _send(self, request: RequestBuilder, max_bytes: int | None) -> HttpResponse:
        after_pause = self._is_after_pause()
        try:
            if max_bytes is not None:
                return await _bounded(request, max_bytes)
            response = await request.build().send()
            return HttpResponse(response.status, response.headers, bytes(await response.bytes()))
        except PyreqwestError as error:
            causes = _causes(error)
            # After a pause, a connection that turns out to be closed was closed during the pause, by a server that
            # never saw the request.
            not_sent = _NEVER_CONNECTED in causes or (after_pause and _CONNECTION_LOST in causes)
            raise HttpFailed(_in_words(causes[-1]), not_sent=not_sent) from error

    async def _send_plainly(self, client: "PlainHttp", request: PlainRequest) -> HttpResponse:
        after_pause = self._is_after_pause()
        try:
            return await client.send(request)
        except PlainFailed as failed:
            not_sent = failed.not_sent or (after_pause and failed.was_closed)
            raise HttpFailed(_in_words(failed.reason), not_sent=not_sent) from failed

    def _is_after_pause(self) -> bool:
        """Return whether this attempt follows a pause, in which any pooled connection may have been closed."""
        now = time.monotonic()
        if now - self._used_at > _PAUSE_SECONDS:
            self._woke_at = now
        self._used_at = now
        return now - self._woke_at <= _PAUSE_SECONDS


async def _bounded(request: RequestBuilder, max_bytes: int) -> HttpResponse:
    async with request.build_streamed() as response:
        body = bytearray()
        while (chunk := await response.body_reader.read_chunk()) is not None:
            body += bytes(chunk)
            if len(body) > max_bytes:
                raise AnswerTooBig(max_bytes)
        return HttpResponse(response.status, response.headers, bytes(body))


def _certificates(ca_bundle: str) -> list[bytes]:
    from pathlib import Path  # imported here, as few cold starts need it

    try:
        text = Path(ca_bundle).read_bytes()
    except OSError as error:
        raise _no_bundle(ca_bundle) from error
    found = _CERTIFICATE.findall(text)
    try:
        # The client would refuse them too, but only when it is opened.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=b"\n".join(found).decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise _no_bundle(ca_bundle) from error
    return found


def _no_bundle(ca_bundle: str | None) -> ConfigError:
    return ConfigError(f"CA bundle: got {shown(ca_bundle)}; allowed: a file of certificates, in PEM, that can be read")


@functools.cache
def delay_exit() -> None:
    """Delay the end of the process; see `limits.EXIT_DELAY_SECONDS`."""
    atexit.register(time.sleep, EXIT_DELAY_SECONDS)


def _in_words(cause: str) -> str:
    """Return a cause as a sentence for people: the HTTP client names a bad certificate as its own code does."""
    found = _BAD_CERTIFICATE.search(cause)
    if found is None:
        return cause
    why = found[1] or found[2]
    return f"certificate verify failed: {_CERTIFICATE_WORDS.get(why, why)}"


def _causes(error: PyreqwestError) -> list[str]:
    """Return the chain of causes, outermost first, such as "connection error" … "Connection refused"."""
    details: Any = error.args[1] if len(error.args) > 1 else None
    causes = details.get("causes") if isinstance(details, dict) else None
    return [str(cause["message"]) for cause in causes or ()] or [str(error.args[0] if error.args else error)]
