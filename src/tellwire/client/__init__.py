"""A device in Python: connects, comes back by itself, renews its token, and hands on what the user is told.

    async with Client("wss://live.example.com", get_token) as client:
        async for message in client:
            print(message.type, message.data)

    Client ─▶ machine (pure: what happened ─▶ what to do) ─▶ link (pure: one connection's heartbeat and renewal)
       │         ├▶ reasons (pure: the table of close codes)
       │         └▶ recovery (pure: hello and welcome) ─▶ place (pure: each message once and in order)
       └▶ socket (websockets) ─▶ inbox ─▶ `async for`

The machine is the same as in the TypeScript package `@tellwire/client`; `spec/protocol.md` says what both speak.
"""

try:
    import websockets as _websockets  # noqa: F401 - asked for here, so that its absence has a name
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"tellwire.client needs {error.name}: pip install 'tellwire[client]'", name=error.name
    ) from error

from tellwire.client.address import websocket_url
from tellwire.client.client import Client, GetToken, StartFrom
from tellwire.client.reasons import CLOSE_CODES, ClosedForGood, CloseReason, Kind
from tellwire.client.received import ReceivedMessage
from tellwire.client.state import ConnectionState, Status
from tellwire.client.timing import Timing

__all__ = [
    "CLOSE_CODES",
    "Client",
    "CloseReason",
    "ClosedForGood",
    "ConnectionState",
    "GetToken",
    "Kind",
    "ReceivedMessage",
    "StartFrom",
    "Status",
    "Timing",
    "websocket_url",
]
