"""The request of a client that wants to connect, for whoever decides who it is. Pure."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from tellwire.model import Identity


@dataclass(frozen=True, slots=True)
class HandshakeRequest:
    """A WebSocket handshake, or the download of a user's list.

    `path` and `query` are as they were sent. `headers` have lower-case names; repeated ones are joined by commas.
    `client_address` is that behind trusted proxies. `scope` is the ASGI scope of a mounted gateway, with all that the
    host's middleware put there (`scope["user"]`, `scope["session"]`); None on a server of our own.
    """

    path: str
    query: str
    headers: Mapping[str, str] = field(repr=False)
    client_address: str = ""
    scope: Mapping[str, Any] | None = field(repr=False, default=None)

    def __repr__(self) -> str:
        # The query and the headers may hold secrets.
        return f"HandshakeRequest(path={self.path!r}, client_address={self.client_address!r})"

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies, as the browser sent them (RFC 6265 §5.4). Of a name that is there twice the first counts."""
        found: dict[str, str] = {}
        for pair in self.headers.get("cookie", "").split(";"):
            name, equals, value = pair.strip().partition("=")
            if equals and name not in found:
                found[name] = value.strip('"')
        return found

    @property
    def query_without_token(self) -> str:
        """The query without `token`."""
        if "token=" not in self.query:
            return self.query
        return urlencode([pair for pair in parse_qsl(self.query, keep_blank_values=True) if pair[0] != "token"])


Who = str | int | Identity | None
"""A user's id, or an `Identity` with more; None: nobody that is known."""

Identify = Callable[[HandshakeRequest], Who | Awaitable[Who]]
"""Says who makes a request. A plain function runs in a thread."""
