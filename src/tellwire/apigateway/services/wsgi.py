"""A small web server on this machine for programs only, in a thread: a guard refuses the pages of browsers."""

import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from tellwire.model import is_loopback_authority

WsgiApplication: TypeAlias = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def refuse_browsers(
    application: WsgiApplication, is_own_name: Callable[[str], bool] = lambda host: False
) -> WsgiApplication:
    """Return a WSGI application that answers 403 to the pages of a browser, and passes everything else on.

    `is_own_name` says which hosts are ours besides this machine's own names.
    """

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        # Browsers name the page's site with every request but simple ones of old browsers; those have a foreign Host.
        is_browser = "HTTP_ORIGIN" in environ or "HTTP_SEC_FETCH_SITE" in environ
        host = environ.get("HTTP_HOST")
        if is_browser or not (is_loopback_authority(host) or (host is not None and is_own_name(host))):
            start_response("403 Forbidden", [("content-type", "text/plain")])
            return [b"Only programs on this machine may use this, by a name such as 127.0.0.1\n"]
        return application(environ, start_response)

    return guarded


@contextmanager
def serve(application: WsgiApplication, name: str, port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve an application on 127.0.0.1 until the block ends, and yield its port: `port`, or another if it is taken."""
    from werkzeug.serving import make_server

    requests_log = logging.getLogger("werkzeug")
    level = requests_log.level
    # A line for each request would hide the lines that the handlers print.
    requests_log.setLevel(logging.CRITICAL)
    with _listening(port) as listener:
        server = make_server("127.0.0.1", 0, application, threaded=True, ssl_context=tls, fd=listener.fileno())
    if tls is not None:
        # Else the thread that accepts would wait for a client that says nothing.
        server.socket.do_handshake_on_connect = False  # type: ignore[attr-defined]
    serving = threading.Thread(target=server.serve_forever, args=(0.05,), name=name, daemon=True)
    serving.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
        requests_log.setLevel(level)


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port), backlog=128)
    except OSError:
        return socket.create_server(("127.0.0.1", 0), backlog=128)
