"""The machine where no trace of `spec/client` can see it: time that jumps, an application that does not keep up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellwire.client.actions import Settle
from tests.unit.client.driven import PING, AskToken, Close, Driven, Drop, Send, jwt, message

HOUR = 3600.0


def pings(driven: Driven) -> int:
    return sum(isinstance(each, Send) and each.payload == PING for each in driven.asked())


def silent(seconds: float) -> Driven:
    """Return a connection whose server has said nothing for so long, and does not answer pings."""
    driven = Driven(jitter=1.0).connected()
    driven.answers = False
    return driven.passes(seconds)


def test_it_begins_idle_and_waits_for_nothing() -> None:
    driven = Driven()
    assert driven.status == "idle"
    assert driven.machine.due is None


def test_the_state_is_the_same_object_until_it_changes() -> None:
    driven = Driven().connected()
    before = driven.state
    driven.passes(100)
    driven.received(1, message("notification"))
    assert driven.state is before


def test_a_token_is_never_printed() -> None:
    driven = Driven().start().token(1, "s3cret")
    assert "s3cret" not in repr(driven.asked())
    driven.opened(1).token(1, "s3cret-too")
    assert "s3cret" not in repr(driven.asked())


def test_the_reason_stays_until_it_is_open_again() -> None:
    driven = Driven().start().unreachable(1)
    reason = driven.state.reason
    assert driven.passes(1).state.reason is reason
    assert driven.token(2).opened(2).state.reason is None


# --- the end ----------------------------------------------------------------------------------------------------------


def test_the_program_may_give_up_on_what_the_client_would_come_back_from() -> None:
    driven = Driven(gives_up=lambda reason: reason.code == 401).start().token(1).refused(1, 401, "TOKEN_EXPIRED")
    assert driven.status == "closed"
    assert driven.state.reason is not None
    assert driven.state.reason.error == "TOKEN_EXPIRED"


def test_a_dead_connection_may_be_given_up() -> None:
    driven = Driven(gives_up=lambda reason: reason.kind == "lost").connected()
    driven.answers = False
    driven.passes(245)
    assert driven.status == "closed"
    assert driven.asked()[-1] == Drop(1)


def test_stop_closes_what_is_open_and_drops_what_is_not() -> None:
    assert Driven().start().stop().asked()[1:] == [Drop(1)]
    driven = Driven().connected().stop()
    assert driven.asked() == [Close(1)]
    assert driven.machine.due is None
    assert driven.stop().asked() == []


def test_what_comes_after_the_end_changes_nothing() -> None:
    driven = Driven().connected().stop()
    driven.asked()
    driven.closed(1, 4401).token(1).opened(1).refused(1, 401).unreachable(1).no_token(1).passes(HOUR)
    driven.does(driven.machine.wake(driven.now))
    assert not driven.received(1, message("notification"))
    assert driven.asked() == []
    assert driven.statuses == ["connecting", "open", "closed"]


# --- an application that does not keep up -----------------------------------------------------------------------------


def test_a_program_that_does_not_read_says_nothing_of_the_server() -> None:
    driven = silent(200)
    driven.machine.stalled(1)
    assert driven.passes(600).status == "open"
    driven.sleeps(600)
    driven.asked()
    assert driven.passes(10).status == "open"
    driven.machine.resumed(1, driven.now)
    assert pings(driven.passes(240)) == 1


# --- sleep ------------------------------------------------------------------------------------------------------------


def test_a_connection_is_probed_when_the_computer_has_slept() -> None:
    driven = silent(0).sleeps(HOUR)
    assert pings(driven) == 1
    driven.passes(1.9)
    assert driven.status == "open"
    driven.passes(0.1)
    assert driven.statuses[2:] == ["connecting"]


def test_a_connection_that_has_survived_the_sleep_stays() -> None:
    driven = Driven().connected().sleeps(HOUR)
    assert driven.passes(10).statuses == ["connecting", "open"]


def test_a_ping_that_was_under_way_is_not_held_against_the_server() -> None:
    driven = silent(241).sleeps(HOUR)
    assert driven.status == "open"


def test_what_was_waited_for_is_tried_after_a_sleep() -> None:
    driven = Driven(jitter=1.0).start()
    for number in range(1, 10):
        driven.unreachable(number).passes(driven.wait)
    driven.unreachable(10)
    assert driven.wait == 30
    assert driven.sleeps(12).status == "connecting"
    assert driven.unreachable(11).wait == 0.5


def test_an_attempt_that_a_sleep_interrupted_is_given_up() -> None:
    driven = Driven().start().token(1)
    driven.asked()
    assert driven.sleeps(60).asked() == [Drop(1)]
    assert driven.passes(0.25).asked() == [AskToken(2, "connect")]


def test_a_tick_that_is_a_little_late_is_no_sleep() -> None:
    driven = Driven().connected().sleeps(9)
    assert driven.asked() == []


def test_a_clock_that_is_put_back_does_not_keep_it_waiting() -> None:
    driven = Driven(jitter=1.0).start().unreachable(1)
    assert driven.sleeps(-HOUR).status == "connecting"
    driven = Driven().connected().sleeps(-HOUR)
    driven.asked()
    assert driven.passes(241).status == "open"
    assert pings(driven) == 1


# --- whatever happens -------------------------------------------------------------------------------------------------

EVENTS = st.one_of(
    st.tuples(st.just("token"), st.sampled_from(["a.b.c", jwt(1_000_050), jwt(1_003_600)])),
    st.tuples(st.just("token"), st.none()),
    st.tuples(st.just("opened"), st.none()),
    st.tuples(st.just("refused"), st.sampled_from([400, 401, 429, 503])),
    st.tuples(st.just("unreachable"), st.none()),
    st.tuples(st.just("closed"), st.sampled_from([1000, 1001, 1006, 1012, 4401])),
    st.tuples(st.just("received"), st.sampled_from(["notification", "pong", "auth_ok", "error"])),
    st.tuples(st.just("passes"), st.floats(0, 8000)),
    st.tuples(st.just("sleeps"), st.floats(-8000, 8000)),
    st.tuples(st.just("wakes"), st.none()),
)


@given(st.lists(st.tuples(st.integers(1, 6), EVENTS), max_size=40), st.floats(0, 0.999))
def test_whatever_happens_it_is_never_stuck_and_never_spins(
    events: list[tuple[int, tuple[str, object]]], jitter: float
) -> None:
    driven = Driven(jitter=jitter).start()
    for number, (event, value) in events:
        match event:
            case "received":
                driven.received(number, message(str(value)))
            case "passes" | "sleeps":
                getattr(driven, event)(value)
            case "wakes":
                driven.does(driven.machine.wake(driven.now))
            case _:
                getattr(driven, event)(number, *([] if value is None else [value]))
        assert driven.status in ("connecting", "open", "waiting")
        for _ in range(3):
            if (driven.machine.due or 0) <= driven.now:
                driven.does(driven.machine.tick(driven.now))
        assert driven.machine.due is not None
        assert driven.now < driven.machine.due <= driven.now + 5


@pytest.mark.parametrize("seconds", [0.001, 9])
def test_a_late_tick_of_a_stalled_link_does_not_matter(seconds: float) -> None:
    driven = silent(239)
    driven.machine.stalled(1)
    assert driven.sleeps(seconds).status == "open"


# --- requests ---------------------------------------------------------------------------------------------------------


def outcomes(driven: Driven) -> list[str]:
    """Return the codes of the requests that were given up."""
    return [each.error.code for each in driven.asked() if isinstance(each, Settle) and each.error is not None]


def test_the_time_of_a_request_goes_on_while_the_computer_sleeps() -> None:
    driven = Driven().connected()
    driven.machine.request("r1", b"{}", driven.now + 30)
    assert outcomes(driven.sleeps(HOUR)) == ["TIMEOUT"]


def test_a_request_is_given_up_in_its_time_although_the_clock_was_set_back() -> None:
    driven = Driven().connected()
    driven.machine.request("r1", b"{}", driven.now + 30)
    driven.sleeps(-HOUR)
    assert outcomes(driven.passes(25)) == []
    assert outcomes(driven.passes(11)) == ["TIMEOUT"]
