"""Where a client is: the rules of "Coming back", one by one."""

import pytest

from tellwire.client.lanes import Cursor
from tellwire.client.place import Place
from tellwire.client.received import ReceivedMessage, WelcomePage


def log(offset: int, epoch: str = "e") -> ReceivedMessage:
    return ReceivedMessage("said", offset, cursor=f"{epoch}:{offset}")


def state(version: int, key: str = "upload:u") -> ReceivedMessage:
    return ReceivedMessage("upload_progress", version, key=key, version=version)


def call(number: int) -> ReceivedMessage:
    return ReceivedMessage("call", number)


def page(cursor: str, *messages: ReceivedMessage, recovered: bool = True, last: bool = True) -> WelcomePage:
    states = [each for each in messages if each.version is not None]
    return WelcomePage(cursor, recovered, [each for each in messages if each.version is None], states, last)


def held(cursor: str | None = None, max_held: int = 1000) -> Place:
    """Return the place of a client that has said hello."""
    place = Place(cursor, max_held)
    place.hold()
    place.hello()
    return place


def live(cursor: str) -> Place:
    """Return the place of a client that was here all the time."""
    place = held(cursor)
    place.page(page(cursor))
    return place


def passed(place: Place, *messages: ReceivedMessage) -> list[object]:
    return [each.data for message in messages for each in place.live(message)]


def told(place: Place, its: WelcomePage) -> list[object]:
    return [each.data for each in place.page(its).messages]


@pytest.mark.parametrize("text", ["", "0", "e", ":5", "e:", "e:x", "e:-1", "e:٣", "e:1234567890123456", None])
def test_what_names_no_place_is_none(text: str | None) -> None:
    assert Cursor.read(text) is None


def test_an_epoch_may_have_colons() -> None:
    assert Cursor.read("a:b:7") == ("a:b", 7)


def test_what_comes_before_the_last_page_waits_and_then_comes_after_it_in_order() -> None:
    place = held("e:2")
    assert passed(place, log(6), call(0), log(5), state(9)) == []
    assert told(place, page("e:4", log(3), last=False)) == [3]
    assert told(place, page("e:4", log(4), state(8))) == [4, 8, 5, 0, 6, 9]


def test_what_was_held_and_is_in_the_welcome_passes_once() -> None:
    place = held("e:2")
    assert passed(place, log(3), log(4), state(8)) == []
    assert told(place, page("e:4", log(3), log(4), state(8))) == [3, 4, 8]
    assert passed(place, log(4), log(5)) == [5]


def test_a_message_that_came_by_itself_goes_before_those_of_the_next_page() -> None:
    place = held("e:0")
    assert told(place, page("e:5", log(1), last=False)) == [1]
    assert passed(place, log(2), log(6)) == []
    assert told(place, page("e:5", log(3), last=False)) == [2, 3]
    assert passed(place, log(4)) == []
    assert told(place, page("e:5", log(5))) == [4, 5, 6]


def test_one_that_came_by_itself_at_the_very_end_is_not_taken_for_one_that_was_passed() -> None:
    place = held("e:0")
    assert told(place, page("e:2", log(1), last=False)) == [1]
    assert passed(place, log(2)) == []
    assert told(place, page("e:2")) == [2]


def test_what_a_welcome_leaves_out_does_not_make_it_ask_again() -> None:
    place = held("e:2")
    assert told(place, page("e:9", log(7), log(9))) == [7, 9]
    assert not place.wants_hello
    assert passed(place, log(10)) == [10]


@pytest.mark.parametrize("next_one", [log(7), log(1, "f"), log(6, "f")])
def test_an_offset_that_leaves_one_out_and_another_epoch_ask_again(next_one: ReceivedMessage) -> None:
    place = live("e:5")
    assert passed(place, next_one, log(6)) == []
    assert place.wants_hello
    assert place.hello() == "e:5"


def test_an_old_message_is_no_reason_to_ask_again() -> None:
    place = live("e:5")
    assert passed(place, log(5), log(1)) == []
    assert not place.wants_hello


def test_of_states_only_a_higher_version_of_the_key_passes() -> None:
    place = live("e:5")
    assert passed(place, state(3), state(3), state(2), state(1, "upload:v"), state(4)) == [3, 1, 4]


def test_without_recovery_the_log_begins_anew_and_that_is_told_at_the_end() -> None:
    place = held("e:70")
    first = place.page(page("f:9", log(4, "f"), recovered=False, last=False))
    assert ([each.data for each in first.messages], first.recovered) == ([4], None)
    last = place.page(page("f:9", log(9, "f"), recovered=False))
    assert ([each.data for each in last.messages], last.recovered) == ([9], False)
    assert place.cursor == "f:9"


def test_a_loss_is_told_even_if_the_connection_ends_within_the_welcome() -> None:
    place = held("e:70")
    place.page(page("f:9", log(4, "f"), recovered=False, last=False))
    assert place.lost_at == "e:70"
    place.hold()
    assert place.hello() == "f:4"
    assert place.page(page("f:9", log(5, "f"))).recovered is False
    assert not place.lost_at
    place.hold()
    place.hello()
    assert place.page(page("f:9")).recovered is True


def test_a_welcome_that_ends_before_its_first_message_is_asked_for_anew_from_the_beginning() -> None:
    place = held("e:70")
    place.page(page("f:9", state(1), recovered=False, last=False))
    place.hold()
    assert place.hello() == "0"


def test_versions_begin_anew_with_another_epoch() -> None:
    place = live("e:5")
    assert passed(place, state(30)) == [30]
    place.hold()
    place.hello()
    assert told(place, page("f:2", state(1), recovered=False)) == [1]
    assert passed(place, state(2)) == [2]


def test_states_that_may_be_of_an_epoch_that_is_over_shut_nobody_out() -> None:
    place = live("e:5")
    place.hold()
    place.hello()
    assert passed(place, state(30)) == []
    assert told(place, page("f:2", state(1), recovered=False)) == [1]
    assert place.wants_hello
    place.hello()
    assert told(place, page("f:2", state(2))) == [2]


def test_a_client_without_a_cursor_begins_with_the_first_message_that_it_hears() -> None:
    place = held()
    assert passed(place, log(4)) == []
    assert told(place, page("e:6")) == [4]
    assert passed(place, log(5), log(6), log(7)) == [5, 6, 7]
    assert not place.wants_hello


def test_what_was_published_while_it_connected_may_come_after_the_welcome() -> None:
    place = held()
    assert told(place, page("e:6")) == []
    assert passed(place, log(6), log(7)) == [6, 7]
    assert place.cursor == "e:7"


def test_what_comes_then_after_a_gap_is_asked_for() -> None:
    place = held()
    assert told(place, page("e:6")) == []
    assert passed(place, log(8)) == []
    assert place.hello() == "e:6"


def test_a_client_without_a_cursor_that_lost_its_first_connection_misses_nothing_that_it_heard() -> None:
    place = held()
    passed(place, log(5), log(4), call(1))
    place.hold()
    assert place.hello() == "e:3"
    assert told(place, page("e:5", log(4), log(5))) == [4, 5, 1]


def test_without_a_welcome_everything_passes_and_a_gap_is_told_later() -> None:
    place = held("e:2")
    assert passed(place, log(5), call(0), log(4)) == []
    assert [each.data for each in place.let_go()] == [4, 0, 5]
    assert passed(place, log(9), state(2), state(1)) == [9, 2, 1]
    assert place.lost_at == "e:2"
    late = place.page(page("e:9", log(3), log(9)))
    assert (late.messages, late.recovered) == ([], False)


def test_a_welcome_that_is_late_still_counts() -> None:
    place = held("e:2")
    assert place.let_go() == []
    told_late = place.page(page("e:4", log(3), log(4)))
    assert ([each.data for each in told_late.messages], told_late.recovered) == ([3, 4], True)
    assert passed(place, log(6)) == []
    assert place.wants_hello


def test_where_the_server_keeps_nothing_everything_passes() -> None:
    place = held()
    passed(place, call(1))
    assert told(place, page("")) == [1]
    assert place.is_loose
    assert passed(place, call(1), call(1)) == [1, 1]


def test_who_comes_back_to_a_server_that_keeps_nothing_says_that_it_was_here() -> None:
    place = held()
    place.page(page(""))
    place.hold(missed_nothing=True)
    assert place.hello() is None
    place.page(page(""))
    place.hold()
    assert place.hello() == ""
    assert place.page(page("", recovered=False)).recovered is False


def test_what_is_held_is_bounded_and_what_was_left_out_is_asked_for() -> None:
    place = held("e:0", max_held=2)
    assert passed(place, log(5), log(6), log(7), state(3)) == []
    assert told(place, page("e:8", *map(log, range(1, 9)))) == [1, 2, 3, 4, 5, 6]
    assert place.hello() == "e:6"
    assert told(place, page("e:8", log(7), log(8), state(3))) == [7, 8, 3]
    assert not place.wants_hello


def test_what_has_no_place_is_never_left_out() -> None:
    place = held("e:0", max_held=2)
    assert passed(place, log(5), call(1), call(2), call(3)) == [1, 2]
    assert told(place, page("e:4", *map(log, range(1, 5)))) == [1, 2, 3, 4, 5, 3]


def test_at_the_end_of_all_what_is_next_is_given_and_the_rest_stays_with_the_server() -> None:
    place = held("e:2")
    passed(place, log(3), log(5), call(1))
    assert [each.data for each in place.flush()] == [3, 1]
    assert place.cursor == "e:3"


def test_the_keys_that_are_remembered_are_bounded() -> None:
    place = live("e:5")
    for number in range(1500):
        place.live(state(number + 1, f"upload:{number}"))
    assert len(place._versions) == 1000
