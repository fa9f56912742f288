"""The view of a topic's members: the outcome of each message, whatever pub/sub does to it."""

import pytest

from tellwire.engines.redis.node.member_store import MembersHead, Reported
from tellwire.engines.redis.node.member_view import MemberView, Verdict, message_of
from tellwire.limits import MAX_PRESENCE_MEMBERS
from tellwire.topic_members import Member

FEW = MembersHead("e", 5, 2)
MANY = MembersHead("e", 5, MAX_PRESENCE_MEMBERS + 5)


def view_of(head: MembersHead = FEW) -> MemberView:
    return MemberView(head, {each: Member(each) for each in ("ann", "ben")})


def take(
    view: MemberView, before: int, number: int, count: int, payload: bytes = b"", epoch: str = "e"
) -> tuple[Verdict, set[str]]:
    return view.take(message_of(["p", epoch, before, number, count], payload)), set(view.members)


def test_the_next_message_is_taken_with_all_its_changes() -> None:
    view = view_of()
    payload = b'[["j","cat",3,{"a":1}],["l","ann",2],["j","ben",2,{}],["j","d",3]]'
    assert take(view, 5, 9, 3, payload) == (Verdict.CHANGES, {"ben", "cat", "d"})
    assert (view.count, view.number) == (3, 9)
    assert [view.members[each].info for each in ("ben", "cat", "d")] == [b"{}", b'{"a":1}', None]


@pytest.mark.parametrize(("before", "number"), [(4, 5), (0, 1), (3, 5)])
def test_a_message_that_was_read_is_dropped(before: int, number: int) -> None:
    assert take(view_of(), before, number, 3, b'[["j","cat",3]]') == (Verdict.DROP, {"ann", "ben"})


def test_a_missing_number_asks_for_a_read_and_changes_nothing() -> None:
    view = view_of()
    assert take(view, 6, 7, 3, b'[["j","cat",3]]') == (Verdict.READ, {"ann", "ben"})
    assert (view.number, view.count) == (5, 2)


def test_another_epoch_is_lost_unless_nothing_was_there() -> None:
    assert take(view_of(), 5, 6, 3, b'[["j","cat",3]]', "f")[0] is Verdict.LOST
    nothing = MemberView(MembersHead("", 0, 0), {})
    assert take(nothing, 1, 2, 2, b'[["j","cat",2]]', "f")[0] is Verdict.LOST
    assert take(nothing, 0, 1, 1, b'[["j","cat",1]]', "f") == (Verdict.CHANGES, {"cat"})
    assert nothing.epoch == "f"


def test_of_many_only_the_number_is_taken_and_few_must_be_read() -> None:
    view = view_of(MANY)
    assert view.are_many
    assert take(view, 5, 9, MAX_PRESENCE_MEMBERS + 1)[0] is Verdict.COUNT
    assert (view.count, view.number) == (MAX_PRESENCE_MEMBERS + 1, 9)
    assert take(view, 9, 10, MAX_PRESENCE_MEMBERS)[0] is Verdict.READ
    assert view.number == 9


def test_it_lacks_a_report_that_is_on_its_way() -> None:
    view = view_of()
    assert [view.lacks(Reported("e", number, 0)) for number in (4, 5, 6)] == [False, False, True]
    assert not view.lacks(Reported("f", 6, 0))
    assert not view_of(MANY).lacks(Reported("e", 6, 0))
