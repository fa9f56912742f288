"""HTTP of the standard library, on threads: for a process that was forked after its parent had made a first request.

The threads of the usual client do not survive a fork, and it cannot start them again. Each thread here keeps one
connection open, and makes one request at a time.
"""

import asyncio
import base64
import functools
import http.client
import select
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from tellwire.http_messages import HttpResponse, PlainFailed, PlainRequest, host_header
from tellwire.native import green_library, original, start_thread

_MAX_THREADS: Final = 8
_IDLE_SECONDS: Final = 50.0

# OpenSSL's codes (X509_V_ERR_…), and the names that the usual client has for them.
_CERTIFICATE_ERRORS: Final = {
    9: "NotValidYet",
    10: "Expired",
    18: "UnknownIssuer",
    19: "UnknownIssuer",
    20: "UnknownIssuer",
    21: "UnknownIssuer",
    23: "Revoked",
    62: "NotValidForName",
}


class PlainHttp:
    """A client for the host of one URL. `proxy` is the URL of a proxy; None: the server is asked directly."""

    def __init__(self, url: str, *, proxy: str | None = None, ca_bundle: str | None = None) -> None:
        self._server = urlsplit(url)
        self._proxy = urlsplit(proxy) if proxy else None
        self._ca_bundle = ca_bundle
        self._waiting: Any = original("_queue", "SimpleQueue")()
        self._threads = 0
        self._idle = 0  # threads that no request is meant for
        self._counting: Any = original("_thread", "allocate_lock")()

    async def send(self, request: PlainRequest) -> HttpResponse:
        """Send a request, once.

        Raises:
            PlainFailed: there is no complete response.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[HttpResponse] = loop.create_future()

        def done(settle: Callable[[], None]) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(settle)

        if self._needs_thread():
            try:
                start_thread(self._work, "tellwire-http")
            except RuntimeError as error:
                raise PlainFailed("the interpreter is exiting", not_sent=True) from error
        work = _Work(request, future, done)
        self._waiting.put(work)
        try:
            return await future
        except asyncio.CancelledError:
            # A server that sends a byte now and then would keep the thread for as long as it likes.
            with self._counting:
                work.abort()
            raise

    def _needs_thread(self) -> bool:
        """Reserve a thread that is idle. True: there is none, and one more is allowed."""
        with self._counting:
            if self._idle > 0:
                self._idle -= 1
                return False
            is_allowed = self._threads < _MAX_THREADS
            self._threads += is_allowed
            # Beyond the bound, a request waits for the next thread that has time.
            self._idle -= not is_allowed
            return is_allowed

    def close(self) -> None:
        """End the threads."""
        for _ in range(self._threads):
            self._waiting.put(None)
        self._threads = 0

    def _work(self) -> None:
        connection = _Connection(self._server, self._proxy, self._ca_bundle)
        while (work := self._waiting.get()) is not None:
            outcome: Callable[[], None] | None = None
            if work.begin(connection):
                try:
                    response = connection.send(work.request)
                except Exception as error:  # noqa: BLE001 - it is the outcome
                    outcome = functools.partial(_fail, work.future, error)
                else:
                    outcome = functools.partial(_succeed, work.future, response)
            with self._counting:
                work.connection = None
                self._idle += 1
            if outcome is not None:
                work.done(outcome)
        connection.close()


class _Work:
    """A request that a thread is to make. `connection` is that of the thread, while it makes it."""

    __slots__ = ("connection", "done", "future", "request")

    def __init__(
        self,
        request: PlainRequest,
        future: "asyncio.Future[HttpResponse]",
        done: Callable[[Callable[[], None]], None],
    ) -> None:
        self.request = request
        self.future = future
        self.done = done
        self.connection: _Connection | None = None

    def begin(self, connection: "_Connection") -> bool:
        """Return True if somebody still waits for the response."""
        self.connection = connection
        return not self.future.done()

    def abort(self) -> None:
        """End the request that is being made."""
        if self.connection is not None:
            self.connection.abort()


def _succeed(future: "asyncio.Future[HttpResponse]", response: HttpResponse) -> None:
    if not future.done():
        future.set_result(response)


def _fail(future: "asyncio.Future[HttpResponse]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


class _Connection:
    """One connection, opened when needed and kept for the next request."""

    def __init__(self, server: SplitResult, proxy: SplitResult | None, ca_bundle: str | None) -> None:
        self._server = server
        self._proxy = proxy
        self._ca_bundle = ca_bundle
        self._open: http.client.HTTPConnection | None = None
        self._used_at = 0.0

    def send(self, request: PlainRequest) -> HttpResponse:
        ends_at = time.monotonic() + request.timeout_seconds
        connection = self._connected(request.timeout_seconds)
        try:
            if connection.sock is not None:
                connection.sock.settimeout(max(0.001, ends_at - time.monotonic()))
            self._write(connection, request)
            response = connection.getresponse()
            body = response.read() if request.max_bytes is None else response.read(request.max_bytes + 1)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise PlainFailed(_reason(error), not_sent=False, was_closed=isinstance(error, ConnectionError)) from error
        self._used_at = time.monotonic()
        if request.max_bytes is not None and len(body) > request.max_bytes:
            self.close()
            raise PlainFailed(f"the answer is over {request.max_bytes:,} bytes", not_sent=False)
        if response.will_close:
            self.close()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return HttpResponse(response.status, headers, body)

    def abort(self) -> None:
        """End the request that another thread makes: its reading ends at once."""
        open_socket = None if self._open is None else self._open.sock
        # A green socket belongs to its own thread.
        if open_socket is not None and green_library() is None:
            with suppress(OSError):
                # Not the method of a TLS socket, which would change it under the other thread.
                socket.socket.shutdown(open_socket, socket.SHUT_RDWR)

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _write(self, connection: http.client.HTTPConnection, request: PlainRequest) -> None:
        is_relayed = self._proxy is not None and self._server.scheme == "http"
        origin = f"http://{self._server.netloc}" if is_relayed else ""
        connection.putrequest(request.method, origin + request.target, skip_host=True, skip_accept_encoding=True)
        headers = {"host": host_header(self._server), "user-agent": "tellwire"} | dict(request.headers)
        if request.body is not None:
            headers["content-length"] = str(len(request.body))
        if is_relayed and self._proxy is not None:
            headers |= _proxy_authorization(self._proxy)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(request.body)

    def _connected(self, timeout_seconds: float) -> http.client.HTTPConnection:
        if self._open is not None and self._is_stale(self._open):
            self.close()
        if self._open is None:
            try:
                self._open = self._connect(timeout_seconds)
            except (OSError, http.client.HTTPException) as error:
                raise PlainFailed(_reason(error), not_sent=True) from error
        return self._open

    def _is_stale(self, connection: http.client.HTTPConnection) -> bool:
        """Return True if the server has closed the connection, or may be about to."""
        if connection.sock is None or time.monotonic() - self._used_at > _IDLE_SECONDS:
            return True
        poll = original("select", "poll")()
        poll.register(connection.sock.fileno(), select.POLLIN if hasattr(select, "POLLIN") else 1)
        return bool(poll.poll(0))

    def _connect(self, timeout_seconds: float) -> http.client.HTTPConnection:
        host, port = self._server.hostname or "", self._server.port
        via = self._proxy or self._server
        via_port = via.port or (443 if via.scheme == "https" else 80)
        if self._server.scheme == "https":
            context = ssl.create_default_context()
            if self._ca_bundle is not None:
                context.load_verify_locations(cafile=self._ca_bundle)
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                via.hostname or "", via_port, timeout=timeout_seconds, context=context
            )
            if self._proxy is not None:
                connection.set_tunnel(host, port or 443, _proxy_authorization(self._proxy))
        else:
            connection = http.client.HTTPConnection(via.hostname or "", via_port, timeout=timeout_seconds)
        connection.connect()
        if connection.sock is not None:
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "operation timed out"
    if isinstance(error, ssl.SSLCertVerificationError):
        kind = _CERTIFICATE_ERRORS.get(error.verify_code, error.verify_message)
        return f"invalid peer certificate: {kind}"
    return str(error) or type(error).__name__


def proxy_for(url: str) -> str | None:
    """Return the proxy that the environment names for a URL; None: there is none, or not for this host."""
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.netloc):
        return None
    proxies = urllib.request.getproxies()
    found = proxies.get(parts.scheme) or proxies.get("all")
    return found if found is None or "://" in found else f"http://{found}"


def _proxy_authorization(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    user = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"proxy-authorization": f"Basic {base64.b64encode(user.encode()).decode()}"}
