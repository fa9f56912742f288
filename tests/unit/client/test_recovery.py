"""When the client says hello, how long it waits for the answer, and what it takes from which connection."""

import json
from typing import Any

import pytest

from tellwire.client.actions import Action, Send
from tellwire.client.received import ReceivedMessage, read_message
from tests.unit.client.driven import AskToken, Driven, jwt, message


def said(offset: int, epoch: str = "e", message_id: str | None = None) -> ReceivedMessage:
    return ReceivedMessage("said", offset, id=message_id, cursor=f"{epoch}:{offset}")


def state(version: int) -> ReceivedMessage:
    return ReceivedMessage("upload_progress", version, key="upload:u", version=version)


def welcome(cursor: str, *offsets: int, recovered: bool = True, last: bool = True, **data: Any) -> ReceivedMessage:
    messages = [{"type": "said", "data": each, "cursor": f"{cursor.split(':')[0]}:{each}"} for each in offsets]
    page = {"cursor": cursor, "recovered": recovered, "last": last, "messages": messages, "state": []}
    its = {"type": "welcome", "data": page | data, "timestamp": "2026-11-28T10:00:00.000Z"}
    return read_message(json.dumps(its).encode())


def hellos(actions: list[Action]) -> list[Any]:
    """Return the cursors of the hellos among what was asked for, None for one without."""
    sent = [json.loads(each.payload) for each in actions if isinstance(each, Send)]
    return [each.get("cursor") for each in sent if each["type"] == "hello"]


def greeted(cursor: str | None = None, **options: Any) -> Driven:
    """Return a client whose connection has just been opened."""
    return Driven(recover=True, cursor=cursor, **options).start().token(1).opened(1)


def here(**options: Any) -> Driven:
    """Return a client that has had its welcome."""
    driven = greeted("e:5", **options)
    driven.received(1, welcome("e:5"))
    driven.asked()
    return driven


def data_of(driven: Driven) -> list[Any]:
    return [each.data for each in driven.passed]


@pytest.mark.parametrize("cursor", [None, "0", "e:5"])
def test_it_says_hello_as_soon_as_it_is_connected(cursor: str | None) -> None:
    assert hellos(greeted(cursor).asked()) == [cursor]


def test_it_says_hello_only_if_it_shall_recover() -> None:
    driven = Driven(recover=False, cursor="e:5").start().token(1).opened(1)
    assert hellos(driven.asked()) == []
    assert driven.received(1, said(9))


def test_what_comes_before_the_welcome_waits_for_it() -> None:
    driven = greeted("e:5")
    assert not driven.received(1, said(7))
    assert not driven.received(1, message("call"))
    driven.received(1, welcome("e:6", 6))
    assert [each.type for each in driven.passed] == ["said", "said", "call"]
    assert driven.machine.cursor == "e:7"


def test_the_next_connection_asks_from_where_this_one_was() -> None:
    driven = here()
    driven.received(1, said(6))
    driven.closed(1, 1012)
    number = driven.reconnects()
    driven.received(number, welcome("e:8", 7, 8))
    assert data_of(driven) == [6, 7, 8]


def test_whether_all_was_recovered_is_known_when_the_welcome_has_ended() -> None:
    driven = greeted("e:5")
    driven.received(1, welcome("e:6", 6, last=False))
    assert driven.states[-1].recovered is None
    driven.received(1, welcome("e:6"))
    assert driven.state.recovered
    driven.closed(1, 1012)
    assert driven.states[-1].recovered is None


def test_a_loss_is_a_new_state_each_time() -> None:
    driven = greeted("e:5")
    driven.received(1, welcome("f:1", 1, recovered=False))
    driven.passes(2)
    driven.received(1, said(1, "g"))
    driven.received(1, welcome("g:1", 1, recovered=False))
    assert [each.recovered for each in driven.states if each.status == "open"] == [None, False, False]


def test_a_welcome_without_a_loss_after_another_is_no_new_state() -> None:
    driven = here()
    before = driven.state
    driven.received(1, said(7))
    driven.passes(2)
    driven.received(1, welcome("e:7", 6, 7))
    assert driven.state is before


def test_a_gap_is_asked_for_but_not_more_than_once_a_second() -> None:
    driven = here()
    driven.received(1, said(7))
    assert hellos(driven.asked()) == []
    assert hellos(driven.passes(0.9).asked()) == []
    assert hellos(driven.passes(0.2).asked()) == ["e:5"]
    driven.received(1, welcome("e:7", 6, 7))
    driven.passes(60)
    driven.asked()
    driven.received(1, said(9))
    assert hellos(driven.asked()) == ["e:7"]
    assert data_of(driven) == [6, 7]


def test_a_gap_while_a_hello_is_out_is_asked_for_after_it() -> None:
    driven = greeted("e:5")
    driven.passes(2).asked()
    driven.received(1, said(9))
    assert hellos(driven.asked()) == []
    driven.received(1, welcome("e:7", 6, 7))
    assert hellos(driven.asked()) == ["e:7"]
    driven.received(1, welcome("e:9", 8, 9))
    assert data_of(driven) == [6, 7, 8, 9]


def test_without_a_welcome_it_waits_five_seconds() -> None:
    driven = greeted()
    driven.received(1, message("call"))
    driven.passes(4.9)
    assert driven.passed == []
    driven.passes(0.2)
    assert [each.type for each in driven.passed] == ["call"]
    assert driven.received(1, message("call"))
    assert driven.state.recovered is None


def test_a_welcome_of_many_pages_has_five_seconds_for_each() -> None:
    driven = greeted("e:0")
    driven.received(1, said(9))
    for offset in (1, 2, 3):
        driven.passes(4)
        driven.received(1, welcome("e:8", offset, last=False))
    assert data_of(driven) == [1, 2, 3]


def test_a_server_that_does_not_know_hello_is_not_waited_for() -> None:
    driven = greeted()
    driven.received(1, message("call"))
    assert not driven.received(1, message("error", {"code": "UNKNOWN_TYPE", "message": "type: got 'hello'"}))
    assert [each.type for each in driven.passed] == ["call"]
    assert driven.received(1, message("error", {"code": "UNKNOWN_TYPE", "message": "type: got 'mine'"}))


def test_other_errors_are_no_answer() -> None:
    driven = greeted()
    assert not driven.received(1, message("error", {"code": "BAD_ROWS", "message": ""}))
    driven.received(1, welcome("e:0"))
    assert [each.type for each in driven.passed] == ["error"]


def test_the_next_connection_is_asked_even_if_this_one_did_not_answer() -> None:
    driven = greeted("e:5")
    driven.passes(6).asked()
    driven.closed(1, 1012).passes(driven.wait)
    driven.token(2).opened(2)
    assert hellos(driven.asked()) == ["e:5"]


def test_a_program_that_does_not_keep_up_is_no_reason_to_give_up_on_the_answer() -> None:
    driven = greeted("e:5")
    driven.received(1, said(8))
    driven.received(1, welcome("e:7", 6, last=False))
    driven.machine.stalled(1)
    driven.passes(600)
    assert data_of(driven) == [6]
    driven.machine.resumed(1, driven.now)
    driven.passes(4)
    driven.received(1, welcome("e:7", 7))
    assert data_of(driven) == [6, 7, 8]


def test_a_welcome_that_nobody_asked_for_says_nothing() -> None:
    driven = here()
    driven.received(1, welcome("e:9", 8, 9))
    assert driven.passed == []
    assert driven.machine.cursor == "e:5"


@pytest.mark.parametrize("data", [None, {}, {"cursor": 5, "recovered": True, "last": True}, {"cursor": "e:1"}])
def test_a_welcome_that_is_none_is_not_given_to_the_program(data: Any) -> None:
    driven = greeted()
    payload = json.dumps({"type": "welcome", "data": data}).encode()
    assert not driven.received(1, read_message(payload))
    assert driven.passed == []


def test_the_time_in_a_welcome_says_when_the_token_expires() -> None:
    driven = greeted()
    driven.received(1, welcome("e:5", expiresAt="2026-11-28T10:10:00.000Z"))
    driven.asked()
    assert AskToken(1, "renew") not in driven.passes(470).asked()
    assert AskToken(1, "renew") in driven.passes(60).asked()


def test_a_welcome_without_a_time_leaves_the_tokens_own() -> None:
    driven = Driven(recover=True)
    driven.start().token(1, jwt(driven.now + 3600)).opened(1)
    driven.received(1, welcome("e:5"))
    assert AskToken(1, "renew") in driven.passes(3550).asked()


def test_what_is_held_when_the_client_ends_is_given_before_the_end() -> None:
    driven = greeted()
    driven.received(1, message("error", {"code": "TOKEN_OF_ANOTHER_USER", "message": ""}))
    driven.closed(1, 4403)
    assert driven.status == "closed"
    assert [each.type for each in driven.passed] == ["error"]


# --- two connections --------------------------------------------------------------------------------------------------


def replaced(driven: Driven) -> Driven:
    """Let a second connection be opened beside the first, whose number is 1."""
    driven.passes(7000).token(2).opened(2)
    return driven


def test_a_connection_that_takes_over_is_asked_and_says_the_rest() -> None:
    driven = replaced(here())
    assert hellos(driven.asked()) == ["e:5"]
    assert not driven.received(1, said(6))
    driven.received(2, welcome("e:6", 6))
    assert not driven.received(1, said(7))
    assert driven.received(2, said(7))
    assert data_of(driven) == [6, 7]


def test_before_there_is_another_a_silent_connection_is_listened_to() -> None:
    driven = here()
    driven.answers = False
    driven.passes(25)
    assert driven.received(1, said(6))
    assert not driven.received(1, said(8))
    driven.token(2).opened(2)
    assert hellos(driven.asked()) == ["e:6"]


def test_an_old_connection_of_an_epoch_that_is_over_shuts_nobody_out() -> None:
    driven = replaced(here())
    driven.received(2, welcome("f:1", 1, recovered=False))
    assert not driven.received(1, state(500))
    assert driven.received(2, state(1))


def test_what_has_no_place_passes_once_whichever_connection_brings_it() -> None:
    driven = replaced(here())
    driven.received(2, welcome("e:5"))
    assert driven.received(1, message("call", message_id="a"))
    assert not driven.received(2, message("call", message_id="a"))


def test_where_the_server_keeps_nothing_a_message_passes_once_by_its_id() -> None:
    driven = greeted()
    driven.received(1, welcome(""))
    replaced(driven).received(2, welcome(""))
    assert driven.received(2, message("notification", message_id="a"))
    assert not driven.received(1, message("notification", message_id="a"))
    assert driven.received(1, message("notification", message_id="b"))


def test_a_replacement_where_the_server_keeps_nothing_is_no_loss_and_a_new_connection_is() -> None:
    driven = greeted()
    driven.received(1, welcome(""))
    driven.asked()
    assert hellos(replaced(driven).asked()) == [None]
    driven.received(2, welcome(""))
    driven.closed(2, 1006).passes(driven.wait)
    number = driven.next_number
    driven.asked()
    driven.token(number).opened(number)
    assert hellos(driven.asked()) == [""]


def test_what_was_held_passes_once_although_its_twin_comes_after_there_was_no_welcome() -> None:
    driven = here(replace_seconds=20, overlap_seconds=100)
    driven.passes(22).token(2).opened(2)
    driven.received(2, said(6, message_id="six"))
    driven.passes(6)
    assert data_of(driven) == [6]
    assert not driven.received(1, said(6, message_id="six"))
