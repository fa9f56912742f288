"""The client's states, one transition after the other, on a clock that only moves when told."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellwire.client.reasons import CLOSE_CODES, ComeBack
from tests.unit.client.driven import AskToken, Close, Driven, Drop, Open, Ping, Send, jwt, message

HOUR = 3600.0


# --- from idle to open ------------------------------------------------------------------------------------------------


def test_it_begins_idle_and_waits_for_nothing() -> None:
    driven = Driven()
    assert driven.status == "idle"
    assert driven.machine.due is None


def test_it_asks_for_a_token_then_connects_then_is_open() -> None:
    driven = Driven().start()
    assert (driven.state.status, driven.state.attempt) == ("connecting", 1)
    assert driven.asked() == [AskToken(1, "connect")]
    assert driven.token(1, "a.b.c").asked() == [Open(1, "a.b.c")]
    driven.opened(1)
    assert driven.statuses == ["connecting", "open"]
    assert (driven.state.attempt, driven.state.reason, driven.state.retry_at) == (0, None, None)


def test_the_state_is_the_same_object_until_it_changes() -> None:
    driven = Driven().connected()
    before = driven.state
    driven.passes(100)
    driven.received(1, message("notification"))
    driven.heard(1)
    assert driven.state is before


def test_a_token_is_never_printed() -> None:
    driven = Driven().start().token(1, "s3cret")
    assert "s3cret" not in repr(driven.asked())
    driven.opened(1).token(1, "s3cret-too")
    assert "s3cret" not in repr(driven.asked())


# --- waiting ----------------------------------------------------------------------------------------------------------


def test_waits_double_from_half_a_second_to_thirty() -> None:
    driven = Driven(jitter=1.0).start()
    waits = []
    for number in range(1, 12):
        driven.token(number).unreachable(number)
        waits.append(driven.wait)
        driven.passes(driven.wait)
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30]
    assert driven.state.attempt == 12


def test_a_wait_is_anything_from_nothing_to_its_bound() -> None:
    assert Driven(jitter=0.0).start().unreachable(1).wait == 0
    assert Driven(jitter=0.25).start().unreachable(1).wait == 0.125


def test_the_reason_stays_until_it_is_open_again() -> None:
    driven = Driven().start().unreachable(1)
    assert driven.state.reason is not None
    assert driven.state.reason.kind == "lost"
    driven.passes(1)
    assert driven.status == "connecting"
    assert driven.state.reason is not None
    driven.token(2).opened(2)
    assert driven.state.reason is None


def test_the_bound_is_the_first_again_only_after_ten_seconds_open() -> None:
    driven = Driven(jitter=1.0).start()
    for number in (1, 2, 3):
        driven.unreachable(number).passes(driven.wait)
    number = driven.reconnects()
    driven.passes(9.9).closed(number, 1012)
    assert driven.wait == 4.0
    number = driven.reconnects()
    driven.passes(10).closed(number, 1012)
    assert driven.wait == 0.5


def test_a_server_that_lets_in_and_falls_over_is_left_alone() -> None:
    driven = Driven(jitter=1.0).connected()
    number = 1
    waits = []
    for _ in range(4):
        driven.closed(number, 1001)
        waits.append(driven.wait)
        number = driven.reconnects()
    assert waits == [0, 1, 2, 4]


def test_at_once_is_for_the_first_failure_whatever_the_bounds() -> None:
    driven = Driven(jitter=1.0, first_wait_seconds=1, longest_wait_seconds=1).connected()
    driven.closed(1, 1001)
    assert driven.wait == 0
    driven.closed(driven.reconnects(), 1001)
    assert driven.wait == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_names_a_time_is_given_it_and_a_jitter_more(status: int) -> None:
    driven = Driven(jitter=1.0).start().token(1).refused(1, status, retry_after=5)
    assert driven.wait == 5.5
    driven.passes(5.4)
    assert driven.status == "waiting"
    assert driven.passes(0.1).status == "connecting"


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_every_attempt_asks_for_a_token() -> None:
    driven = Driven().start()
    driven.unreachable(1).passes(30).token(2).unreachable(2).passes(30)
    assert [each for each in driven.asked() if isinstance(each, AskToken)] == [
        AskToken(1, "connect"),
        AskToken(2, "connect"),
        AskToken(3, "connect"),
    ]


@pytest.mark.parametrize("error", ["TOKEN_EXPIRED", "TOKEN_INVALID", "TOKEN_MISSING", None])
def test_a_handshake_refused_for_its_token_asks_for_another_at_once(error: str | None) -> None:
    driven = Driven().start().token(1).refused(1, 401, error)
    assert driven.state.reason is not None
    assert (driven.state.reason.kind, driven.state.reason.code, driven.state.reason.error) == ("token", 401, error)
    assert driven.wait == 0
    assert driven.passes(0).why == "refused"


def test_a_token_that_is_refused_again_is_asked_for_with_backoff() -> None:
    driven = Driven(jitter=1.0).start()
    waits = []
    for number in (1, 2, 3):
        waits.append(driven.token(number).refused(number, 401, "TOKEN_EXPIRED").wait)
        driven.passes(driven.wait)
    assert waits == [0, 1, 2]


def test_4401_asks_for_another_token() -> None:
    driven = Driven().connected().passes(HOUR).closed(1, 4401, "Token expired")
    assert driven.state.reason is not None
    assert driven.state.reason.kind == "token"
    assert driven.passes(0).why == "refused"


@pytest.mark.parametrize("error", ["TOKEN_EXPIRED", "TOKEN_INVALID"])
def test_1000_after_an_error_about_the_token_is_how_aws_says_4401(error: str) -> None:
    driven = Driven().connected().passes(HOUR)
    assert driven.received(1, message("error", {"code": error, "message": "words"}))
    assert driven.received(1, message("notification"))
    assert driven.received(1, message("error", {"code": "BAD_ROWS", "message": "an upload's"}))
    driven.closed(1, 1000)
    assert driven.state.reason is not None
    assert (driven.state.reason.kind, driven.state.reason.code) == ("token", 4401)
    assert driven.state.reason.error == error
    assert driven.state.reason.message == "words"
    assert driven.passes(0).why == "refused"


def test_an_error_long_before_a_close_is_not_its_reason() -> None:
    driven = Driven().connected()
    driven.received(1, message("error", {"code": "TOKEN_EXPIRED", "message": "words"}))
    driven.passes(60).closed(1, 1000)
    assert driven.state.reason is not None
    assert (driven.state.reason.kind, driven.state.reason.error) == ("server", None)


def test_an_error_of_one_connection_is_no_reason_of_the_next() -> None:
    driven = Driven().connected()
    driven.received(1, message("error", {"code": "TOKEN_EXPIRED", "message": "words"}))
    driven.closed(1, 1000)
    driven.closed(driven.reconnects(), 1000)
    assert driven.state.reason is not None
    assert driven.state.reason.kind == "server"


def test_a_connection_that_aws_forgot_comes_back_at_once() -> None:
    driven = Driven(jitter=1.0).connected().passes(60)
    driven.received(1, message("error", {"code": "CONNECTION_UNKNOWN", "message": "words"}))
    driven.closed(1, 1000)
    assert driven.wait == 0
    assert driven.passes(0).why == "connect"


def test_a_token_that_cannot_be_had_is_a_failed_attempt() -> None:
    driven = Driven(jitter=1.0).start().no_token(1, "the login page is down")
    assert driven.state.reason is not None
    assert (driven.state.reason.kind, driven.state.reason.message) == ("token", "the login page is down")
    assert driven.wait == 0.5
    assert driven.passes(1).why == "connect"


def test_a_token_is_still_refused_after_a_failure_to_get_another() -> None:
    driven = Driven().connected().passes(HOUR).closed(1, 4401).passes(0)
    driven.no_token(2).passes(30)
    assert driven.why == "refused"
    driven.token(3).unreachable(3).passes(30)
    assert driven.why == "connect"


# --- renewal ----------------------------------------------------------------------------------------------------------


def test_a_token_is_renewed_between_two_minutes_and_one_before_it_expires() -> None:
    for jitter, before in ((0.0, 60), (1.0, 120)):
        driven = Driven(jitter=jitter)
        driven.connected(jwt(driven.now + HOUR))
        while not any(isinstance(each, AskToken) for each in driven.asked()):
            driven.passes(1)
        assert driven.now == pytest.approx(1_000_000 + HOUR - before, abs=1)


def test_the_new_token_goes_out_as_auth_and_auth_ok_says_until_when() -> None:
    driven = Driven()
    driven.connected(jwt(driven.now + 100))
    assert AskToken(1, "renew") in driven.passes(90).asked()
    (send,) = driven.token(1, "new").asked()
    assert isinstance(send, Send)
    assert json.loads(send.payload) == {"type": "auth", "token": "new"}
    later = {"expiresAt": "1970-01-12T14:00:00.000Z"}
    assert not driven.received(1, message("auth_ok", later))
    assert AskToken(1, "renew") not in driven.passes(600).asked()
    assert driven.status == "open"
    left = 12 * 3600 * 24 - 10 * 3600 - driven.now
    assert AskToken(1, "renew") in driven.passes(left).asked()


def test_without_a_time_in_auth_ok_the_new_token_says_it() -> None:
    driven = Driven()
    driven.connected(jwt(driven.now + 100))
    driven.passes(90).token(1, jwt(driven.now + HOUR)).received(1, message("auth_ok"))
    driven.asked()
    assert AskToken(1, "renew") not in driven.passes(3000).asked()
    assert AskToken(1, "renew") in driven.passes(600).asked()


def test_a_token_that_has_not_changed_is_not_sent() -> None:
    driven = Driven()
    token = jwt(driven.now + 100)
    driven.connected(token)
    driven.passes(90).asked()
    assert driven.token(1, token).asked() == []


def test_a_renewal_that_fails_is_tried_again_a_few_times_before_the_token_expires() -> None:
    driven = Driven()
    driven.connected(jwt(driven.now + HOUR))
    tries = 0
    for _ in range(int(HOUR)):
        if AskToken(1, "renew") in driven.passes(1).asked():
            driven.no_token(1)
            tries += 1
    assert 3 <= tries <= 10
    assert driven.status == "open"


def test_a_renewal_is_tried_at_most_once_a_second() -> None:
    driven = Driven()
    driven.connected(jwt(driven.now + 5))
    tries = 0
    for _ in range(500):
        if AskToken(1, "renew") in driven.passes(0.01).asked():
            driven.no_token(1)
            tries += 1
    assert tries == 3


def test_keys_that_are_unavailable_change_nothing_and_auth_comes_again() -> None:
    driven = Driven()
    driven.connected(jwt(driven.now + 100))
    driven.passes(75).token(1, "new").asked()
    assert driven.received(1, message("error", {"code": "KEYS_UNAVAILABLE", "message": "later"}))
    assert AskToken(1, "renew") in driven.passes(20).asked()
    assert driven.status == "open"


def test_a_token_that_the_server_took_although_it_has_expired_here_is_not_renewed() -> None:
    driven = Driven()
    driven.connected(jwt(driven.now - HOUR))
    assert not any(isinstance(each, AskToken) for each in driven.passes(600).asked())


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "a.e30.c", "a.eyJleHAiOiJub3cifQ.c", "..", ""])
def test_a_token_that_does_not_say_when_it_expires_is_not_renewed(token: str) -> None:
    driven = Driven().connected(token)
    assert not any(isinstance(each, AskToken) for each in driven.passes(HOUR).asked())


def test_a_token_for_a_connection_that_is_gone_is_not_used() -> None:
    driven = Driven()
    driven.connected(jwt(driven.now + 100))
    driven.passes(90).closed(1, 1006)
    driven.asked()
    assert driven.token(1, "late").asked() == []
    assert driven.no_token(1).asked() == []
    assert driven.status == "waiting"


# --- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [4400, 4403])
def test_what_the_server_will_never_have_is_closed_for_good(code: int) -> None:
    driven = Driven().connected().closed(1, code, "TOKEN_OF_ANOTHER_USER")
    assert driven.status == "closed"
    assert driven.state.reason is not None
    assert (driven.state.reason.kind, driven.state.reason.code) == ("final", code)
    assert driven.machine.due is None


def test_the_token_of_another_user_before_1000_is_how_aws_says_4403() -> None:
    driven = Driven().connected()
    driven.received(1, message("error", {"code": "TOKEN_OF_ANOTHER_USER", "message": "words"}))
    assert driven.closed(1, 1000).status == "closed"


@pytest.mark.parametrize(
    ("status", "error"), [(400, "BAD_HANDSHAKE"), (403, "ORIGIN_NOT_ALLOWED"), (426, "UPGRADE_REQUIRED")]
)
def test_a_handshake_that_can_never_succeed_is_not_tried_again(status: int, error: str) -> None:
    assert Driven().start().token(1).refused(1, status, error).status == "closed"


@pytest.mark.parametrize("status", [301, 400, 404, 500, 502, 503])
def test_a_status_without_a_code_of_ours_is_tried_again(status: int) -> None:
    assert Driven().start().token(1).refused(1, status).status == "waiting"


def test_the_program_may_give_up_on_what_the_client_would_come_back_from() -> None:
    driven = Driven(gives_up=lambda reason: reason.code == 401).start().token(1).refused(1, 401, "TOKEN_EXPIRED")
    assert driven.status == "closed"
    assert driven.state.reason is not None
    assert driven.state.reason.error == "TOKEN_EXPIRED"


def test_stop_closes_what_is_open_and_drops_what_is_not() -> None:
    assert Driven().start().stop().asked()[1:] == [Drop(1)]
    driven = Driven().connected().stop()
    assert driven.asked() == [Close(1)]
    assert (driven.state.status, driven.state.reason) == ("closed", None)
    assert driven.machine.due is None
    assert driven.stop().asked() == []


def test_what_comes_after_the_end_changes_nothing() -> None:
    driven = Driven().connected().stop()
    driven.asked()
    driven.closed(1, 4401).token(1).opened(1).refused(1, 401).unreachable(1).no_token(1).passes(HOUR)
    driven.heard(1)
    assert not driven.received(1, message("notification"))
    assert driven.asked() == []
    assert driven.statuses == ["connecting", "open", "closed"]


@pytest.mark.parametrize("code", [1005, 1008, 1011, 1014, 3000, 4000, 4999])
def test_a_code_that_nobody_knows_comes_back_with_backoff(code: int) -> None:
    driven = Driven(jitter=1.0).connected().closed(1, code, "whatever")
    assert driven.wait == 0.5


def test_every_code_of_the_table_does_what_it_says() -> None:
    for code, rule in CLOSE_CODES.items():
        driven = Driven(jitter=1.0).connected().passes(15).closed(1, code)
        match rule.come_back:
            case ComeBack.NEVER:
                assert driven.status == "closed"
            case ComeBack.AT_ONCE:
                assert driven.wait == 0
            case ComeBack.WITH_BACKOFF:
                assert driven.wait == 0.5
        assert driven.state.reason is not None
        assert driven.state.reason.kind == rule.kind


# --- signs of life ----------------------------------------------------------------------------------------------------


def silent(seconds: float) -> Driven:
    """Return a connection whose server has said nothing for so long, and does not answer pings."""
    driven = Driven(jitter=1.0).connected()
    driven.answers = False
    return driven.passes(seconds)


def test_a_quiet_server_is_asked_by_a_websocket_ping() -> None:
    driven = Driven().connected()
    assert driven.passes(19.9).asked() == []
    assert driven.passes(0.1).asked() == [Ping(1)]


def test_after_four_minutes_without_a_message_comes_a_ping_of_the_protocol() -> None:
    driven = Driven().connected()
    assert not any(isinstance(each, Send) for each in driven.passes(239).asked())
    sends = [each for each in driven.passes(6).asked() if isinstance(each, Send)]
    assert [json.loads(each.payload) for each in sends] == [{"type": "ping"}]


def test_a_ping_of_the_protocol_does_not_wait_for_one_of_websocket() -> None:
    driven = Driven(ping_seconds=1000).connected()
    assert driven.passes(239).asked() == []
    assert [type(each) for each in driven.passes(1).asked()] == [Ping, Send]


def test_messages_in_either_direction_put_the_ping_off() -> None:
    driven = Driven().connected()
    driven.passes(200)
    driven.received(1, message("notification"))
    driven.passes(200)
    assert driven.machine.speaks(driven.now) == 1
    driven.passes(200)
    assert not any(isinstance(each, Send) for each in driven.asked())


@pytest.mark.parametrize("sign", ["message", "pong", "heard"])
def test_anything_heard_is_life(sign: str) -> None:
    driven = silent(24)
    if sign == "heard":
        driven.heard(1)
    else:
        driven.received(1, message(sign))
    assert driven.passes(20).status == "open"


def test_a_server_that_does_not_answer_for_five_seconds_is_left_at_once() -> None:
    driven = silent(24.9)
    assert driven.status == "open"
    driven.asked()
    driven.passes(0.1)
    assert driven.statuses[2:] == ["waiting", "connecting"]
    assert driven.asked() == [AskToken(2, "connect")]
    assert driven.state.reason is not None
    assert (driven.state.reason.kind, driven.state.reason.message) == ("lost", "no sign of life")


def test_a_server_that_was_only_slow_is_still_listened_to_for_a_while() -> None:
    driven = silent(25).token(2)
    driven.asked()
    assert driven.received(1, message("notification", message_id="late"))
    driven.opened(2)
    assert driven.machine.speaks(driven.now) == 2
    assert not driven.received(2, message("notification", message_id="late"))
    assert driven.passes(5).asked() == [Close(1)]
    assert not driven.received(1, message("notification"))
    assert driven.status == "open"


def test_two_silent_servers_after_another_leave_one_to_listen_to() -> None:
    driven = Driven(overlap_seconds=1000).connected()
    driven.answers = False
    driven.passes(25).token(2).opened(2)
    driven.asked()
    assert driven.passes(25).asked()[-2:] == [Close(1), AskToken(3, "connect")]
    assert driven.received(2, message("notification"))
    assert not driven.received(1, message("notification"))


def test_a_silent_server_may_be_given_up() -> None:
    driven = Driven(gives_up=lambda reason: reason.kind == "lost").connected()
    driven.answers = False
    driven.passes(25)
    assert driven.status == "closed"
    assert driven.asked()[-1] == Drop(1)


def test_a_program_that_does_not_read_says_nothing_of_the_server() -> None:
    driven = silent(20)
    driven.machine.stalled(1)
    assert driven.passes(600).status == "open"
    driven.sleeps(600)
    driven.asked()
    assert driven.passes(10).status == "open"
    driven.heard(1)
    assert Ping(1) in driven.passes(20).asked()


# --- sleep ------------------------------------------------------------------------------------------------------------


def test_a_connection_is_probed_when_the_computer_wakes() -> None:
    driven = silent(0).sleeps(HOUR)
    ping, send = driven.asked()[:2]
    assert (ping, isinstance(send, Send)) == (Ping(1), True)
    driven.passes(1.9)
    assert driven.status == "open"
    driven.passes(0.1)
    assert driven.statuses[2:] == ["waiting", "connecting"]


def test_a_connection_that_has_survived_the_sleep_stays() -> None:
    driven = Driven().connected().sleeps(HOUR)
    assert driven.passes(10).statuses == ["connecting", "open"]


def test_a_probe_that_was_under_way_is_not_held_against_the_server() -> None:
    driven = silent(21).sleeps(HOUR)
    assert driven.status == "open"


def test_after_a_sleep_the_new_connection_comes_without_backoff() -> None:
    driven = Driven(jitter=1.0).connected().passes(5).closed(1, 1012)
    driven.reconnects()
    driven.answers = False
    driven.sleeps(HOUR).passes(2)
    assert driven.statuses[-2:] == ["waiting", "connecting"]


def test_what_was_waited_for_is_tried_on_waking() -> None:
    driven = Driven(jitter=1.0).start()
    for number in range(1, 10):
        driven.unreachable(number).passes(driven.wait)
    driven.unreachable(10)
    assert driven.wait == 30
    assert driven.sleeps(12).status == "connecting"
    assert driven.unreachable(11).wait == 0.5


def test_an_attempt_that_was_under_way_is_begun_anew_on_waking() -> None:
    driven = Driven().start().token(1)
    driven.asked()
    assert driven.sleeps(60).asked() == [Drop(1), AskToken(2, "connect")]
    assert driven.status == "connecting"


def test_a_tick_that_is_a_little_late_is_no_sleep() -> None:
    driven = Driven().connected().sleeps(9)
    assert driven.asked() == []


def test_a_clock_that_is_put_back_does_not_keep_it_waiting() -> None:
    driven = Driven(jitter=1.0).start().unreachable(1)
    assert driven.sleeps(-HOUR).status == "connecting"
    driven = Driven().connected().sleeps(-HOUR)
    driven.asked()
    assert driven.passes(21).status == "open"
    assert Ping(1) in driven.asked()


# --- two hours --------------------------------------------------------------------------------------------------------


def to_replacement(driven: Driven) -> Driven:
    """Let time pass until a second connection is begun."""
    while not any(isinstance(each, AskToken) for each in driven.asked()):
        driven.passes(1)
    return driven


def test_a_replacement_asks_for_any_token_even_if_one_was_refused_before() -> None:
    driven = Driven().start().token(1).refused(1, 401, "TOKEN_EXPIRED").passes(0).token(2).opened(2)
    assert driven.why == "refused"
    driven.asked()
    driven.passes(2 * HOUR)
    assert driven.why == "connect"


@pytest.mark.parametrize(("jitter", "minutes"), [(0.0, 105.6), (0.5, 110), (1.0, 114.4)])
def test_a_new_connection_is_begun_before_the_two_hours_are_over(jitter: float, minutes: float) -> None:
    driven = Driven(jitter=jitter).connected()
    to_replacement(driven)
    assert driven.now == pytest.approx(1_000_000 + minutes * 60, abs=1)
    assert driven.status == "open"


def test_the_new_connection_is_opened_before_the_old_is_closed() -> None:
    driven = Driven().connected()
    to_replacement(driven)
    assert driven.token(2, "d.e.f").asked() == [Open(2, "d.e.f")]
    driven.opened(2)
    assert driven.asked() == []
    assert driven.machine.speaks(driven.now) == 2
    driven.passes(4.9)
    assert driven.asked() == []
    assert driven.passes(0.1).asked() == [Close(1)]
    assert driven.closed(1, 1000).statuses == ["connecting", "open"]


def test_a_message_on_both_connections_is_passed_once() -> None:
    driven = Driven().connected()
    to_replacement(driven)
    assert driven.received(1, message("notification", message_id="before"))
    driven.token(2).opened(2)
    assert not driven.received(2, message("notification", message_id="before"))
    assert driven.received(2, message("notification", message_id="both"))
    assert not driven.received(1, message("notification", message_id="both"))
    assert driven.received(1, message("notification", message_id="old only"))
    driven.passes(5).closed(1, 1000)
    assert not driven.received(2, message("notification", message_id="old only"))


def test_a_message_without_an_id_is_passed_as_often_as_it_comes() -> None:
    driven = Driven().connected()
    to_replacement(driven).token(2).opened(2)
    assert driven.received(1, message("notification"))
    assert driven.received(2, message("notification"))


def test_ids_are_forgotten_when_there_is_one_connection_again() -> None:
    driven = Driven().connected()
    assert driven.received(1, message("notification", message_id="a"))
    assert driven.received(1, message("notification", message_id="a"))
    to_replacement(driven).token(2).opened(2)
    assert driven.received(2, message("notification", message_id="b"))
    driven.passes(15)
    assert driven.received(2, message("notification", message_id="b"))


def test_ids_remembered_are_bounded() -> None:
    driven = Driven().connected()
    to_replacement(driven)
    for number in range(8193):
        assert driven.received(1, message("notification", message_id=str(number)))
    assert not driven.received(1, message("notification", message_id="1"))
    assert driven.received(1, message("notification", message_id="0"))


def test_a_replacement_that_fails_is_tried_again_while_the_old_connection_lives() -> None:
    driven = Driven(jitter=1.0).connected()
    to_replacement(driven).token(2).unreachable(2)
    assert driven.status == "open"
    driven.asked()
    assert driven.passes(0.4).asked() == []
    assert driven.passes(0.2).asked() == [AskToken(3, "connect")]
    driven.token(3).refused(3, 401, "TOKEN_EXPIRED").passes(1)
    assert driven.why == "refused"
    assert driven.statuses == ["connecting", "open"]


def test_a_replacement_under_way_takes_over_when_the_old_connection_ends() -> None:
    driven = Driven().connected()
    to_replacement(driven).token(2).closed(1, 1001)
    assert driven.status == "connecting"
    assert driven.opened(2).status == "open"
    assert driven.machine.speaks(driven.now) == 2
    driven.closed(2, 1012)
    assert driven.status == "waiting"


def test_the_old_connection_may_end_by_itself_after_the_new_is_open() -> None:
    driven = Driven().connected()
    to_replacement(driven).token(2).opened(2).closed(1, 4401)
    assert driven.passes(10).statuses == ["connecting", "open"]
    assert Close(1) not in driven.asked()


def test_a_final_word_on_the_old_connection_ends_the_new_one_too() -> None:
    driven = Driven().connected()
    to_replacement(driven).token(2).closed(1, 4403)
    assert driven.status == "closed"
    assert Drop(2) in driven.asked()


def test_stop_ends_all_three() -> None:
    driven = Driven(replace_seconds=100, overlap_seconds=1000).connected()
    to_replacement(driven).token(2).opened(2)
    assert AskToken(3, "connect") in driven.passes(120).asked()
    assert driven.stop().asked() == [Drop(1), Close(2), Drop(3)]


# --- whatever happens -------------------------------------------------------------------------------------------------

EVENTS = st.one_of(
    st.tuples(st.just("token"), st.sampled_from(["a.b.c", jwt(1_000_050), jwt(1_003_600)])),
    st.tuples(st.just("token"), st.none()),
    st.tuples(st.just("opened"), st.none()),
    st.tuples(st.just("refused"), st.sampled_from([400, 401, 429, 503])),
    st.tuples(st.just("unreachable"), st.none()),
    st.tuples(st.just("closed"), st.sampled_from([1000, 1001, 1006, 1012, 4401])),
    st.tuples(st.just("received"), st.sampled_from(["notification", "pong", "auth_ok", "error"])),
    st.tuples(st.just("heard"), st.none()),
    st.tuples(st.just("passes"), st.floats(0, 8000)),
    st.tuples(st.just("sleeps"), st.floats(-8000, 8000)),
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
            case _:
                getattr(driven, event)(number, *([] if value is None else [value]))
        assert driven.status in ("connecting", "open", "waiting")
        for _ in range(3):
            if (driven.machine.due or 0) <= driven.now:
                driven.does(driven.machine.tick(driven.now))
        assert driven.machine.due is not None
        assert driven.now < driven.machine.due <= driven.now + 5
