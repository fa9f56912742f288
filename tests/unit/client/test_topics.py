"""The promise of recovery for topics, as a property: each message of a topic's log once and in order, no older
state after a newer one, and nothing is missing without a word, in any sequence of events.
"""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellwire.retention import Retention
from tests.unit.client.topic_world import Room, TopicWorld

KEPT = 30

NAMES = st.sampled_from(["a", "b"])
NUMBERS = st.integers(0, 1)
NOTHING = st.just(None)
EVENTS = st.one_of(
    st.tuples(st.sampled_from(["says", "says", "progresses"]), NAMES),
    st.tuples(st.sampled_from(["delivers", "delivers", "opens", "opens"]), NOTHING),
    st.tuples(st.sampled_from(["answers", "turns_a_page", "hears", "hears", "hears"]), NUMBERS),
)
RARE = st.one_of(
    st.tuples(
        st.sampled_from(
            [
                "follows",
                "leaves",
                "follows_again",
                "follows_again",
                "says_unheard",
                "says_unheard",
                "forgets",
                "forbids",
            ]
        ),
        NAMES,
    ),
    st.tuples(st.sampled_from(["tells_ends", "replaces", "settles", "many"]), NOTHING),
    st.tuples(st.just("loses"), NUMBERS),
    st.tuples(st.just("waits"), st.sampled_from([1.01, 2.01, 6.0])),
)


@pytest.fixture(autouse=True, scope="module")
def small() -> Iterator[None]:
    """A server that has small pages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tellwire.protocol.WELCOME_PAGE_BYTES", 700)
        yield


def happens(world: TopicWorld, event: str, value: object) -> None:
    match event:
        case "says_unheard":
            world.says(str(value))
            while world.undelivered:
                world.delivers(is_lost=True)
        case "follows_again":
            world.says(str(value))
            world.delivers()
            world.leaves(str(value))
            world.follows(str(value))
        case "many":
            for _ in range(KEPT // 2):
                world.says("a")
                world.delivers()
        case _:
            getattr(world, event)(*([] if value is None else [value]))


def check(room: Room) -> None:
    """Compare the messages of the application with those that were published."""
    got = [str(message.id) for message in room.taken if message.type == "said"]
    assert len(got) == len(set(got)), "once"
    places = [room.log.index(each) for each in got]
    assert places == sorted(places), "in order"
    before_first = set(room.log[: places[0]]) if places else set(room.log)
    missing = set(room.log) - set(got) - (room.not_yet & before_first)
    assert missing <= room.excused, "nothing lost"
    assert not missing or room.has_heard_of_a_loss, "told"
    assert room.was_told_of_a_loss or not room.has_heard_of_a_loss, "told only what is so"
    newest: dict[str, float] = {}
    for message in room.taken:
        if message.type == "upload_progress":
            assert message.data["progress"] >= newest.get(str(message.key), 0), "nothing stale"
            newest[str(message.key)] = message.data["progress"]
    for key, entry in room.stream._running.items():
        assert entry.payload == next(each.payload for each in reversed(room.taken) if each.key == key), "the newest"


@settings(max_examples=300)
@given(
    st.integers(1, 60).flatmap(
        lambda size: st.lists(st.one_of(EVENTS, EVENTS, EVENTS, RARE), min_size=size, max_size=size)
    ),
    st.sampled_from([1, 3, 1000]),
    st.sampled_from([True, True, False]),
)
def test_whatever_happens_each_message_of_a_topic_comes_once_and_in_order_and_a_loss_is_told(
    events: list[tuple[str, object]], max_buffered: int, begins_settled: bool
) -> None:
    world = TopicWorld(max_buffered, Retention(max_messages=KEPT))
    world.follows("a")
    world.opens()
    if begins_settled:
        world.settles()
    for event, value in events:
        happens(world, event, value)
    for room in world.rooms.values():
        room.is_forbidden = False
    world.settles()
    if any(room.is_refused for room in world.rooms.values()):
        # It is asked for again on the next connection.
        world.loses(0)
        world.settles()
    for name in world.rooms:
        # The last message of a topic is lost on its way: a pong knows.
        happens(world, "says_unheard", name)
    world.settles()
    for name in world.followed:
        check(world.rooms[name])
