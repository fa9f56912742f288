"""The registration of a connection in Redis: a field of its user's hash `conns`, by its id. Pure."""

from typing import Final

import msgspec
from msgspec import Struct

from tellwire.model import ConnectionInfo, TokenStamp
from tellwire.ports import Present


class Registration(Struct, frozen=True, array_like=True, gc=False):
    """The facts of a connection that other nodes need: its times, and the traits of its token.

    It is a JSON array without ids, about 110 bytes: there is one for each connection of all nodes.
    """

    connected_at: str
    last_active_at: str
    expires_at: str
    key: str = ""
    token_id: str | None = None
    issued_at: float | None = None

    @classmethod
    def of(cls, connection: Present) -> "Registration":
        """Return that of a connection of this process, as it is now."""
        info, stamp = connection.info(), connection.stamp
        times = (info.connected_at, info.last_active_at, info.expires_at)
        return cls(*times, stamp.key, stamp.token_id, stamp.issued_at)

    @property
    def stamp(self) -> TokenStamp:
        """The traits of the token that opened the connection, or renewed it last."""
        return TokenStamp(self.key, self.token_id, self.issued_at)

    def info(self, connection_id: str, user_id: str) -> ConnectionInfo:
        """Return the connection as it is listed."""
        return ConnectionInfo(connection_id, user_id, self.connected_at, self.last_active_at, self.expires_at)


_decoder: Final = msgspec.json.Decoder(Registration)
decode: Final = _decoder.decode


def stamp_of(registered: bytes) -> TokenStamp:
    """Return the traits of a token from the registration of its connection."""
    return decode(registered).stamp


encode: Final = msgspec.json.Encoder().encode
