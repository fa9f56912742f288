"""The outbox: order and bounds."""

from hypothesis import given
from hypothesis import strategies as st

from tellwire.server.outbox import Outbox, OutboxBounds

SMALL = OutboxBounds(max_messages=3, max_bytes=100)


def test_frames_leave_in_the_order_they_came() -> None:
    outbox = Outbox(SMALL)
    for frame in (b"a", b"b", b"c"):
        assert outbox.offer(frame)
    assert outbox.take() == [b"a", b"b", b"c"]
    assert len(outbox) == outbox.size_bytes == 0


def test_it_is_bounded_in_messages() -> None:
    outbox = Outbox(SMALL)
    assert [outbox.offer(b"x") for _ in range(4)] == [True, True, True, False]
    assert len(outbox) == 3


def test_it_is_bounded_in_bytes() -> None:
    outbox = Outbox(SMALL)
    assert outbox.offer(b"x" * 60)
    assert not outbox.offer(b"x" * 41)
    assert outbox.offer(b"x" * 40)
    assert outbox.size_bytes == 100


def test_a_message_above_the_bound_passes_when_nothing_else_waits() -> None:
    outbox = Outbox(SMALL)
    assert outbox.offer(b"x" * 101)
    assert not outbox.offer(b"x")


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=30), st.integers(1, 50))
def test_frames_taken_in_pieces_are_complete_and_in_order(frames: list[bytes], about_bytes: int) -> None:
    outbox = Outbox(OutboxBounds(1000, 1000))
    for frame in frames:
        assert outbox.offer(frame)
    taken: list[bytes] = []
    while len(outbox):
        piece = outbox.take(about_bytes)
        assert piece
        assert sum(map(len, piece[:-1])) < about_bytes
        taken += piece
    assert taken == frames
    assert outbox.size_bytes == 0


def test_a_newer_state_replaces_the_waiting_one_in_its_place() -> None:
    outbox = Outbox(SMALL)
    for frames, key in ((b"1%", "u1"), (b"log", None), (b"5%", "u2"), (b"20%", "u1")):
        assert outbox.offer(frames, key)
    assert (len(outbox), outbox.size_bytes) == (3, 8)
    assert outbox.take(1) == [b"20%"]
    assert outbox.offer(b"30%", "u1")
    assert outbox.take() == [b"log", b"5%", b"30%"]
    assert outbox.offer(b"40%", "u1")
    assert outbox.take() == [b"40%"]


def test_a_newer_state_keeps_within_the_bounds_too() -> None:
    outbox = Outbox(SMALL)
    assert outbox.offer(b"1", "u1")
    assert outbox.offer(b"x" * 60)
    assert not outbox.offer(b"2" * 41, "u1")
    assert outbox.offer(b"2" * 40, "u1")
    assert outbox.size_bytes == 100


def test_a_final_state_goes_to_the_front_and_replaces_the_waiting_state() -> None:
    outbox = Outbox(OutboxBounds(10, 100))
    for frames, key in ((b"log", None), (b"1%", "u1"), (b"5%", "u2")):
        assert outbox.offer(frames, key)
    assert outbox.offer(b"u1 done", "u1", is_final=True)
    assert outbox.offer(b"u3 done", "u3", is_final=True)
    assert outbox.offer(b"6%", "u2")
    assert outbox.size_bytes == 19
    assert outbox.take() == [b"u1 done", b"u3 done", b"log", b"6%"]
    assert outbox.offer(b"0%", "u1")
    assert outbox.take() == [b"0%"]


def test_a_final_state_goes_to_the_front_after_others_have_left() -> None:
    outbox = Outbox(OutboxBounds(10, 100))
    assert outbox.offer(b"log", None)
    assert outbox.offer(b"u1 done", "u1", is_final=True)
    assert outbox.take(1) == [b"u1 done"]
    assert outbox.offer(b"u2 done", "u2", is_final=True)
    assert outbox.take() == [b"u2 done", b"log"]


def test_final_states_keep_within_the_bounds_too() -> None:
    outbox = Outbox(SMALL)
    assert outbox.offer(b"x" * 60)
    assert not outbox.offer(b"2" * 41, "u1", is_final=True)
    assert outbox.offer(b"2" * 40, "u1", is_final=True)
    assert outbox.size_bytes == 100


@given(
    st.lists(
        st.tuples(st.none() | st.sampled_from("abc"), st.binary(min_size=1, max_size=9), st.booleans())
        | st.integers(1, 30)
    ),
)
def test_the_log_is_complete_and_in_order_and_each_state_ends_with_the_newest(
    steps: list[tuple[str | None, bytes, bool] | int],
) -> None:
    outbox = Outbox(OutboxBounds(1000, 100_000))
    taken: list[bytes] = []
    for step in steps:
        if isinstance(step, int):
            taken += outbox.take(step)
        else:
            key, content, is_final = step
            assert outbox.offer(f"{key}:".encode() + content, key, is_final=is_final)
    assert outbox.size_bytes == sum(map(len, outbox._frames))
    taken += outbox.take(10_000_000)
    for key in (None, *"abc"):
        offered = [f"{key}:".encode() + step[1] for step in steps if not isinstance(step, int) and step[0] == key]
        received = [frames for frames in taken if frames.startswith(f"{key}:".encode())]
        assert received == offered if key is None else received[-1:] == offered[-1:]


def test_clear_drops_all_frames() -> None:
    outbox = Outbox(SMALL)
    outbox.offer(b"x")
    outbox.clear()
    assert (len(outbox), outbox.size_bytes, outbox.take()) == (0, 0, [])
