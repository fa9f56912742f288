"""Calls to Redis that wait for their answers."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import hiredis
from msgspec import Struct
from redis.exceptions import AskError, MovedError, TryAgainError

from tellwire.engines.redis.link.scripts import Script

logger = logging.getLogger("tellwire.engines.redis")

Argument = bytes | str | int


def packed(words: Sequence[Argument]) -> bytes:
    """Return a command as its bytes on the connection."""
    command: bytes = hiredis.pack_command(tuple(words))  # type: ignore[arg-type]
    return command


class Bulks(Struct, frozen=True, gc=False):
    """Words of a command as their bytes on the connection, and their number."""

    count: int
    data: bytes

    @classmethod
    def of(cls, words: Sequence[Argument]) -> "Bulks":
        """Pack words."""
        command = packed(words)
        return cls(len(words), command[command.index(b"\n") + 1 :])


class Waiting:
    """A call that waits for its answer, with which `done` is called: a reply, or an exception.

    `is_wanted` returns False if nobody waits any more: then it need not be sent. `slot` is that of a cluster.
    """

    __slots__ = (
        "began_at",
        "done",
        "is_asking",
        "is_wanted",
        "key",
        "lost",
        "packed",
        "redirects",
        "script",
        "size",
        "slot",
        "was_loaded_again",
        "writes",
    )

    def __init__(
        self,
        packed: bytes,
        key: bytes,
        script: Script | None,
        writes: bool,
        done: Callable[[Any], None],
        is_wanted: Callable[[], bool] | None = None,
    ) -> None:
        self.packed = packed
        self.size = len(packed)
        self.key = key
        self.script = script
        self.writes = writes
        self.done = done
        self.is_wanted = is_wanted
        self.slot = 0
        self.is_asking = False
        self.was_loaded_again = False
        self.redirects = 0
        self.lost = 0
        self.began_at = time.monotonic()

    @property
    def name(self) -> str:
        """The name of its script, for the log."""
        return "a command" if self.script is None else f"{self.script.name}.lua"

    @property
    def proves_writes(self) -> bool:
        """True if its success proves that Redis takes publications: it would be refused with a full memory, too."""
        return self.writes and (self.script is None or not self.script.allow_oom)

    def end(self, answer: Any) -> None:
        """End it with a reply or an exception."""
        try:
            self.done(answer)
        except Exception:
            # The calls behind it must get their answers.
            logger.exception("an answer of Redis cannot be used")


class Joinable(Waiting):
    """A call of a script that runs several, one after the other, and answers with a list of their answers. Those next
    to each other in the line that have the same `common` arguments are sent as one.
    """

    __slots__ = ("args", "common", "keys")

    def __init__(
        self,
        script: Script,
        key: bytes,
        keys: Bulks,
        common: Bulks,
        args: Bulks,
        done: Callable[[Any], None],
        is_wanted: Callable[[], bool] | None = None,
    ) -> None:
        super().__init__(b"", key, script, script.writes, done, is_wanted)
        self.keys = keys
        self.common = common
        self.args = args
        self.size = len(keys.data) + len(args.data)

    def joins(self, before: Waiting) -> bool:
        """Return True if it may be sent as one with the call before it."""
        return (
            isinstance(before, Joinable)
            and self.common == before.common
            and self.script is before.script
            and self.slot == before.slot
            and not (self.is_asking or before.is_asking)
        )


def joined(script: Script, calls: Sequence[Joinable]) -> bytes:
    """Return calls of a script that are sent as one, as their command."""
    common = calls[0].common
    keys = sum([each.keys.count for each in calls])
    words = 3 + keys + common.count + sum([each.args.count for each in calls])
    numkeys = b"%d" % keys
    head = b"*%d\r\n$7\r\nEVALSHA\r\n$40\r\n%b\r\n$%d\r\n%b\r\n" % (words, script.sha, len(numkeys), numkeys)
    return b"".join([head, *[each.keys.data for each in calls], common.data, *[each.args.data for each in calls]])


class Answer(asyncio.Future[Any]):
    """The answer of a call, for who awaits it."""

    def take(self, reply: Any) -> None:
        """End it. Nothing happens if nobody waits any more."""
        if self.done():
            return
        if isinstance(reply, Exception):
            self.set_exception(reply)
            # Who gathers several answers looks at each in its turn.
            self.exception()
        else:
            self.set_result(reply)

    def is_wanted(self) -> bool:
        """Return False if nobody waits any more."""
        return not self.cancelled()


class Answers:
    """The answers of several calls, for who awaits all of them. An error is the answer of its call."""

    def __init__(self, count: int) -> None:
        self._answers: list[Any] = [None] * count
        self._left = count
        self._all: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

    def done(self, index: int) -> Callable[[Any], None]:
        """Return the function that takes the answer of a call."""
        return partial(self._take, index)

    def is_wanted(self) -> bool:
        """Return False if nobody waits any more."""
        return not self._all.cancelled()

    async def all(self) -> list[Any]:
        """Wait for all, and return them."""
        return await self._all if self._left else self._answers

    def _take(self, index: int, answer: Any) -> None:
        self._answers[index] = answer
        self._left -= 1
        if not self._left and not self._all.done():
            self._all.set_result(self._answers)


Redirected = tuple[Waiting, MovedError | AskError | TryAgainError]
"""Calls that another node of a cluster must have, with its answers that say so."""
