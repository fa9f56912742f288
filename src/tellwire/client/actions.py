"""The actions that the machine asks of the shell. Links go by number; a number is never used again."""

from dataclasses import dataclass, field
from typing import Literal

from tellwire.client.decode import ReceivedMessage

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
    """Give these to the application, in this order."""

    messages: list[ReceivedMessage]


Action = AskToken | Open | Send | Close | Drop | Pass
