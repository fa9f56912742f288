"""The decorator of tasks that are uploads.

@app.task ─▶ tracked ─▶ track_upload ─▶ the function, with `upload`
                └▶ its end: attempts (pure) ─▶ the user; Celery gets the exception as it was
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from celery import Task, current_task
from celery.exceptions import Ignore
from celery.local import Proxy

from tellwire.celery.attempts import told
from tellwire.celery.ends import is_pool_process, watch_worker
from tellwire.celery.parts import ARGUMENT
from tellwire.celery.tracking import TRACKING, UPLOAD, Chosen, Tracking
from tellwire.errors import ConfigError, UploadCancelled
from tellwire.limits import UPLOAD_LEASE_SECONDS
from tellwire.sync import track_upload

R = TypeVar("R")


def tracked(
    *,
    user: Chosen,
    upload_id: Chosen | None = None,
    file_name: Chosen | None = None,
    total_rows: Chosen | None = None,
    lease_seconds: float | None = UPLOAD_LEASE_SECONDS,
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Show a user the progress of a Celery task, on every device. It goes below `@app.task` or `@shared_task`.

    Args:
        user: the user, as the name of an argument of the task, or a function of all its arguments by name.
        upload_id: the id of the upload, in the same way. None: the id of the task.
        file_name: its name for people, in the same way. None: the name of the function, in words.
        total_rows: the number of rows, in the same way. None: it is not known, or `upload.update(total_rows=…)`.
        lease_seconds: the silence after which the upload is declared stalled. See `tellwire.track_upload`.

    A function with a parameter `upload` gets the upload to count on; whoever calls the task does not give it. An
    attempt that Celery repeats ends with `retrying`, the last one with `complete` or `failed`. When a device cancels
    the upload, `upload.count` raises `UploadCancelled`: the task is then revoked. `app.control.revoke` is told as
    `cancelled`.

    Raises:
        ConfigError: a name is no parameter of the function, or this is above `@app.task`.

    Example:
        @app.task(autoretry_for=(ConnectionError,), retry_backoff=True)
        @tracked(user="user_id", file_name="path")
        def import_parts(user_id, path, upload):
            for row in upload.count(rows_of(path)):
                save(row)
    """

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        if issubclass(type(function), Proxy | Task):
            raise ConfigError("tracked: got a task; allowed: a function: put @tracked below @app.task")
        signature = inspect.signature(function)
        has_upload = UPLOAD in signature.parameters
        parameters = [each for name, each in signature.parameters.items() if name != UPLOAD]
        signature = signature.replace(parameters=parameters)
        name = function.__name__.replace("_", " ")
        tracking = Tracking(signature, name, user, upload_id, file_name, total_rows, lease_seconds)

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> R:
            task = current_task._get_current_object() if current_task else None
            tracking_now = tracking.of_call(None if task is None else task.request.id, args, kwargs)
            kwargs.pop(ARGUMENT, None)
            call = functools.partial(function, *args, **kwargs)
            return _run(call, tracking_now, task, has_upload)

        # Celery checks arguments by it: `upload` is not the caller's, and a part travels beside them.
        run.__signature__ = _with_part(signature)  # type: ignore[attr-defined]
        setattr(run, TRACKING, tracking)
        watch_worker()
        return run

    return decorate


def _with_part(signature: inspect.Signature) -> inspect.Signature:
    part = inspect.Parameter(ARGUMENT, inspect.Parameter.KEYWORD_ONLY, default=None)
    parameters = list(signature.parameters.values())
    at = len(parameters) - any(each.kind is each.VAR_KEYWORD for each in parameters)
    return signature.replace(parameters=[*parameters[:at], part, *parameters[at:]])


def _run(call: Callable[..., R], tracking: track_upload, task: Any, has_upload: bool) -> R:
    upload = tracking.__enter__()
    try:
        result = call(**{UPLOAD: upload}) if has_upload else call()
    except BaseException as error:
        if isinstance(error, SystemExit) and is_pool_process():
            raise  # by a signal of the main process, which knows why, and tells it
        end = error if task is None else told(error, task, tracking.file_name)
        tracking.__exit__(type(end), end, error.__traceback__)
        if isinstance(error, UploadCancelled) and task is not None and not task.request.called_directly:
            _revoke(task)
        raise
    tracking.__exit__(None, None, None)
    return result


def _revoke(task: Any) -> None:
    """End a task that a device has cancelled as a revoked one: whoever waits for its result learns it, also a chord."""
    request = task.request
    store_result = not (request.ignore_result or request.is_eager)
    task.backend.mark_as_revoked(request.id, "cancelled by the user", request, store_result)
    raise Ignore("cancelled by the user")
