"""Requests and responses of HTTP, and texts of their headers, for all that send them. Pure.

Those of the standard library's client are here and not in `plain_http`, so that a process that was not forked, a Lambda
function above all, does not load that.
"""

from collections.abc import Mapping
from urllib.parse import SplitResult, urljoin, urlsplit

from msgspec import Struct


class PlainFailed(Exception):
    """A request without a response. `not_sent`: the server cannot have acted on it. `was_closed`: the connection was
    closed before the response began.
    """

    def __init__(self, reason: str, *, not_sent: bool, was_closed: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.not_sent = not_sent
        self.was_closed = was_closed


class PlainRequest(Struct, frozen=True):
    """A request. `target` is the path with its query, percent-encoded. `max_bytes` bounds the response's body."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes | None
    timeout_seconds: float
    max_bytes: int | None = None


class HttpResponse(Struct, frozen=True):
    """An HTTP response. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def host_header(parts: SplitResult) -> str:
    """Return the `Host` header as HTTP clients send it: in lower case, without the scheme's default port."""
    return parts.netloc.lower().removesuffix({"http": ":80", "https": ":443"}[parts.scheme])


def redirect_target(url: str, location: str) -> str:
    """Return the address that a redirect of `url` names, without user and query, which may hold a secret."""
    try:
        parts = urlsplit(urljoin(url, location))
    except ValueError:
        return "an address that is not valid"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
