"""A Celery application whose broker is a folder."""

import os

from celery import Celery

from tests.integration.concurrency.programs import publish_in_each_way

folder = os.environ["BROKER_FOLDER"]
app = Celery("tests", broker="filesystem://", backend=f"file://{folder}/results")
app.conf.broker_transport_options = {
    "data_folder_in": f"{folder}/queue",
    "data_folder_out": f"{folder}/queue",
    "control_folder": f"{folder}/control",
    "polling_interval": 0.05,
}
app.conf.broker_connection_retry_on_startup = False


@app.task  # type: ignore[untyped-decorator]
def publish() -> int:
    publish_in_each_way()
    return os.getpid()
