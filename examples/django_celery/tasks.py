"""The worker's task: its upload is the task's, and its user sees each attempt."""

import csv
import time
from pathlib import Path

from celery import Celery

from tellwire.celery import tracked
from tellwire.sync import Upload

app = Celery("imports")
app.config_from_object("django.conf:settings", namespace="CELERY")


@app.task(autoretry_for=(OSError,), retry_backoff=True, max_retries=3, acks_late=True)
@tracked(user="user_id", file_name="name")
def import_parts(user_id: str, path: str, name: str, *, upload: Upload) -> None:
    """Read a parts list; each row takes its time, as one that is saved does."""
    with Path(path).open(newline="") as file:
        rows = list(csv.DictReader(file))
    upload.update(total_rows=len(rows))
    pieces = 0
    for number, row in enumerate(upload.count(rows), 1):
        if (row["quantity"] or "").isdecimal():
            pieces += int(row["quantity"])
        else:
            upload.row_error(number, "NO_QUANTITY", "The quantity is missing")
        time.sleep(0.005)
    upload.summary = f"{pieces:,} pieces"
