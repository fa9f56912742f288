"""A client in Python: it connects, comes back by itself, renews its token, and passes on the user's messages.

    async with Client("wss://live.example.com", get_token) as client:
        async for message in client:
            print(message.type, message.data)

    Client ─▶ machine (pure: events ─▶ actions) ─▶ link (pure: one connection's heartbeat, age and token)
       │         ├▶ close_codes (pure: the tables of close codes and errors)
       │         └▶ recovery (pure: hello and welcome) ─▶ resequencer (pure: a stream once and in order), recent_ids
       └▶ socket (websockets) ─▶ decode ─▶ machine … inbox ─▶ `async for`

It behaves as the TypeScript package `@tellwire/client` does: both run the scenario traces of `spec/client`.
"""

try:
    import websockets as _websockets  # noqa: F401 - imported here to name it if it is absent
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"tellwire.client needs {error.name}: pip install 'tellwire[client]'", name=error.name
    ) from error

from tellwire.client.address import websocket_url
from tellwire.client.client import Client, StartFrom
from tellwire.client.close_codes import CLOSE_CODES, ERROR_CODES, ClosedForGood, CloseReason, Kind
from tellwire.client.decode import ReceivedMessage
from tellwire.client.options import ClientOptions
from tellwire.client.state import ConnectionState, Status
from tellwire.client.token_source import GetToken

__all__ = [
    "CLOSE_CODES",
    "ERROR_CODES",
    "Client",
    "ClientOptions",
    "CloseReason",
    "ClosedForGood",
    "ConnectionState",
    "GetToken",
    "Kind",
    "ReceivedMessage",
    "StartFrom",
    "Status",
    "websocket_url",
]
