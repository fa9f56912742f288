"""The words for an exception that left a job: a code and a text for the user. Pure.

Exceptions inside an exception group count like those outside one: a job in an `asyncio.TaskGroup` raises its own
exception, and the group wraps it.
"""

import logging
from collections.abc import Callable
from typing import Final, TypeAlias

from tellwire.errors import UploadCancelled, UploadFailed, UploadWillRetry
from tellwire.limits import MAX_LEASE_SECONDS, MAX_WORDS_CHARACTERS, QUEUED_LEASE_SECONDS, RETRY_GRACE_SECONDS
from tellwire.numeric import finite_number
from tellwire.row_errors import MAX_TEXT
from tellwire.text import shortened, string_of

logger = logging.getLogger("tellwire.progress")

_MAX_GROUPED: Final = 10_000

WillRetry: TypeAlias = bool | float | Callable[[BaseException], bool | float]
"""True, or the seconds until then, if the job is tried again after an exception; or a function of the exception."""


def is_cancellation(error: BaseException) -> bool:
    """Return True if `error` says that the upload was cancelled, and nothing else."""
    return all(isinstance(each, UploadCancelled) for each in _leaves(error))


def retry_of(error: BaseException, will_retry: WillRetry) -> tuple[str | None, float] | None:
    """Return the text and the time of the next attempt, in seconds; None if there is none.

    `UploadWillRetry` says so itself, and `UploadFailed` says that there is none. Otherwise `will_retry` decides.
    """
    for each in _leaves(error):
        if isinstance(each, UploadFailed | UploadCancelled):
            return None
        if isinstance(each, UploadWillRetry):
            text = string_of(each.message)
            return (text if text and text.strip() else None), _seconds(each.within_seconds)
    try:
        answer = will_retry(error) if callable(will_retry) else will_retry
        # A number is a time, also 0; anything else is true or false, as it is in an `if`.
        is_retried = finite_number(answer) is not None or bool(answer)
    except Exception:
        logger.exception("will_retry failed: the upload counts as failed")
        return None
    return (None, _seconds(answer)) if is_retried else None


def _seconds(within: object) -> float:
    seconds = finite_number(within)
    return QUEUED_LEASE_SECONDS if seconds is None else min(seconds, MAX_LEASE_SECONDS) + RETRY_GRACE_SECONDS


def failure_of(error: BaseException, file_name: str) -> tuple[str, str]:
    """Return the code and the text that a user reads for `error`."""
    leaves = _leaves(error)
    for each in leaves:
        if isinstance(each, UploadFailed):
            code, message = string_of(each.upload_code), string_of(each.message)
            if code and code.strip() and message is not None:
                return shortened(code, MAX_TEXT), shortened(message, MAX_WORDS_CHARACTERS)
    # CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit, GreenletExit: the job was stopped from outside.
    if not any(isinstance(each, Exception) for each in leaves):
        return "UPLOAD_INTERRUPTED", f"{file_name} was interrupted before it was done"
    # The exception's own text may hold paths, queries or secrets.
    return "UPLOAD_FAILED", f"{file_name} could not be processed"


def _leaves(error: BaseException) -> list[BaseException]:
    """Return the exceptions in a group, and in the groups in it; an exception that is no group by itself."""
    leaves: list[BaseException] = []
    waiting = [error]
    # Without recursion, and bounded: groups may be nested deeper than functions, or hold themselves.
    for _ in range(_MAX_GROUPED):
        if not waiting:
            break
        each = waiting.pop()
        if isinstance(each, BaseExceptionGroup):
            waiting += reversed(each.exceptions)
        else:
            leaves.append(each)
    return leaves or [error]
