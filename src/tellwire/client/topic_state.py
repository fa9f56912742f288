"""The state of a topic that a client follows, as an application sees it."""

from dataclasses import dataclass
from typing import Literal

from tellwire.errors import TellwireError

TopicStatus = Literal["subscribing", "subscribed", "refused"]


@dataclass(frozen=True, slots=True)
class TopicState:
    """A snapshot. `recovered` is there while it is subscribed: False says that messages of the topic may be missing,
    and comes as a new state each time.

    `code` and `message` are there if it is refused: the server's name for the reason, such as `TOPIC_FORBIDDEN`, and
    its words. A refused topic is asked for again on the next connection, and when the server has another token. They
    are there, too, while it is subscribing and the server could not answer just now.
    """

    status: TopicStatus
    recovered: bool | None = None
    code: str | None = None
    message: str | None = None


class TopicRefused(TellwireError):
    """The server does not let this user follow a topic, or does so no longer.

    `topic` is its name. `code` is the server's: `TOPIC_FORBIDDEN`, the user may not; `TOO_MANY_SUBSCRIPTIONS`, the
    client follows too many; `UNKNOWN_TYPE`, the server has no topics; or another one.
    """

    code = "TOPIC_REFUSED"

    def __init__(self, topic: str, code: str, message: str) -> None:
        super().__init__(message)
        self.topic = topic
        self.code = code  # type: ignore[misc]  # that of this one
