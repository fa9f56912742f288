"""How much time is left: in a Lambda function everything ends with it, so nothing may be begun that it would cut.

The deadline belongs to the code that runs inside the block, whichever thread or event loop that is on.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tellwire.limits import DEADLINE_MARGIN_SECONDS

_ends_at: ContextVar[float] = ContextVar("tellwire_deadline", default=math.inf)


@contextmanager
def deadline(time_left: Any) -> Iterator[None]:
    """Let what is sent in this block know when it has to end: half a second before the function does.

    `time_left` is the function's `context`, or a number of seconds; None means no limit. A block inside another cannot
    have more time than that one.

    Example:
        def handler(event, context):
            with deadline(context):
                delivery = broadcast_to_all(create_message("maintenance", {"minutes": 5}))
                log.info("not sent to %d connections: no time left", delivery.unsent)
    """
    ends_at = time.monotonic() + _seconds(time_left) - DEADLINE_MARGIN_SECONDS
    token = _ends_at.set(min(ends_at, _ends_at.get()))
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
    """Return what is left of the time around this call: infinity if there is no deadline, below 0 after it."""
    return _ends_at.get() - time.monotonic()
