"""The outbox: order and bounds."""

from hypothesis import given
from hypothesis import strategies as st

from tellwire.gateway.outbox import Outbox, OutboxBounds

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
def test_taken_piece_by_piece_nothing_is_lost_or_moved(frames: list[bytes], about_bytes: int) -> None:
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


def test_clear_forgets_everything() -> None:
    outbox = Outbox(SMALL)
    outbox.offer(b"x")
    outbox.clear()
    assert (len(outbox), outbox.size_bytes, outbox.take()) == (0, 0, [])
