"""A value that is chosen for a block of code, and for the threads that the block's work is given to.

    this context, and tasks and `asyncio.to_thread` from it     the innermost block around it
    a thread or task with no block of its own                   the one block that is open anywhere
    several open blocks, with different values                  refused there: nobody knows which of them it works for

Threads of a pool or a scheduler inherit no context, and were often started before the block.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Generic, TypeVar

from tellwire.errors import ConfigError

T = TypeVar("T")


@dataclass(eq=False, frozen=True, slots=True)
class _Block(Generic[T]):
    value: T
    outer: "_Block[T] | None"


class Choice(Generic[T]):
    """A choice of one kind of value. `advice` is the end of the sentence that refuses a thread."""

    def __init__(self, name: str, advice: str) -> None:
        self._own: ContextVar[_Block[T] | None] = ContextVar(name, default=None)
        self._advice = advice
        self._open: dict[_Block[T], bool] = {}

    @contextmanager
    def use(self, value: T, *, other_threads: bool) -> Iterator[T]:
        """Choose `value` in this block; with `other_threads`, also in threads that have no block of their own."""
        block = _Block(value, self._open_here())
        self._open[block] = other_threads
        token = self._own.set(block)
        try:
            yield value
        finally:
            del self._open[block]
            # A fixture may end in another context than it began in. A block that is closed counts no more.
            with suppress(ValueError):
                self._own.reset(token)

    def current(self) -> T | None:
        """Return the value chosen here; None: nobody has chosen.

        Raises:
            ConfigError: this thread has no block of its own, and blocks with different values are open.
        """
        if (block := self._open_here()) is not None:
            return block.value
        blocks = [each for each, other_threads in list(self._open.items()) if other_threads]
        outer = {id(each.outer) for each in blocks}
        values = {id(each.value): each.value for each in blocks if id(each) not in outer}
        if len(values) > 1:
            raise ConfigError(
                f"{len(values)} different blocks are open, and this thread was not started in one: {self._advice}"
            )
        return next(iter(values.values()), None)

    def _open_here(self) -> _Block[T] | None:
        block = self._own.get()
        while block is not None and block not in self._open:
            block = block.outer
        return block
