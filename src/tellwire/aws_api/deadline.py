"""The time limit of a Lambda function, as a context manager: requests that would not end in time are not begun.

The deadline applies to the code that is called inside the block, on any thread or event loop.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tellwire.limits import DEADLINE_MARGIN_SECONDS

_ends_at: ContextVar[float] = ContextVar("tellwire_deadline", default=math.inf)
_function_ends_at: ContextVar[float] = ContextVar("tellwire_function_deadline", default=math.inf)


@contextmanager
def deadline(time_left: Any) -> Iterator[None]:
    """Limit the requests in this block to the time left: they end half a second before the function does.

    `time_left` is the function's `context`, or a number of seconds; None means no limit. A block inside another has at
    most the time of the outer one.

    Example:
        def handler(event, context):
            with deadline(context):
                delivery = broadcast_to_all(create_message("maintenance", {"minutes": 5}))
                log.info("not sent to %d connections: no time left", delivery.unsent)
    """
    ends_at = time.monotonic() + _seconds(time_left) - DEADLINE_MARGIN_SECONDS
    token = _ends_at.set(min(ends_at, _ends_at.get()))
    function_token = _function_ends_at.set(min(ends_at, _function_ends_at.get()))
    try:
        yield
    finally:
        _ends_at.reset(token)
        _function_ends_at.reset(function_token)


@contextmanager
def reserve(seconds: float) -> Iterator[None]:
    """End the requests in this block so much earlier, at most by a quarter of the time left: the rest is for the
    answer, in `last_moments`.
    """
    ends_at = _ends_at.get() - min(seconds, max(0.0, remaining_seconds()) / 4)
    token = _ends_at.set(ends_at)
    try:
        yield
    finally:
        _ends_at.reset(token)


@contextmanager
def last_moments() -> Iterator[None]:
    """Allow the requests in this block the whole time of the function, with that which was reserved."""
    token = _ends_at.set(_function_ends_at.get())
    try:
        yield
    finally:
        _ends_at.reset(token)


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Limit the requests in this block to so much time."""
    token = _ends_at.set(min(_ends_at.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _ends_at.reset(token)


def _seconds(time_left: Any) -> float:
    if time_left is None:
        return math.inf
    if isinstance(time_left, int | float):
        return time_left
    return float(time_left.get_remaining_time_in_millis()) / 1000


def remaining_seconds() -> float:
    """Return the seconds until the deadline: infinity if there is none, negative after it."""
    return _ends_at.get() - time.monotonic()
