"""Publications for tests, and a conversation with a history."""

import msgspec

from tellwire.broker import ComposedBroker
from tellwire.entry import Entry
from tellwire.messages import CustomMessage, KnownMessage, Message, MessageDecoder
from tellwire.model import Target
from tellwire.ports import History
from tellwire.publication import Publication, user_stream
from tellwire.stream import seen_state
from tellwire.testing import MemoryCarrier

decode_message = MessageDecoder[KnownMessage, CustomMessage](KnownMessage, CustomMessage).decode
"""Decode an encoded message."""


def publication(target: Target, message: Message | bytes) -> Publication:
    """Return a message, or an encoded one, as a publication for a target."""
    return Publication.of(target, decode_message(message) if isinstance(message, bytes) else message)


def for_user(user_id: str, message: Message | bytes | Publication) -> Publication:
    """Return a message, or a publication for somebody else, as a publication for a user."""
    target = Target(user=user_id)
    if isinstance(message, Publication):
        return msgspec.structs.replace(message, target=target, stream=user_stream(user_id))
    return publication(target, message)


async def acknowledge(history: History, user_id: str, cursor: str, now: float = 0.0) -> Entry | None:
    """Append that a user has seen the log up to a cursor, as a conversation does."""
    stream = user_stream(user_id)
    position = await history.position(stream)
    offset = position and position.offset_of(cursor)
    if position is None or offset is None:
        return None
    return await history.append(seen_state(stream, position._replace(offset=offset), now))


class Silent(ComposedBroker):
    """A broker whose publications are kept, and reach nobody."""

    def __init__(self, history: History) -> None:
        super().__init__(history, MemoryCarrier())
