"""The report of a broadcast that had no time for all connections, and the token to go on with it. Pure.

    rows in the order of their keys ─▶ posted … │ no time left ─▶ UnfinishedDelivery ─▶ its `resume` ─▶ the other rows

The token holds the message itself, so whoever goes on needs nothing else, and every device gets the same text with the
same id and cursor: a device that got it before, because its answer was lost, hears it once.
"""

import base64
import binascii
from typing import Self

import msgspec
from msgspec import Struct, structs

from tellwire.decode_errors import DECODE_ERRORS
from tellwire.engines.aws.connections import Position
from tellwire.errors import InvalidMessage
from tellwire.model import Delivery, Target


class Remainder(Struct, frozen=True, omit_defaults=True):
    """The part of a broadcast that is still to be done: the message, and the key after which its receivers begin.

    `may_repeat`: the message has a place in its stream, so a post may be repeated; see `carrier`.
    """

    target: Target
    position: Position
    payload: str
    may_repeat: bool = False

    @property
    def token(self) -> str:
        """This as text: letters, digits, `-`, `_` and `=`, a third longer than the message."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode("ascii")

    @classmethod
    def of(cls, token: str) -> Self:
        """Return the remainder in a token.

        Raises:
            InvalidMessage: it is not a token.
        """
        try:
            return msgspec.json.decode(base64.urlsafe_b64decode(token), type=cls)
        except (*DECODE_ERRORS, binascii.Error, TypeError, ValueError) as error:
            raise InvalidMessage("resume", token, "the `resume` of a delivery that was not finished") from error


class UnfinishedDelivery(Delivery, frozen=True, gc=False):
    """The outcome of a broadcast that has stopped. `unsent` is a lower bound: the other rows were not counted."""

    token: str = ""

    @classmethod
    def of(cls, delivery: Delivery, remainder: Remainder) -> Self:
        """Return this delivery with the token of a remainder."""
        return cls(**structs.asdict(delivery), token=remainder.token)

    @property
    def resume(self) -> str | None:
        return self.token
