"""The workers of examples/aws_parts_upload: S3's events go in, results and messages come out. S3 is moto's."""

import asyncio
import csv
import importlib
import io
import json
import logging
import sys
import tracemalloc
from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote_plus

import boto3
import pytest
from botocore.response import StreamingBody
from moto import mock_aws
from PIL import Image

from examples.parts_upload.make_samples import make_samples, write_parts_list
from tellwire.background import run
from tellwire.errors import GatewayUnreachable
from tellwire.sync import track_upload
from tellwire.testing import MemoryCarrier

EXAMPLE = Path(__file__).parents[2] / "examples" / "aws_parts_upload"
WORKERS = EXAMPLE / "s3_workers"
HEADER = b"part number,name,colour,quantity\n"
KEY = "uploads/user-1/moc-1/parts-list.csv"


class Desk:
    """A bucket, the workers, and the messages to their user."""

    def __init__(self, s3: Any, carrier: MemoryCarrier) -> None:
        self.s3 = s3
        self.carrier = carrier
        self._sequence = 0

    def put(self, content: bytes, key: str = KEY) -> dict[str, Any]:
        """Upload a file and return the event that S3 sends."""
        self._sequence += 1
        self.s3.put_object(Bucket="uploads", Key=key, Body=content)
        return event_of(key, len(content), f"{self._sequence:018X}")

    def result(self, key: str) -> bytes:
        return bytes(self.s3.get_object(Bucket="uploads", Key=key)["Body"].read())

    def keys(self, prefix: str) -> list[str]:
        found = self.s3.list_objects_v2(Bucket="uploads", Prefix=prefix)
        return [item["Key"] for item in found.get("Contents", [])]

    def of_type(self, message_type: str) -> list[dict[str, Any]]:
        return [m["data"] for m in self.carrier.sent_to("user-1") if m["type"] == message_type]

    def progress(self) -> list[float]:
        return [state["progress"] for state in self.of_type("upload_progress")]


def event_of(key: str, size: int, sequencer: str) -> dict[str, Any]:
    """Return an event as S3 sends it (S3 user guide, "Event message structure")."""
    written = {
        "key": quote_plus(key, safe="/"),
        "size": size,
        "eTag": "0123456789abcdef0123456789abcdef",
        "sequencer": sequencer,
    }
    bucket = {"name": "uploads", "ownerIdentity": {"principalId": "A3NL"}, "arn": "arn:aws:s3:::uploads"}
    return {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "awsRegion": "us-east-1",
                "eventTime": "2026-11-24T09:18:54.123Z",
                "eventName": "ObjectCreated:Put",
                "userIdentity": {"principalId": "AWS:AIDA"},
                "s3": {"s3SchemaVersion": "1.0", "configurationId": "csv", "bucket": bucket, "object": written},
            }
        ]
    }


@pytest.fixture
def desk(carrier: MemoryCarrier, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="uploads")
        yield Desk(s3, carrier)


@pytest.fixture
def csv_worker(desk: Desk) -> Iterator[ModuleType]:
    yield from _imported("csv_worker")


@pytest.fixture
def image_worker(desk: Desk) -> Iterator[ModuleType]:
    yield from _imported("image_worker")


@pytest.fixture
def guide_handler(desk: Desk) -> Iterator[ModuleType]:
    yield from _imported("guide_handler")


def _imported(name: str) -> Iterator[ModuleType]:
    """Import a module as Lambda does, from the function's own directory; it is removed after the test."""
    sys.path.insert(0, str(WORKERS))
    try:
        yield importlib.import_module(name)
    finally:
        sys.path.remove(str(WORKERS))
        for each in (name, "uploads"):
            sys.modules.pop(each, None)


# --- parts lists ------------------------------------------------------------------------------------------------------


def test_a_parts_list_is_stored_and_its_user_sees_0_100_and_a_notification(desk: Desk, csv_worker: Any) -> None:
    event = desk.put(HEADER + b"3001,Brick,Red,4\n" + "3002,Brick 2×4,Weiß,1\n".encode())
    assert csv_worker.handler(event, None) == {KEY: "2 parts imported"}
    assert list(csv.reader(io.StringIO(desk.result("parts/user-1/moc-1/parts-list.csv").decode(), newline=""))) == [
        ["row_number", "part_number", "name", "colour", "quantity"],
        ["2", "3001", "Brick", "Red", "4"],
        ["3", "3002", "Brick 2×4", "Weiß", "1"],
    ]
    first, *_, last, notification = desk.carrier.sent_to("user-1")
    assert (first["data"]["progress"], first["data"]["uploadId"], first["data"]["fileName"]) == (
        0,
        "moc-1",
        "parts-list.csv",
    )
    assert (last["data"]["progress"], last["data"]["message"]) == (100, "2 parts imported")
    assert notification["data"]["message"] == "parts-list.csv: 2 parts imported"


def test_a_key_comes_as_s3_writes_it(desk: Desk, csv_worker: Any) -> None:
    key = "uploads/user-1/moc 1/Teile + Größen (1).csv"
    event = desk.put(HEADER + b"3001,Brick,Red,4\n", key)
    assert "+" in event["Records"][0]["s3"]["object"]["key"]
    assert csv_worker.handler(event, None) == {key: "1 part imported"}
    assert desk.of_type("upload_progress")[0]["fileName"] == "Teile + Größen (1).csv"
    assert desk.keys("parts/") == ["parts/user-1/moc 1/Teile + Größen (1).csv"]


def test_a_spreadsheet_is_stored_as_csv_and_named_so_once(desk: Desk, csv_worker: Any) -> None:
    workbook = (Path(__file__).parents[1] / "data" / "parts_lists" / "formats.xlsx").read_bytes()
    event = desk.put(workbook, "uploads/user-1/moc-1/Mine.XLSX")
    for outcome in ("imported", "already done"):
        assert outcome in csv_worker.handler(event, None)["uploads/user-1/moc-1/Mine.XLSX"]
    assert desk.keys("parts/") == ["parts/user-1/moc-1/Mine.XLSX.csv"]


async def _turns_of_the_loop() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_progress_goes_by_bytes_and_never_back(desk: Desk, csv_worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # An update per batch instead of by time, and each is sent before the next batch, however busy the machine is.
    monkeypatch.setattr(csv_worker, "track_upload", partial(track_upload, every_rows=1000))

    class AfterTheLastUpdate(csv_worker.PartsFile):  # type: ignore[misc]
        def batches(self) -> Any:
            for batch in super().batches():
                run(_turns_of_the_loop())
                yield batch

    monkeypatch.setattr(csv_worker, "PartsFile", AfterTheLastUpdate)
    csv_worker.handler(desk.put(HEADER + b"3001,Brick,Red,4\n" * 20_000), None)
    progress = desk.progress()
    assert (progress[0], progress[-1]) == (0, 100)
    assert progress == sorted(progress)
    assert any(0 < each < 99 for each in progress)


def test_the_sample_has_12_bad_rows_and_they_come_in_one_message(desk: Desk, csv_worker: Any, tmp_path: Path) -> None:
    event = desk.put(make_samples(tmp_path).parts_list.read_bytes())
    assert csv_worker.handler(event, None) == {KEY: "9,988 parts imported, 12 rows left out"}
    (error,) = desk.of_type("error")
    assert error["message"] == "12 of 10,000 rows were left out"
    assert [m["type"] for m in desk.carrier.sent_to("user-1")][-3:] == ["upload_progress", "error", "notification"]


def test_the_same_event_again_changes_and_says_nothing(desk: Desk, csv_worker: Any) -> None:
    event = desk.put(HEADER + b"3001,Brick,Red,4\n")
    csv_worker.handler(event, None)
    told = len(desk.carrier.sent)
    assert csv_worker.handler(event, None) == {KEY: "already done"}
    assert len(desk.carrier.sent) == told


def test_another_file_of_the_same_name_is_another_upload(desk: Desk, csv_worker: Any) -> None:
    csv_worker.handler(desk.put(HEADER + b"3001,Brick,Red,4\n"), None)
    assert csv_worker.handler(desk.put(HEADER + b"3002,Brick,Red,4\n"), None) == {KEY: "1 part imported"}
    assert b"3002" in desk.result("parts/user-1/moc-1/parts-list.csv")


def test_an_event_made_by_hand_is_always_new(desk: Desk, csv_worker: Any) -> None:
    event = desk.put(HEADER + b"3001,Brick,Red,4\n")
    del event["Records"][0]["s3"]["object"]["sequencer"]
    assert csv_worker.handler(event, None) == csv_worker.handler(event, None) == {KEY: "1 part imported"}


def test_a_file_that_is_no_parts_list_is_told_once_and_not_tried_again(desk: Desk, csv_worker: Any) -> None:
    outcome = csv_worker.handler(desk.put(b"\x89PNG\r\n\x1a\n\x00\x00"), None)
    assert outcome[KEY].startswith("NOT_TEXT")
    assert desk.of_type("error")[0]["code"] == "NOT_TEXT"
    assert desk.of_type("upload_progress")[-1]["status"] == "failed"
    assert desk.keys("parts/") == []


def test_a_file_that_is_gone_by_now_is_told(desk: Desk, csv_worker: Any) -> None:
    event = desk.put(HEADER)
    desk.s3.delete_object(Bucket="uploads", Key=KEY)
    assert csv_worker.handler(event, None)[KEY].startswith("FILE_MISSING")


def test_a_file_that_is_too_big_is_told_before_it_is_read(
    desk: Desk, csv_worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_worker, "MAX_FILE_BYTES", 1024 * 1024)
    event = desk.put(HEADER + b"x" * 1024 * 1024)
    assert csv_worker.handler(event, None)[KEY] == "FILE_TOO_BIG: parts-list.csv is bigger than 1 MB."


def test_what_lambda_should_try_again_raises_and_stores_nothing(
    desk: Desk, csv_worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_order(*_: object) -> None:
        raise OSError("the disk is full")

    event = desk.put(HEADER + b"3001,Brick,Red,4\n")
    with monkeypatch.context() as broken:
        broken.setattr(csv_worker, "PartsFile", out_of_order)
        with pytest.raises(OSError, match="full"):
            csv_worker.handler(event, None)
    assert desk.keys("parts/") == []
    assert "disk" not in str(desk.carrier.sent)
    assert csv_worker.handler(event, None) == {KEY: "1 part imported"}


def test_users_that_cannot_be_told_do_not_disturb_the_work(
    desk: Desk, csv_worker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    desk.carrier.error = GatewayUnreachable("http://gateway", "Connection refused")
    with caplog.at_level(logging.WARNING):
        assert csv_worker.handler(desk.put(HEADER + b"3001,Brick,Red,4\n"), None) == {KEY: "1 part imported"}
    assert desk.keys("parts/") == ["parts/user-1/moc-1/parts-list.csv"]
    assert "its user was not notified" in caplog.text


@pytest.mark.parametrize(
    "key",
    [
        "uploads/user-1/parts-list.csv",
        "uploads/user-1/moc-1/more/parts-list.csv",
        "uploads//moc-1/parts-list.csv",
        "uploads/user-1/ /parts-list.csv",
        "parts/user-1/moc-1/parts-list.csv",
        "parts-list.csv",
    ],
)
def test_a_key_of_another_form_is_refused_and_named(desk: Desk, csv_worker: Any, key: str) -> None:
    with pytest.raises(ValueError, match=r"^key: got '.*'; allowed: uploads/{userId}/{uploadId}/{fileName}$"):
        csv_worker.handler(event_of(key, 1, "1"), None)
    assert desk.carrier.sent == []


@pytest.mark.parametrize("event", [{}, {"body": "{}"}, {"Records": []}, {"Records": [{"Sns": {}}]}])
def test_an_event_of_something_else_is_refused(csv_worker: Any, event: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^event: got .*; allowed: (an S3 event|records)"):
        csv_worker.handler(event, None)


class StreamingS3:
    """A fake S3 with a file on this disk: moto would keep all of it in memory."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.stored_bytes = 0

    def get_object(self, **_: str) -> dict[str, Any]:
        size = self._file.stat().st_size
        return {"Body": StreamingBody(self._file.open("rb"), size), "ContentLength": size}

    def head_object(self, **_: str) -> dict[str, Any]:
        return {"Metadata": {}}

    def put_object(self, **options: Any) -> None:
        self.stored_bytes = options["Body"].seek(0, io.SEEK_END)


def test_twenty_thousand_rows_take_no_more_memory_than_two(
    desk: Desk, csv_worker: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # What the test would record is not the worker's.
    monkeypatch.setattr(desk.carrier, "sent", deque(maxlen=1))
    monkeypatch.setattr(desk.carrier, "row_errors", deque(maxlen=1))
    peaks, stored = [], []
    for rows in (2_000, 20_000):
        parts_list = tmp_path / f"{rows}.csv"
        with parts_list.open("wb") as file:
            write_parts_list(rows, file)
        s3 = StreamingS3(parts_list)
        monkeypatch.setattr(sys.modules["uploads"], "s3", partial(lambda s3: s3, s3))
        tracemalloc.start()
        try:
            outcome = csv_worker.handler(event_of(KEY, parts_list.stat().st_size, str(rows)), None)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert outcome[KEY].startswith(f"{rows - 12:,} parts imported")
        stored.append(s3.stored_bytes)
    # Less than a quarter of what the result has grown.
    assert stored[1] - stored[0] > 400_000
    assert peaks[1] - peaks[0] < 100_000


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_a_picture_becomes_a_thumbnail_and_its_user_sees_0_and_100(
    desk: Desk, image_worker: Any, tmp_path: Path
) -> None:
    key = "uploads/user-1/moc-1/blue.png"
    picture = next(path for path in make_samples(tmp_path).images if path.name == "blue.png")
    event = desk.put(picture.read_bytes(), key)
    assert image_worker.handler(event, None) == {key: "1 thumbnail made"}
    assert Image.open(io.BytesIO(desk.result("thumbnails/user-1/moc-1/blue.png"))).size == (256, 171)
    assert (desk.progress()[0], desk.progress()[-1]) == (0, 100)
    assert {state["uploadId"] for state in desk.of_type("upload_progress")} == {"moc-1/blue.png"}
    assert desk.of_type("notification")[0]["severity"] == "success"
    assert image_worker.handler(event, None) == {key: "already done"}


def test_what_is_no_picture_is_told_and_leaves_nothing(desk: Desk, image_worker: Any) -> None:
    key = "uploads/user-1/moc-1/not-an-image.png"
    outcome = image_worker.handler(desk.put(b"some text", key), None)
    assert outcome[key].startswith("NOT_AN_IMAGE: There is no thumbnail of not-an-image.png: it is not one of JPEG")
    assert desk.of_type("error")[0]["code"] == "NOT_AN_IMAGE"
    # It is read to its end before it is decoded.
    assert (desk.progress()[0], desk.progress()[-1]) == (0, 99)
    assert desk.keys("thumbnails/") == []


# --- the guide's handler ----------------------------------------------------------------------------------------------


def test_the_guide_s_handler_says_what_the_guide_says(
    desk: Desk, guide_handler: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPLOADS_BUCKET", "uploads")
    desk.put(HEADER + b"3001,Br\xfcck,Red,4\n" * 250, "parts-list.csv")
    event = {"body": json.dumps({"userId": "user-1", "mocId": "moc-1", "s3Key": "parts-list.csv"})}
    assert guide_handler.handler(event, None) is None
    assert [(s["progress"], s["message"], s.get("currentRow")) for s in desk.of_type("upload_progress")] == [
        (0, "Starting CSV parsing...", None),
        (0.5, "Parsing row 100...", 100),
        (1.0, "Parsing row 200...", 200),
        (100, "CSV parsing complete!", None),
    ]
