"""Calls to AWS for many items, a bounded number of them at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from tellwire.limits import AWS_CONCURRENT_POSTS

T = TypeVar("T")
R = TypeVar("R")


async def each(items: Sequence[T], do: Callable[[T], Awaitable[R]]) -> list[R]:
    """Return the results of a function for all items, in their order; at most `AWS_CONCURRENT_POSTS` run at a time.

    The first exception ends the others, and is raised.
    """
    if len(items) == 1:
        return [await do(items[0])]
    results: dict[int, R] = {}
    waiting = iter(enumerate(items))

    async def work() -> None:
        for index, item in waiting:
            results[index] = await do(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(AWS_CONCURRENT_POSTS, len(items))):
                group.create_task(work())
    except ExceptionGroup as several:
        # All fail for the same reason, such as missing credentials.
        raise several.exceptions[0] from None
    return [results[index] for index in range(len(items))]
