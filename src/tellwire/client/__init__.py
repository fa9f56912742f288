"""A client in Python: it connects, comes back by itself, renews its token, and passes on the user's messages.

    async with Client("wss://live.example.com", get_token) as client:
        async for message in client:
            print(message.type, message.data)

    Client, Topic ─▶ shell ─▶ machine (pure: events ─▶ actions) ─▶ link (pure: one connection's heartbeat, age, token)
                       │         ├▶ close_codes (pure: the tables of close codes and errors)
                       │         ├▶ requests (pure: sent, repeated and settled once)
                       │         ├▶ recovery (pure: hello and welcome) ─┬▶ stream ─▶ resequencer (once and in order)
                       │         └▶ topics (pure) ─┬▶ subscription ─────┘
                       │                           └▶ topic_presence (who is in them)
                       └▶ socket (websockets) ─▶ decode ─▶ machine … inboxes ─▶ `async for`

It behaves as the TypeScript package `@tellwire/client` does: both run the scenario traces of `spec/client`.
"""

from tellwire.extras import needs_extra

with needs_extra("tellwire.client", "client"):
    from tellwire.client.address import websocket_url
    from tellwire.client.client import Client, StartFrom
    from tellwire.client.close_codes import CLOSE_CODES, ERROR_CODES, ClosedForGood, CloseReason, Kind
    from tellwire.client.decode import HistoryPage, ReceivedMessage
    from tellwire.client.options import ClientOptions
    from tellwire.client.presence_state import Member, PresenceState
    from tellwire.client.request_error import RequestError
    from tellwire.client.state import ConnectionState, Status
    from tellwire.client.token_source import GetToken
    from tellwire.client.topic import Topic
    from tellwire.client.topic_state import TopicRefused, TopicState, TopicStatus

__all__ = [
    "CLOSE_CODES",
    "ERROR_CODES",
    "Client",
    "ClientOptions",
    "CloseReason",
    "ClosedForGood",
    "ConnectionState",
    "GetToken",
    "HistoryPage",
    "Kind",
    "Member",
    "PresenceState",
    "ReceivedMessage",
    "RequestError",
    "StartFrom",
    "Status",
    "Topic",
    "TopicRefused",
    "TopicState",
    "TopicStatus",
    "websocket_url",
]
