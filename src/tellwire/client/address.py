"""The WebSocket address of a gateway."""

from urllib.parse import urlsplit, urlunsplit

from tellwire.http_client import http_base_url


def websocket_url(url: str) -> str:
    """Return the WebSocket address of a gateway given by either address. Its path stays as it is.

    A proxy may know `/live/` and not `/live`: a WebSocket's address is no base to which paths are appended.

    Raises:
        ConfigError: it is neither http(s):// nor ws(s)://, or has a user name, a query or a fragment in it.
    """
    base = urlsplit(http_base_url(url))
    path = urlsplit(url).path or "/"
    return urlunsplit(base._replace(scheme={"http": "ws", "https": "wss"}[base.scheme], path=path))
