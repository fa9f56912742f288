"""Cursors, and the positions of messages."""

import pytest

from tellwire.client.cursors import by_offset, position_of, stream_of
from tellwire.client.decode import ReceivedMessage
from tellwire.position import Position

STATE = ReceivedMessage("seen", None, cursor="e:7", key="seen", version=1)


@pytest.mark.parametrize("text", ["", "0", "e", ":5", "e:", "e:x", "e:-1", "e:٣", "e:1234567890123456", None])
def test_text_that_is_no_cursor_names_no_position(text: str | None) -> None:
    assert Position.parse(text) is None


def test_an_epoch_may_have_colons() -> None:
    position = Position.parse("a:b:7")
    assert position == ("a:b", 7)
    assert (str(position), str(position.before)) == ("a:b:7", "a:b:6")


def test_a_message_is_in_a_stream_if_it_has_a_position() -> None:
    assert stream_of(ReceivedMessage("note", None, cursor="e:7")) == "user"
    assert stream_of(ReceivedMessage("note", None, cursor="e:7", topic="parts")) == "topic:parts"
    assert stream_of(STATE) == "user"
    for each in (
        ReceivedMessage("call", None),
        ReceivedMessage("call", None, key="k"),
        ReceivedMessage("call", 1, cursor="0"),
    ):
        assert stream_of(each) is None


def test_a_message_with_a_key_and_a_version_is_a_state() -> None:
    assert position_of(STATE) is None


def test_the_log_comes_by_offset_and_then_the_states_as_they_came() -> None:
    log = [ReceivedMessage("note", None, cursor=f"e:{offset}") for offset in (10, 9)]
    other = ReceivedMessage("upload_progress", None, key="a", version=9)
    assert by_offset([STATE, log[0], other, log[1]]) == [log[1], log[0], STATE, other]
