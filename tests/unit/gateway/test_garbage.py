"""The garbage collector of `tellwire serve`: each object is looked at once, and no cycle stays for long."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from tellwire.gateway.garbage import FrozenHeap
from tellwire.testing import FakeClock


class Collector:
    """A collector that counts its objects, and does nothing."""

    def __init__(self) -> None:
        self.new = self.frozen = 0
        self.passes = 0
        self.looked_at: list[int] = []
        self.threshold = (700, 10, 10)

    def get_threshold(self) -> tuple[int, int, int]:
        return self.threshold

    def set_threshold(self, *threshold: int) -> None:
        self.threshold = threshold  # type: ignore[assignment]

    def get_count(self) -> tuple[int, int, int]:
        return 0, 0, self.passes

    def get_freeze_count(self) -> int:
        return self.frozen

    def freeze(self) -> None:
        self.frozen, self.new = self.frozen + self.new, 0

    def unfreeze(self) -> None:
        self.frozen, self.new = 0, self.frozen + self.new

    def collect(self) -> int:
        self.looked_at.append(self.new)
        self.passes = 0
        return 0

    def make(self, objects: int) -> None:
        self.new += objects
        self.passes += objects // 7_700


def heap_of(collector: Any, clock: FakeClock | None = None) -> FrozenHeap:
    return FrozenHeap(clock or FakeClock(), collector)


def test_each_collection_looks_only_at_what_is_new() -> None:
    collector = Collector()
    heap = heap_of(collector)
    collector.make(60_000)
    heap.begin()
    for _ in range(10):
        collector.make(20_000)
        heap.look()
    assert collector.looked_at == [60_000] + [20_000] * 10
    assert collector.frozen == 260_000
    assert collector.threshold[:2] == (700, 10)
    assert collector.threshold[2] > 1_000_000


def test_nothing_is_frozen_while_little_is_new() -> None:
    collector = Collector()
    heap = heap_of(collector)
    heap.begin()
    collector.make(7_000)
    heap.look()
    assert (collector.frozen, collector.new) == (0, 7_000)


async def test_everything_is_looked_at_when_the_frozen_objects_have_doubled() -> None:
    clock = FakeClock()
    collector = Collector()
    heap = heap_of(collector, clock)
    collector.make(400_000)
    heap.begin()
    collector.make(800_000)
    heap.look()
    collector.looked_at.clear()
    await clock.advance(600)
    heap.look()
    assert collector.looked_at == []  # 1,200,000 are fewer than twice 400,000 and 500,000 more
    collector.make(200_000)
    heap.look()
    heap.look()
    assert collector.looked_at == [200_000]  # counted every ten minutes
    await clock.advance(600)
    heap.look()
    assert collector.looked_at == [200_000, 1_400_000]


@pytest.fixture
def restored() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


@pytest.mark.usefixtures("restored")
def test_a_frozen_object_is_freed_with_its_last_reference() -> None:
    ended: list[str] = []

    class Ending:
        def __del__(self) -> None:
            ended.append("freed")

    objects = [Ending()]
    FrozenHeap(FakeClock()).begin()
    objects.clear()
    assert ended == ["freed"]
