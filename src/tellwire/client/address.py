"""The WebSocket address of a gateway."""

from urllib.parse import urlsplit, urlunsplit

from tellwire.http_client import http_base_url


def websocket_url(url: str) -> str:
    """Return the WebSocket address of a gateway given by either address.

    Raises:
        ConfigError: it is neither http(s):// nor ws(s)://, or has a user name, a query or a fragment in it.
    """
    parts = urlsplit(http_base_url(url))
    return urlunsplit(parts._replace(scheme={"http": "ws", "https": "wss"}[parts.scheme], path=parts.path or "/"))
