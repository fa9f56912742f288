"""Sessions of the console: their ends, and no more of them than there is room for."""

from tellwire.gateway.console.sessions import Sessions
from tellwire.limits import CONSOLE_IDLE_SECONDS, CONSOLE_SESSION_SECONDS, CONSOLE_SESSIONS

KEYS = object()


def test_a_session_is_found_by_its_id_alone() -> None:
    sessions = Sessions()
    session_id, session = sessions.open("ops", KEYS, 0.0)
    assert sessions.find(session_id, KEYS, 1.0) is session
    assert sessions.find(session_id[:-1], KEYS, 1.0) is None
    assert sessions.find("\udcff", KEYS, 1.0) is None


def test_a_session_that_is_used_lasts_until_the_end_of_the_day() -> None:
    sessions = Sessions()
    session_id, _ = sessions.open("ops", KEYS, 0.0)
    now = 0.0
    while now + CONSOLE_IDLE_SECONDS - 1 < CONSOLE_SESSION_SECONDS:
        now += CONSOLE_IDLE_SECONDS - 1
        assert sessions.find(session_id, KEYS, now) is not None
    assert sessions.find(session_id, KEYS, CONSOLE_SESSION_SECONDS) is None


def test_an_idle_session_ends() -> None:
    sessions = Sessions()
    session_id, _ = sessions.open("ops", KEYS, 0.0)
    assert sessions.find(session_id, KEYS, CONSOLE_IDLE_SECONDS) is None
    assert sessions.find(session_id, KEYS, 1.0) is None, "it came back"


def test_a_session_ends_with_the_keys_that_opened_it_and_by_signing_out() -> None:
    sessions = Sessions()
    first, _ = sessions.open("ops", KEYS, 0.0)
    second, _ = sessions.open("ops", KEYS, 0.0)
    assert sessions.find(first, object(), 1.0) is None
    sessions.close(second)
    sessions.close("of nobody")
    assert sessions.find(second, KEYS, 1.0) is None


def test_the_oldest_session_makes_room() -> None:
    sessions = Sessions()
    ids = [sessions.open("ops", KEYS, 0.0)[0] for _ in range(CONSOLE_SESSIONS + 1)]
    assert sessions.find(ids[0], KEYS, 1.0) is None
    assert all(sessions.find(each, KEYS, 1.0) is not None for each in ids[1:])


def test_a_token_is_that_of_its_session() -> None:
    sessions = Sessions()
    _, one = sessions.open("ops", KEYS, 0.0)
    _, other = sessions.open("ops", KEYS, 0.0)
    assert one.has_token(one.csrf_token)
    assert not one.has_token(other.csrf_token)
    assert not one.has_token("")
    assert not one.has_token("\udcff")
