"""The gathering of publishes: their requests, their order, and the outcome of each."""

import asyncio
import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tellwire.carriers.gathering import Gathering, Gatherings
from tellwire.limits import GATHER_BYTES, GATHER_LINES, GATHER_SECONDS
from tests.virtual_time import virtual_time

pytestmark = pytest.mark.virtual_time

SECONDS = 5.0


class Gateway:
    """A way whose requests take their time. It notes when each left, and its bodies."""

    def __init__(self, *seconds: float) -> None:
        self._seconds = list(seconds)
        self.left: list[list[bytes]] = []
        self.times: list[float] = []
        self.refuses_batches = False
        self.error: Exception | None = None
        self.began_at = virtual_time().time()

    async def one(self, body: bytes, seconds: float) -> str:
        await self._take([body], seconds)
        return body.decode()

    async def batch(self, bodies: Sequence[bytes], seconds: float) -> list[str] | None:
        await self._take(list(bodies), seconds)
        return None if self.refuses_batches else [f"{body.decode()} of {len(bodies)}" for body in bodies]

    def late(self, *, was_sent: bool) -> str:
        return "late, sent" if was_sent else "late"

    async def _take(self, bodies: list[bytes], seconds: float) -> None:
        self.left.append(bodies)
        self.times.append(round(virtual_time().time() - self.began_at, 6))
        async with asyncio.timeout(seconds):
            await asyncio.sleep(self._seconds.pop(0) if len(self._seconds) > 1 else self._seconds[0])
        if self.error is not None:
            raise self.error


def publish(
    gathering: Gathering[str], name: str, key: str | None = None, seconds: float = SECONDS
) -> asyncio.Task[str]:
    return asyncio.create_task(gathering.publish(name.encode(), key, seconds))


async def test_one_alone_leaves_alone_and_at_once() -> None:
    gateway = Gateway(1)
    gathering = Gathering(gateway)
    assert await gathering.publish(b"a", "u", SECONDS) == "a"
    assert await gathering.publish(b"b", "u", SECONDS) == "b"
    assert (gateway.left, gateway.times) == ([[b"a"], [b"b"]], [0, 1])


async def test_those_of_one_turn_leave_together_and_each_gets_its_answer() -> None:
    gateway = Gateway(1)
    gathering = Gathering(gateway)
    assert await asyncio.gather(*[publish(gathering, each) for each in "abc"]) == ["a of 3", "b of 3", "c of 3"]
    assert (gateway.left, gateway.times) == ([[b"a", b"b", b"c"]], [0])


async def test_what_comes_while_a_request_is_on_its_way_leaves_together_after_it() -> None:
    gateway = Gateway(GATHER_SECONDS / 2)
    gathering = Gathering(gateway)
    first = publish(gathering, "a")
    await asyncio.sleep(GATHER_SECONDS / 8)
    second = publish(gathering, "b")
    await asyncio.sleep(GATHER_SECONDS / 8)
    third = publish(gathering, "c")
    assert await asyncio.gather(*[first, second, third]) == ["a", "b of 2", "c of 2"]
    assert gateway.times == [0, GATHER_SECONDS / 2]


async def test_a_request_that_hangs_delays_the_others_by_a_moment() -> None:
    gateway = Gateway(4, 3, 0.1)
    gathering = Gathering(gateway)
    hanging = [publish(gathering, "a")]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    hanging.append(publish(gathering, "b"))
    await asyncio.sleep(GATHER_SECONDS * 1.5)
    # Each further request on its way is twice as long in coming.
    assert await gathering.publish(b"c", None, SECONDS) == "c"
    assert gateway.times == [0, GATHER_SECONDS, pytest.approx(GATHER_SECONDS * 3.5)]
    assert await gathering.publish(b"d", None, SECONDS) == "d"
    assert await asyncio.gather(*hanging) == ["a", "b"]


async def test_publishes_of_one_key_leave_in_their_order_although_a_request_hangs() -> None:
    gateway = Gateway(1, 0.01)
    gathering = Gathering(gateway)
    names = ["u1", "v1", "u2", "v2", "u3"]
    publishes = [publish(gathering, names[0], "u")]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    publishes += [publish(gathering, name, name[0]) for name in names[1:]]
    await asyncio.gather(*publishes)
    assert gateway.left == [[b"u1"], [b"v1", b"v2"], [b"u2", b"u3"]]
    assert gateway.times == [0, GATHER_SECONDS, 1]


async def test_a_batch_has_a_bounded_number_of_lines() -> None:
    gateway = Gateway(0.001)
    gathering = Gathering(gateway)
    names = [str(number) for number in range(2 * GATHER_LINES + 1)]
    await asyncio.gather(*[publish(gathering, name, "u") for name in names])
    assert [len(each) for each in gateway.left] == [GATHER_LINES, GATHER_LINES, 1]
    assert [line.decode() for each in gateway.left for line in each] == names


async def test_a_batch_has_a_bounded_number_of_bytes() -> None:
    gateway = Gateway(0.001)
    gathering = Gathering(gateway)
    sizes = [GATHER_BYTES // 2, GATHER_BYTES // 2, 1, GATHER_BYTES + 1, 1]
    await asyncio.gather(*[publish(gathering, "x" * size) for size in sizes])
    assert [[len(line) for line in each] for each in gateway.left] == [sizes[:2], [1], [GATHER_BYTES + 1], [1]]


async def test_a_body_with_a_line_break_is_no_line_of_a_batch() -> None:
    gateway = Gateway(0.001)
    gathering = Gathering(gateway)
    await asyncio.gather(*[publish(gathering, each) for each in ("a", "b\n", "c", "d")])
    assert gateway.left == [[b"a"], [b"b\n"], [b"c", b"d"]]


async def test_a_batch_that_is_refused_is_sent_one_by_one_in_order() -> None:
    gateway = Gateway(0.001)
    gateway.refuses_batches = True
    gathering = Gathering(gateway)
    assert await asyncio.gather(*[publish(gathering, each, "u") for each in "abc"]) == ["a", "b", "c"]
    assert gateway.left == [[b"a", b"b", b"c"], [b"a"], [b"b"], [b"c"]]
    gateway.refuses_batches = False
    assert await asyncio.gather(*[publish(gathering, each, "u") for each in "de"]) == ["d of 2", "e of 2"]


async def test_each_has_its_own_time_and_knows_if_it_was_sent() -> None:
    gateway = Gateway(4, 0.1)
    gathering = Gathering(gateway)
    pair = [publish(gathering, "a", "u", seconds=1), publish(gathering, "b", "v", seconds=5)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    behind = publish(gathering, "c", "u", seconds=2)
    assert await pair[0] == "late, sent"
    assert await behind == "late"
    assert virtual_time().time() - gateway.began_at == pytest.approx(2)
    assert await pair[1] == "b of 2"
    assert gateway.left == [[b"a", b"b"]]


async def test_one_that_is_cancelled_while_it_waits_is_not_sent() -> None:
    gateway = Gateway(GATHER_SECONDS / 2)
    gathering = Gathering(gateway)
    first = publish(gathering, "a", "u")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting = [publish(gathering, each, "u") for each in "bcd"]
    await asyncio.sleep(0)
    waiting[1].cancel()
    assert await first == "a"
    before, cancelled, after = await asyncio.gather(*waiting, return_exceptions=True)
    assert (before, type(cancelled), after) == ("b of 2", asyncio.CancelledError, "d of 2")
    assert gateway.left == [[b"a"], [b"b", b"d"]]


@pytest.mark.parametrize("turns", range(6))
async def test_one_that_is_cancelled_at_any_moment_holds_up_no_other(turns: int) -> None:
    gateway = Gateway(0.01)
    gathering = Gathering(gateway)
    for names in ("a", "bc"):
        cancelled, *others = [publish(gathering, each, "u") for each in names]
        for _ in range(turns):
            await asyncio.sleep(0)
        cancelled.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await cancelled
        await asyncio.gather(*others)
        assert await gathering.publish(b"z", "u", SECONDS) == "z"


async def test_a_batch_whose_task_is_cancelled_may_have_been_sent() -> None:
    gateway = Gateway(1)
    gathering = Gathering(gateway)
    publishes = [publish(gathering, each, "u") for each in "ab"]
    await asyncio.sleep(0.5)
    for task in asyncio.all_tasks():
        if task.get_name() == "tellwire-publish":
            task.cancel()
    assert await asyncio.gather(*publishes) == ["late, sent", "late, sent"]
    assert virtual_time().time() - gateway.began_at == pytest.approx(0.5)
    assert await gathering.publish(b"c", "u", SECONDS) == "c"


async def test_an_error_is_that_of_all_that_were_sent_with_it() -> None:
    gateway = Gateway(0.01)
    gateway.error = RuntimeError("no more threads")
    gathering = Gathering(gateway)
    outcomes = await asyncio.gather(*[publish(gathering, each) for each in "ab"], return_exceptions=True)
    assert [repr(each) for each in outcomes] == ["RuntimeError('no more threads')"] * 2
    gateway.error = None
    assert await gathering.publish(b"c", "u", SECONDS) == "c"


async def test_each_event_loop_gathers_for_itself() -> None:
    gatherings = Gatherings(Gateway(0))
    here = gatherings.here()
    assert gatherings.here() is here

    async def elsewhere() -> bool:
        return gatherings.here() is here

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(asyncio.run, elsewhere()).result() is False
