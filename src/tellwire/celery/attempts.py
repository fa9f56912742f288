"""The end of one attempt at a task, as its user is told it.

    Retry, autoretry_for, Reject(requeue)    retrying: Celery tries again
    SoftTimeLimitExceeded                    failed, with words of its own
    UploadCancelled, Ignore, GreenletExit    cancelled; the last is the revocation of a greenlet
    any other exception                      as it is: failed

Celery alone decides about another attempt. So `UploadWillRetry` and `UploadFailed` bring the words, and no more.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from numbers import Real
from typing import Any, Final

from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded

from tellwire.errors import UploadCancelled, UploadFailed, UploadWillRetry
from tellwire.limits import QUEUED_LEASE_SECONDS

TIMED_OUT: Final = "TASK_TIMED_OUT"
_REPLACED: Final = "Replaced by new task"  # the words of `Task.replace`


def told(error: BaseException, task: Any, file_name: str) -> BaseException:
    """Return the exception that `track_upload` is left with, for one that has left a task."""
    if isinstance(error, UploadCancelled):
        return error
    if (seconds := _seconds_until_next(error, task)) is not None:
        words = error.message if isinstance(error, UploadWillRetry | UploadFailed) else None
        return UploadWillRetry(words, seconds)
    if isinstance(error, Ignore) or type(error).__name__ == "GreenletExit":
        return UploadCancelled()
    if isinstance(error, SoftTimeLimitExceeded):
        return timed_out(file_name)
    if isinstance(error, UploadWillRetry):
        return UploadFailed("UPLOAD_FAILED", error.message or f"{file_name} could not be processed")
    return error


def timed_out(file_name: str) -> UploadFailed:
    """Return the words for a task that has reached its time limit."""
    return UploadFailed(TIMED_OUT, f"{file_name} took too long, and was stopped")


def _seconds_until_next(error: BaseException, task: Any) -> float | None:
    """Return the seconds until the next attempt at a task; None: there is none."""
    if isinstance(error, Retry):
        return _seconds_until(error.when)
    if isinstance(error, Reject):
        return QUEUED_LEASE_SECONDS if error.requeue else None
    if isinstance(error, Ignore):
        return QUEUED_LEASE_SECONDS if _REPLACED in str(error) else None
    return _autoretry_seconds(error, task)


def _seconds_until(when: object) -> float:
    if isinstance(when, datetime):
        return max(0.0, (when - datetime.now(when.tzinfo or UTC).replace(tzinfo=when.tzinfo)).total_seconds())
    return float(when) if isinstance(when, Real) else QUEUED_LEASE_SECONDS


def _autoretry_seconds(error: BaseException, task: Any) -> float | None:
    """Return the seconds after which Celery's `autoretry_for` tries again; None: it does not."""
    if not _is_autoretried(error, task):
        return None
    given: Mapping[str, Any] = getattr(task, "retry_kwargs", {})
    limit = getattr(task, "override_max_retries", given.get("max_retries"))
    limit = task.max_retries if limit is None else limit
    retries = task.request.retries
    if limit is not None and retries >= limit:
        return None
    if backoff := float(getattr(task, "retry_backoff", False)):
        return float(min(getattr(task, "retry_backoff_max", 600), max(1, int(backoff)) * 2**retries))
    if (eta := given.get("eta")) is not None:
        return _seconds_until(eta)
    return _seconds_until(given.get("countdown", task.default_retry_delay))


def _is_autoretried(error: BaseException, task: Any) -> bool:
    if task.request.called_directly:
        return False
    kinds, others = (tuple(getattr(task, name, ())) for name in ("autoretry_for", "dont_autoretry_for"))
    return isinstance(error, kinds) and not isinstance(error, others)
