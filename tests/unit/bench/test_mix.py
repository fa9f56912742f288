"""The publish mix: its receivers are known before it is sent."""

from bench.mix import BATCH, Mix


def test_ten_requests_are_nine_messages_and_a_batch() -> None:
    mix = Mix.of(["user-1", "user-2"], 10)
    assert len(mix.requests) == 10
    assert mix.kept == 9 + BATCH
    assert mix.expected == {"user-1": 15, "user-2": 14}


def test_messages_to_all_are_evenly_among_the_others() -> None:
    mix = Mix.of(["user-1"], 100, all_every=20)
    assert mix.to_all == 5
    assert [b'"all":true' in request for request in mix.requests].index(True) == 10


def test_every_message_can_be_timed() -> None:
    assert all(b"sent-at:0000000000000000000" in request for request in Mix.of(["user-1"], 30, all_every=7).requests)
