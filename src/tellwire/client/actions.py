"""What the machine asks the shell to do. Connections go by number; a number is never used again."""

from dataclasses import dataclass, field
from typing import Literal

from tellwire.client.received import ReceivedMessage

Why = Literal["connect", "refused", "renew"]
"""What a token is for: an attempt, an attempt after a token was refused, a connection that is to live on."""


@dataclass(frozen=True, slots=True)
class AskToken:
    """Call `get_token`, and say `token` or `no_token`."""

    number: int
    why: Why


@dataclass(frozen=True, slots=True)
class Open:
    """Connect with this token, and say `opened`, `refused` or `unreachable`; after `opened`, some time, `closed`."""

    number: int
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ping:
    """Send a WebSocket ping, and say `heard` when it is answered."""

    number: int


@dataclass(frozen=True, slots=True)
class Send:
    """Send this text. It may hold a token."""

    number: int
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Close:
    """Close with 1000, after what is still to be read."""

    number: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Give up whatever is under way for this number, and cut its socket. No word of it any more."""

    number: int


@dataclass(frozen=True, slots=True)
class Pass:
    """Give these to the program, in this order."""

    messages: list[ReceivedMessage]


Action = AskToken | Open | Ping | Send | Close | Drop | Pass
