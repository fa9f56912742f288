"""The usage guide's handler in Python, line by line: its stream is a loop here, and nothing is awaited.

In: an event whose body is `{"userId", "mocId", "s3Key"}`; the variable UPLOADS_BUCKET names the bucket. The user sees
progress from 0 to 50 while rows are read, every hundredth row, and 100 at the end. `csv_worker` is its complete
version.
"""

import codecs
import csv
import json
import os
from typing import Any

import boto3

from tellwire.sync import broadcast_to_user, create_upload_progress_message


def handler(event: dict[str, Any], context: object) -> None:
    """Read a parts list from S3."""
    body = json.loads(event["body"])
    user_id, moc_id, s3_key = body["userId"], body["mocId"], body["s3Key"]

    # Send initial progress
    broadcast_to_user(user_id, create_upload_progress_message(moc_id, "parts-list.csv", 0, "Starting CSV parsing..."))

    # Parse CSV with progress updates
    stream = boto3.client("s3").get_object(Bucket=os.environ["UPLOADS_BUCKET"], Key=s3_key)["Body"]
    for row_count, _row in enumerate(csv.DictReader(codecs.getreader("utf-8")(stream, "replace")), 1):
        # Send progress every 100 rows
        if row_count % 100 == 0:
            broadcast_to_user(
                user_id,
                create_upload_progress_message(
                    moc_id,
                    "parts-list.csv",
                    min(50, row_count / 10000 * 50),
                    f"Parsing row {row_count}...",
                    row_count,
                    10000,
                ),
            )

    # Send completion
    broadcast_to_user(user_id, create_upload_progress_message(moc_id, "parts-list.csv", 100, "CSV parsing complete!"))
