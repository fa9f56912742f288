"""Comments on a MOC: a request of a client, checked, and told to all who follow it.

The same in a gateway and in a Lambda:

    add_comment {moc, text} ─▶ checked ─▶ `comment_added` to the topic moc:<number>:comments ─▶ the comment's id

A website of yours also stores the comment in its database, before it tells others.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from tellwire import Delivery, InvalidMessage, Message, Sender, create_message

MAX_CHARACTERS = 2000
_MAX_DIGITS = 9

Broadcast = Callable[[str, Message], Awaitable[Delivery]]
"""Publishes a message to a topic."""


def topic_of(moc: str) -> str:
    """Return the topic of the comments on a MOC."""
    return f"moc:{moc}:comments"


class Comments:
    """The handler of `add_comment`. `broadcast` publishes."""

    def __init__(self, broadcast: Broadcast) -> None:
        self._broadcast = broadcast

    async def add(self, data: Any, sender: Sender) -> Message:
        """Tell a user's comment to all who follow a MOC. The answer has the comment's id.

        Raises:
            InvalidMessage: it is no comment on a MOC. The client is told.
        """
        fields = data if isinstance(data, dict) else {}
        moc, text = fields.get("moc"), fields.get("text")
        if not isinstance(moc, str) or not (moc.isascii() and moc.isdecimal() and len(moc) <= _MAX_DIGITS):
            raise InvalidMessage("data.moc", moc, f"the number of a MOC, of at most {_MAX_DIGITS} digits")
        if not isinstance(text, str) or not 0 < len(text.strip()) <= MAX_CHARACTERS:
            raise InvalidMessage("data.text", text, f"a text of at most {MAX_CHARACTERS:,} characters")
        # The user is the token's, whatever the client says.
        comment = create_message("comment_added", {"author": sender.user_id, "text": text.strip()})
        await self._broadcast(topic_of(moc), comment)
        return create_message("comment_kept", {"moc": moc})
