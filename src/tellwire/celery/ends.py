"""Ends that a task cannot tell of itself: it was revoked before it began, or its process is gone.

A worker's main process learns of them, and tells its users through `tellwire.sync`'s background loop: it never waits.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Final

from billiard.process import current_process
from celery import signals
from celery.exceptions import TimeLimitExceeded, WorkerLostError

from tellwire.background import start
from tellwire.celery.attempts import timed_out
from tellwire.celery.tracking import TRACKING, Tracking
from tellwire.errors import UploadCancelled, UploadFailed

_UID: Final = "tellwire.celery"


def watch_worker() -> None:
    """Listen to Celery's signals, once in a process."""
    signals.task_revoked.connect(_on_revoked, dispatch_uid=_UID)
    signals.task_failure.connect(_on_failure, dispatch_uid=_UID)


def is_pool_process() -> bool:
    """Return True in a process of a prefork pool: the main process is told when it ends."""
    return bool(current_process().name != "MainProcess")


def _on_revoked(sender: Any = None, request: Any = None, expired: bool = False, **_: object) -> None:
    error = UploadFailed("TASK_EXPIRED", "It was not begun in time") if expired else UploadCancelled()
    _tell(sender, request.id, request.args, request.kwargs, error)


def _on_failure(
    sender: Any = None, task_id: str = "", exception: object = None, args: Any = (), kwargs: Any = None, **_: object
) -> None:
    if isinstance(exception, TimeLimitExceeded):
        _tell(sender, task_id, args, kwargs, timed_out("The task"))
    elif isinstance(exception, WorkerLostError):
        _tell(sender, task_id, args, kwargs, UploadFailed("UPLOAD_LOST", "Its worker has ended before it was done"))


def _tell(task: Any, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any], error: BaseException) -> None:
    run = getattr(task, "_orig_run", task.run)
    tracking: Tracking | None = getattr(run, TRACKING, None)
    if tracking is not None:
        own = (task,) if inspect.ismethod(run) else ()
        upload = tracking.of_call(task_id, (*own, *(args or ())), kwargs or {})
        start(upload._end_of_another(error, "Cancelled" if isinstance(error, UploadCancelled) else None))
