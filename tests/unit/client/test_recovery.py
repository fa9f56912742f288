"""Recovery while the application does not keep up. Everything else of it is in `spec/client` (`test_traces.py`)."""

import json
from typing import Any

import pytest

from tellwire.client.decode import ReceivedMessage, read_message
from tests.unit.client.driven import Driven, Send


def said(offset: int, message_id: str | None = None) -> ReceivedMessage:
    return ReceivedMessage("said", offset, id=message_id, cursor=f"e:{offset}")


def welcome(cursor: str, *offsets: int, last: bool = True) -> ReceivedMessage | None:
    messages = [{"type": "said", "data": each, "cursor": f"e:{each}"} for each in offsets]
    page = {"cursor": cursor, "recovered": True, "last": last, "messages": messages, "state": []}
    return read_message(json.dumps({"type": "welcome", "data": page}).encode())


def data_of(driven: Driven) -> list[Any]:
    return [each.data for each in driven.passed]


def test_a_program_that_does_not_keep_up_is_no_reason_to_give_up_on_the_answer() -> None:
    driven = Driven(recover=True, cursor="e:5").start().token(1).opened(1)
    driven.received(1, said(8))
    driven.received(1, welcome("e:7", 6, last=False))
    driven.machine.stalled(1)
    driven.passes(600)
    assert data_of(driven) == [6]
    driven.machine.resumed(1, driven.now)
    driven.passes(4)
    driven.received(1, welcome("e:7", 7))
    assert data_of(driven) == [6, 7, 8]


def test_a_sleep_is_no_reason_to_give_up_on_the_answer() -> None:
    driven = Driven(recover=True, cursor="e:5").start().token(1).opened(1)
    driven.received(1, said(8))
    driven.sleeps(3600)
    assert data_of(driven) == []
    driven.received(1, welcome("e:7", 6, 7))
    assert data_of(driven) == [6, 7, 8]


def test_a_hello_holds_the_cursors_and_is_one_message() -> None:
    driven = Driven(recover=True, cursor="e:5").start().token(1).opened(1)
    (hello,) = [each.payload for each in driven.asked() if isinstance(each, Send)]
    assert json.loads(hello) == {"type": "hello", "cursors": {"user": "e:5"}}


@pytest.mark.parametrize("cursor", [None, "e:5"])
def test_cursors_are_before_what_the_application_has_not_taken(cursor: str | None) -> None:
    driven = Driven(recover=True, cursor=cursor).start().token(1).opened(1)
    driven.received(1, welcome("e:5"))
    driven.received(1, said(6))
    assert driven.machine.cursors() == {"user": "e:6"}
    assert driven.machine.cursors(lambda _: "e:5") == {"user": "e:5"}
