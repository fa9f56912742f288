"""The members of a topic, and which of their changes are told."""

import msgspec

from tellwire import protocol
from tellwire.limits import MAX_MESSAGE_BYTES, MAX_PRESENCE_INFO_BYTES, MAX_PRESENCE_MEMBERS
from tellwire.topic_members import Change, Member, MembersHere, Tell, Telling, told

ANN = b'{"name":"Ann"}'


def names(members: MembersHere) -> list[str]:
    return [each.user_id for each in members]


# --- members with a time of grace -------------------------------------------------------------------------------------


def test_the_first_connection_of_a_user_is_a_join_and_others_are_not() -> None:
    members = MembersHere(5)
    assert members.enter("ann", "c1", ANN) == Change(Member("ann", ANN), is_join=True)
    assert members.enter("ann", "c2") is None
    assert members.enter("ann", "c1") is None
    assert members.enter("ben", "c3") == Change(Member("ben"), is_join=True)
    assert (len(members), names(members), members.get("ann")) == (2, ["ann", "ben"], Member("ann", ANN))


def test_a_user_has_left_some_time_after_the_last_connection() -> None:
    members = MembersHere(5)
    for connection in ("c1", "c2"):
        members.enter("ann", connection)
    members.leave("ann", "c1", now=10)
    assert members.gone(100) == []
    members.leave("ann", "c2", now=11)
    members.leave("ann", "c2", now=12)
    assert (members.next_at, members.gone(15.9), len(members)) == (16, [], 1)
    assert members.gone(16) == [Change(Member("ann"), is_join=False)]
    assert (members.next_at, len(members), members.get("ann")) == (None, 0, None)


def test_who_is_back_in_time_was_never_away() -> None:
    members = MembersHere(5)
    members.enter("ann", "c1", ANN)
    members.leave("ann", "c1", now=10)
    assert members.enter("ann", "c2", ANN) is None
    assert (members.next_at, members.gone(100)) == (None, [])
    members.leave("ann", "c2", now=100)
    assert members.next_at == 105


def test_those_who_leave_do_so_in_the_order_of_their_times() -> None:
    members = MembersHere(5)
    for user in ("ann", "ben", "cem"):
        members.enter(user, user)
        members.leave(user, user, now=10)
    members.enter("ann", "again")
    members.leave("ann", "again", now=12)
    assert [each.member.user_id for each in members.gone(15)] == ["ben", "cem"]
    assert members.next_at == 17


def test_another_info_is_a_join_and_none_keeps_the_one_before() -> None:
    members = MembersHere(5)
    members.enter("ann", "c1", ANN)
    assert members.enter("ann", "c2", b'{"name":"Anna"}') == Change(Member("ann", b'{"name":"Anna"}'), is_join=True)
    assert members.enter("ann", "c1", None) is None
    assert members.enter("ann", "c1", b"{}") == Change(Member("ann", b"{}"), is_join=True)


def test_a_connection_that_never_came_ends_nothing() -> None:
    members = MembersHere(5)
    members.enter("ann", "c1")
    members.leave("ann", "c2", now=1)
    members.leave("ben", "c1", now=1)
    assert (members.next_at, len(members)) == (None, 1)


# --- the changes that are told ----------------------------------------------------------------------------------------


def test_few_are_told_by_name() -> None:
    telling = Telling()
    assert [telling.changed(count, now=0) for count in (1, 2, MAX_PRESENCE_MEMBERS)] == [Tell.CHANGE] * 3
    assert (telling.next_at, telling.due(5, now=100)) == (None, None)


def test_of_many_their_number_is_told_once_a_second() -> None:
    telling = Telling(MAX_PRESENCE_MEMBERS)
    assert telling.changed(201, now=10) is Tell.COUNT
    assert [telling.changed(202 + n, now=10.5) for n in range(1000)] == [None] * 1000
    assert (telling.next_at, telling.due(1201, now=10.9)) == (11, None)
    assert telling.due(1201, now=11) is Tell.COUNT
    assert (telling.next_at, telling.due(1201, now=12)) == (None, None)
    assert telling.changed(1202, now=13) is Tell.COUNT


def test_when_few_are_left_all_of_them_are_told_anew_and_then_each_change() -> None:
    telling = Telling(201)
    assert telling.changed(200, now=10) is Tell.ALL
    assert telling.changed(199, now=10) is Tell.CHANGE
    # Around the bound, a whole list each time would be many bytes.
    assert telling.changed(201, now=10.1) is None
    assert [telling.changed(200, now=10.2), telling.changed(201, now=10.3), telling.changed(200, now=10.4)] == [
        None
    ] * 3
    assert telling.due(200, now=11) is Tell.ALL
    assert telling.changed(199, now=11) is Tell.CHANGE


def test_members_of_one_message_are_bounded_in_count_and_in_bytes() -> None:
    info = msgspec.json.encode({"name": "x" * (MAX_PRESENCE_INFO_BYTES - 11)})
    assert len(info) == MAX_PRESENCE_INFO_BYTES
    assert len(told(Member(str(n)) for n in range(1000))) == MAX_PRESENCE_MEMBERS
    assert [each.user_id for each in told((Member(str(n)) for n in range(10)), 3)] == ["0", "1", "2"]
    for user in ("u" * 1000, "ü" * 500, '"' * 1000, "\\" * 1000, "\x01" * 1000, "🧱" * 250):
        members = told(Member(f"{user}{n}", info) for n in range(1000))
        size = len(protocol.presence("t" * 256, 1000, members))
        assert 0 < len(members) < MAX_PRESENCE_MEMBERS
        assert size < MAX_MESSAGE_BYTES - 24 * 1024
