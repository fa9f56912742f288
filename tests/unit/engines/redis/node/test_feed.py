"""The feed of a stream: messages in any order, lost and repeated, and the verdict on each."""

import pytest

from tellwire.engines.redis.node.feed import Feed, Head, Verdict, has_less, head_of
from tellwire.position import Position, StreamEnd

DELIVER, DROP, FETCH, ANNOUNCE = Verdict.DELIVER, Verdict.DROP, Verdict.FETCH, Verdict.ANNOUNCE


@pytest.fixture
def feed() -> Feed:
    feed = Feed()
    feed.begin(Head("e", 5, 1000, 998))
    return feed


def test_the_next_message_is_delivered_a_known_one_dropped_and_a_later_one_fetched(feed: Feed) -> None:
    assert [feed.message("e", offset) for offset in (6, 7)] == [DELIVER, DELIVER]
    assert [feed.message("e", offset) for offset in (7, 1)] == [DROP, DROP]
    assert feed.message("e", 9) is FETCH
    assert feed.head == Head("e", 7, 1000, 998)


def test_states_are_judged_by_their_version_and_apart_from_the_log(feed: Feed) -> None:
    assert [feed.state("e", version) for version in (1001, 1002, 1002, 3, 1004)] == [
        DELIVER,
        DELIVER,
        DROP,
        DROP,
        FETCH,
    ]
    assert feed.message("e", 6) is DELIVER
    assert feed.head == Head("e", 6, 1002, 1002)


def test_the_first_entries_of_a_stream_follow_nothing() -> None:
    feed = Feed()
    assert (feed.head, feed.cursor_in("e")) == (None, "0")
    assert feed.message("e", 1) is DELIVER
    assert feed.state("e", 1_764_000_000_001) is DELIVER
    assert feed.state("e", 1_764_000_000_002) is DELIVER
    assert feed.head == Head("e", 1, 1_764_000_000_002, 1_764_000_000_002)
    by_state = Feed()
    assert by_state.state("e", 1_764_000_000_001) is DELIVER
    assert by_state.message("e", 1) is DELIVER


def test_a_first_message_that_is_not_the_first_of_its_stream_is_fetched_with_those_before_it() -> None:
    feed = Feed()
    assert feed.message("e", 3) is FETCH
    assert (feed.cursor_in("e"), feed.head) == ("0", None)


@pytest.mark.parametrize("first", [1, 5, 6])
def test_another_epoch_is_announced_whether_its_numbers_go_on_or_begin_again(feed: Feed, first: int) -> None:
    assert feed.message("f", first) is ANNOUNCE
    assert feed.message("f", first + 1) is DELIVER
    assert feed.state("f", 1000) is DROP
    assert feed.state("f", 1001) is DELIVER
    assert feed.head == Head("f", first + 1, 1001, 1001)


def test_another_epoch_with_a_gap_is_fetched_from_the_number_that_was_delivered(feed: Feed) -> None:
    assert feed.message("f", 7) is FETCH
    assert feed.cursor_in("f") == "f:5"


def test_a_state_that_is_the_first_sign_of_another_epoch_is_fetched(feed: Feed) -> None:
    assert feed.state("f", 5000) is FETCH
    assert feed.head == Head("e", 5, 1000, 998)


def test_a_feed_is_behind_a_head_that_has_more_or_another_epoch(feed: Feed) -> None:
    assert not feed.is_behind(Head("e", 5, 1000, 998))
    assert not feed.is_behind(Head("e", 4, 1000, 998))
    assert feed.is_behind(Head("e", 6, 1000, 998))
    assert feed.is_behind(Head("e", 5, 1001, 1001))
    assert feed.is_behind(Head("f", 1, 0, 0))


def test_a_store_that_has_less_in_the_same_epoch_has_lost_something() -> None:
    known = Head("e", 5, 1000, 998)
    assert not has_less(known, known)
    assert has_less(known._replace(offset=4), known)
    assert has_less(known._replace(version=999), known)
    assert not has_less(Head("f", 1, 0, 0), known)


def test_the_head_is_read_from_the_fields_in_redis() -> None:
    assert head_of(None, None, None, None) is None
    assert head_of(b"e", b"7", b"12", None) == Head("e", 7, 12, 0)
    assert Head("e", 7, 12, 11).end == StreamEnd(Position("e", 7), 11)
