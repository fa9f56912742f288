"""The promise of recovery, as a property: each message of the log once and in order, no older state after a newer one,
and a loss is told, and only a loss, in any sequence of events.
"""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellwire.client.decode import ReceivedMessage
from tellwire.retention import Retention
from tests.unit.client.world import World

PAGE_BYTES = 700
OVER_A_PAGE = 800
KEPT = 30


@pytest.fixture(autouse=True, scope="module")
def small() -> Iterator[None]:
    """A server that keeps little, and has small pages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.unit.client.world.RETENTION", Retention(max_messages=KEPT))
        patch.setattr("tellwire.protocol.WELCOME_PAGE_BYTES", PAGE_BYTES)
        yield


NUMBERS = st.integers(0, 1)
EVENTS = st.one_of(
    st.tuples(st.just("says"), st.sampled_from([0, 0, 0, 200, OVER_A_PAGE])),
    st.tuples(st.just("progresses"), st.integers(0, 2)),
    st.tuples(st.just("calls"), st.none()),
    st.tuples(st.just("delivers"), st.booleans()),
    st.tuples(st.just("delivers"), st.booleans()),
    st.tuples(st.just("answers"), NUMBERS),
    st.tuples(st.just("turns_a_page"), NUMBERS),
    st.tuples(st.just("turns_a_page"), NUMBERS),
    st.tuples(st.just("hears"), NUMBERS),
    st.tuples(st.just("hears"), NUMBERS),
    st.tuples(st.just("hears"), NUMBERS),
    st.tuples(st.just("opens"), st.none()),
    st.tuples(st.just("opens"), st.none()),
    st.tuples(st.just("opens"), st.none()),
    st.tuples(st.just("loses"), NUMBERS),
    st.tuples(st.just("takes"), st.integers(1, 5)),
    st.tuples(st.just("many"), st.integers(2, 20)),
    st.tuples(st.just("comes_back"), st.integers(0, 4)),
    st.tuples(st.just("settles"), st.none()),
)
RARE = st.one_of(
    st.tuples(st.just("restarts"), st.sampled_from([True, True, False])),
    st.tuples(st.just("forgets_the_user"), st.none()),
    st.tuples(st.just("replaces"), st.none()),
    st.tuples(st.just("falls_silent"), st.none()),
    st.tuples(st.just("crashes"), st.none()),
)


def happens(world: World, event: str, value: object) -> None:
    match event:
        case "delivers":
            world.delivers(newest_first=bool(value))
        case "restarts":
            world.restarts(with_a_file=bool(value))
        case "many":
            for _ in range(int(str(value))):
                world.says(0)
                world.delivers()
        case _:
            getattr(world, event)(*([] if value is None else [value]))


def ids(messages: list[ReceivedMessage], message_type: str) -> list[str]:
    return [str(message.id) for message in messages if message.type == message_type]


def check(world: World) -> None:
    """Compare the messages of the application with those that were published."""
    got = ids(world.taken, "said")
    assert len(got) == len(set(got)), "once"
    places = [world.log.index(each) for each in got]
    assert places == sorted(places), "in order"
    before_first = set(world.log[: places[0]]) if places else set(world.log)
    assert set(world.log) - set(got) <= world.excused | (world.not_yet & before_first), "nothing lost"
    newest: dict[str, float] = {}
    for message in world.taken:
        if message.type == "upload_progress":
            assert message.data["progress"] >= newest.get(str(message.key), 0), "nothing stale"
            newest[str(message.key)] = message.data["progress"]
    for key, entry in world.stream._running.items():
        assert entry.payload == next(each.payload for each in reversed(world.taken) if each.key == key), "the newest"
    calls = ids(world.taken, "call")
    assert sorted(calls) == sorted(set(world.read_aloud)), "what has no place, too"
    assert world.has_heard_of_a_loss == world.should_hear_of_a_loss, "told"


@settings(max_examples=300)
@given(
    st.integers(1, 60).flatmap(
        lambda size: st.lists(st.one_of(EVENTS, EVENTS, EVENTS, RARE), min_size=size, max_size=size)
    ),
    st.sampled_from([None, "0", "elsewhere:3"]),
    st.sampled_from([1, 3, 1000]),
    st.integers(0, 20),
)
def test_whatever_happens_each_message_comes_once_and_in_order_and_a_loss_is_told(
    events: list[tuple[str, object]], cursor: str | None, max_buffered: int, published_before: int
) -> None:
    world = World(cursor, max_buffered, published_before)
    for event, value in events:
        happens(world, event, value)
    # A user who was forgotten is noticed at the next word.
    world.says(0)
    world.settles()
    check(world)
