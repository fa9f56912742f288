"""The actions that the machine asks of the shell. Links go by number; a number is never used again."""

from dataclasses import dataclass, field
from typing import Any, Literal

from tellwire.client.decode import ReceivedMessage
from tellwire.client.presence_state import PresenceState
from tellwire.client.request_error import RequestError
from tellwire.client.topic_state import TopicState

Why = Literal["connect", "refused", "renew"]
"""The purpose of a token: an attempt, an attempt after a token was refused, a connection that is to stay open."""


@dataclass(frozen=True, slots=True)
class AskToken:
    """Call `get_token`, and report `token` or `no_token`."""

    number: int
    why: Why


@dataclass(frozen=True, slots=True)
class Open:
    """Connect with this token, and report `opened`, `refused` or `unreachable`; after `opened`, some time, `closed`."""

    number: int
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Send:
    """Send this text. It may hold a token."""

    number: int
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Close:
    """Close with 1000, and read to the end."""

    number: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Give up this number: cancel its attempt, cut its socket, report nothing of it any more."""

    number: int


@dataclass(frozen=True, slots=True)
class Pass:
    """Give these to the application, in this order: messages of a topic that it follows; None: any other."""

    messages: list[ReceivedMessage]
    topic: str | None = None


@dataclass(frozen=True, slots=True)
class Settle:
    """End a request: with its result, or with an error."""

    id: str
    result: Any = None
    error: RequestError | None = None


@dataclass(frozen=True, slots=True)
class Forget:
    """Drop all messages that the application has not taken: the session has become another user's."""


@dataclass(frozen=True, slots=True)
class TopicChanged:
    """Tell the application the state of a topic that it follows."""

    topic: str
    state: TopicState


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    """Tell the application who is in a topic that it follows."""

    topic: str
    state: PresenceState


Action = AskToken | Open | Send | Close | Drop | Pass | Settle | Forget | TopicChanged | PresenceChanged
