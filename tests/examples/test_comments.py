"""The handler of `examples/comments`: a wrong comment is refused, with the field and the allowed values."""

from typing import Any

import pytest

from examples.comments.handlers.comments import Comments
from tellwire import Delivery, InvalidMessage, Message, Sender

SENDER = Sender("ada", "connection-1")


class Said:
    """A broadcast that keeps all messages, with their topics."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, Message]] = []

    async def __call__(self, topic: str, message: Message) -> Delivery:
        self.messages.append((topic, message))
        return Delivery(delivered=1)


async def test_a_comment_is_told_to_all_who_follow_the_moc_as_that_of_the_tokens_user() -> None:
    said = Said()
    answer = await Comments(said).add({"moc": "17", "text": " Nice! ", "author": "eve"}, SENDER)
    assert answer.data == {"moc": "17"}
    ((topic, message),) = said.messages
    assert (topic, message.data) == ("moc:17:comments", {"author": "ada", "text": "Nice!"})


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {"moc": "1"},
        {"moc": 1, "text": "a"},
        {"moc": "../x", "text": "a"},
        {"moc": "1" * 10, "text": "a"},
        {"moc": "١", "text": "a"},
        {"moc": "1", "text": " "},
        {"moc": "1", "text": "x" * 2001},
    ],
)
async def test_what_is_no_comment_is_refused(data: Any) -> None:
    said = Said()
    with pytest.raises(InvalidMessage, match=r"data\.(moc|text)"):
        await Comments(said).add(data, SENDER)
    assert said.messages == []
