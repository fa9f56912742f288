"""Tracked tasks of a program whose broker is Redis. A job waits at a gate, a list in Redis, until its test opens it.

None is shared: each test imports this anew, and other applications of the process would know several of one name.
"""

import os
from typing import Any

from celery import Celery
from redis import Redis

from tellwire.celery import tracked
from tellwire.sync import Upload

URL, PREFIX = os.environ["BROKER_URL"], os.environ["BROKER_PREFIX"]
app = Celery("imports", broker=URL, backend=URL)
app.conf.update(
    broker_transport_options={"global_keyprefix": PREFIX},
    result_backend_transport_options={"global_keyprefix": PREFIX},
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
    task_ignore_result=False,
)
redis = Redis.from_url(URL, socket_timeout=200)
OF_USER: dict[str, Any] = {"user": "user_id", "upload_id": "upload_id", "lease_seconds": 1}


def wait_at_gate(upload: Upload, name: str) -> None:
    """Wait until the gate is opened, or a device cancels the upload."""
    redis.rpush(f"{PREFIX}arrived", name)
    for _ in range(1_000):
        upload.raise_if_cancelled()
        if redis.blpop([f"{PREFIX}gate:{name}"], timeout=0.1):
            return


@app.task(shared=False, autoretry_for=(ConnectionError,), max_retries=1, default_retry_delay=0)
@tracked(**OF_USER)
def fail_at_first(user_id: str, upload_id: str, failures: int, *, upload: Upload) -> int:
    for _ in upload.count(range(3)):
        pass
    if redis.incr(f"{PREFIX}attempts:{upload_id}") <= failures:
        raise ConnectionError("secret")
    return upload.rows


@app.task(shared=False, bind=True)
@tracked(**OF_USER)
def wait(self: Any, user_id: str, upload_id: str, *, upload: Upload) -> str:
    wait_at_gate(upload, upload_id)
    return str(self.request.id)


@app.task(shared=False, ignore_result=True)
@tracked(**OF_USER)
def forget(user_id: str, upload_id: str) -> None: ...


@app.task(shared=False, acks_late=True, reject_on_worker_lost=True)
@tracked(user="user_id")
def begin_again(user_id: str, *, upload: Upload) -> None:
    upload.update(rows=1, total_rows=2)
    if redis.incr(f"{PREFIX}begun") == 1:
        redis.rpush(f"{PREFIX}arrived", str(os.getpid()))
        redis.blpop([f"{PREFIX}never"], timeout=100)


@app.task(shared=False)
@tracked(user="user_id")
def import_rows(user_id: str, first: int, *, upload: Upload) -> int:
    for _ in upload.count(range(first, first + 10)):
        pass
    return upload.rows


@app.task(shared=False)
def total(counts: list[int]) -> int:
    return sum(counts)
