"""The gateway's view of a connection: one of our own server, or one of the server of another program (`asgi`)."""

from typing import Any, Protocol

from tellwire.carriers.hub import LiveConnection, Sent
from tellwire.model import Identity
from tellwire.rate import Rate


class GatewayConnection(LiveConnection, Protocol):
    """A connection that the application admits, and talks to. `state` is set and used by the application alone.

    `client_address` is the address of the client behind a proxy, which the application finds out.
    """

    state: Any
    client_address: str

    @property
    def peer_address(self) -> str:
        """The address at the other end; empty if nobody knows it."""
        ...

    @property
    def expires_at(self) -> float:
        """The end of its token, in epoch seconds."""
        ...

    @property
    def control_frames(self) -> Rate:
        """The rate of pings and pongs that the client may send."""
        ...

    def identify(self, identity: Identity) -> None:
        """Set the user of this connection, and the time at which it expires."""
        ...

    def send_text(self, payload: bytes, now: float) -> Sent:
        """Send a message that is for this client alone. `send` has the details."""
        ...

    async def drained(self) -> None:
        """Wait until nothing waits to be sent to the client, or it is gone."""
        ...
