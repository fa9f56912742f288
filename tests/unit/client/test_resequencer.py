"""The modes of the resequencer: each row of its table. `test_traces.py` has the rules of "Coming back"."""

from tellwire.client.decode import ReceivedMessage, WelcomePage
from tellwire.client.resequencer import Mode, Resequencer


def log(offset: int, epoch: str = "e") -> ReceivedMessage:
    return ReceivedMessage("said", offset, cursor=f"{epoch}:{offset}")


def page(cursor: str, *messages: ReceivedMessage, recovered: bool = True, last: bool = True) -> WelcomePage:
    return WelcomePage(cursor, recovered, list(messages), [], last)


def buffering(max_buffered: int = 10) -> Resequencer:
    resequencer = Resequencer("e:5", max_buffered)
    resequencer.hello()
    assert resequencer.mode is Mode.BUFFERING
    return resequencer


def in_order() -> Resequencer:
    resequencer = buffering()
    resequencer.page(page("e:5"))
    assert resequencer.mode is Mode.IN_ORDER
    return resequencer


def test_everything_passes_before_the_first_hello() -> None:
    resequencer = Resequencer()
    assert resequencer.mode is Mode.PASS_THROUGH
    assert resequencer.receive(log(7)) == [log(7)]
    assert resequencer.cursor == "e:7"


def test_buffering_ends_with_the_last_page() -> None:
    resequencer = buffering()
    modes = []
    for its in (page("e:7", log(6), last=False), page("e:7", log(7))):
        resequencer.page(its)
        modes.append(resequencer.mode)
    assert modes == [Mode.BUFFERING, Mode.IN_ORDER]


def test_buffering_ends_in_a_resync_if_a_message_was_left_out() -> None:
    resequencer = buffering(max_buffered=0)
    assert resequencer.receive(log(6)) == []
    resequencer.page(page("e:6", log(6)))
    assert resequencer.mode is Mode.RESYNC


def test_buffering_ends_without_a_welcome() -> None:
    resequencer = buffering()
    assert resequencer.receive(log(6)) == []
    assert resequencer.give_up() == [log(6)]
    assert resequencer.mode is Mode.PASS_THROUGH


def test_order_ends_with_a_gap_or_another_epoch() -> None:
    for message in (log(7), log(6, "f")):
        resequencer = in_order()
        assert resequencer.receive(message) == []
        assert resequencer.mode is Mode.RESYNC


def test_a_resync_drops_everything_until_the_next_hello() -> None:
    resequencer = in_order()
    resequencer.receive(log(7))
    assert resequencer.receive(log(6)) == []
    assert resequencer.hello() == "e:5"
    assert resequencer.mode is Mode.BUFFERING
    assert resequencer.page(page("e:7", log(6), log(7))).messages == [log(6), log(7)]


def test_passing_through_ends_with_a_late_welcome_or_the_next_hello() -> None:
    resequencer = buffering()
    resequencer.give_up()
    resequencer.page(page("e:5"))
    assert resequencer.mode is Mode.IN_ORDER
    resequencer = buffering()
    resequencer.give_up()
    resequencer.hello()
    assert resequencer.mode is Mode.BUFFERING


def test_a_loss_is_remembered_until_a_welcome_has_told_it() -> None:
    resequencer = buffering()
    assert resequencer.page(page("f:9", log(4, "f"), recovered=False, last=False)).recovered is None
    assert (resequencer.cursor, resequencer.lost_at) == ("f:4", "e:5")
    assert resequencer.page(page("f:9")).recovered is False
    assert (resequencer.cursor, resequencer.lost_at) == ("f:9", None)
