"""The image worker: thumbnails of many pictures, and its messages."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from examples.parts_upload import image_worker
from examples.parts_upload.make_samples import make_samples
from tellwire import UploadCancelled, track_upload
from tellwire.model import Delivery
from tellwire.testing import MemoryCarrier


def picture(path: Path) -> Path:
    """Save a picture."""
    Image.new("RGB", (640, 480), "white").save(path)
    return path


async def make_all(images: list[Path], folder: Path) -> Any:
    return await image_worker.make_thumbnails(images, folder, "user-1", "moc-1")


async def test_one_bad_image_does_not_stop_the_others(tmp_path: Path, carrier: MemoryCarrier) -> None:
    images = make_samples(tmp_path / "server-folder", rows=1).images
    images.insert(1, images.pop())
    report = await make_all(images, tmp_path / "thumbnails")
    assert (report.kept, report.skipped) == (5, 1)
    assert sorted(path.name for path in (tmp_path / "thumbnails").iterdir()) == [f"{n}.jpg" for n in (1, 3, 4, 5, 6)]

    *states, error, notification = carrier.sent_to("user-1")
    assert (states[0]["data"]["progress"], states[0]["data"]["totalRows"]) == (0, 6)
    assert (states[-1]["data"]["progress"], states[-1]["data"]["currentRow"]) == (100, 6)
    assert error["data"]["code"] == "BAD_IMAGES"
    (cause,) = error["data"]["details"]["causes"]
    assert (cause["cause"], cause["images"]) == ("NOT_AN_IMAGE", ["not-an-image.png"])
    assert notification["data"]["message"] == "images: 5 thumbnails made, 1 image left out"
    assert "server-folder" not in str(carrier.sent)


async def test_good_images_only_end_with_success(tmp_path: Path, carrier: MemoryCarrier) -> None:
    await make_all([picture(tmp_path / "a.png")], tmp_path / "thumbnails")
    *_, state, notification = carrier.sent_to("user-1")
    assert state["data"]["message"] == "1 thumbnail made"
    assert notification["data"]["severity"] == "success"


async def test_no_images_at_all_are_complete(tmp_path: Path, carrier: MemoryCarrier) -> None:
    await make_all([], tmp_path)
    assert [m["type"] for m in carrier.sent_to("user-1")] == ["upload_progress", "upload_progress", "notification"]


async def test_images_of_the_same_name_do_not_overwrite_each_other(tmp_path: Path, carrier: MemoryCarrier) -> None:
    (tmp_path / "other").mkdir()
    images = [picture(tmp_path / "a.png"), picture(tmp_path / "other" / "a.png")]
    await make_all(images, tmp_path / "thumbnails")
    assert len(list((tmp_path / "thumbnails").iterdir())) == 2


async def test_images_that_are_cancelled_leave_no_thumbnail_and_nothing_else_is_touched(
    tmp_path: Path, carrier: MemoryCarrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One update per row instead of by time, so that the worker notices the cancel after the first image.
    monkeypatch.setattr(image_worker, "track_upload", partial(track_upload, every_rows=1))

    async def cancel() -> None:
        carrier.answer = Delivery(cancelled=True)

    (tmp_path / "thumbnails").mkdir()
    (tmp_path / "thumbnails" / "2.jpg").write_bytes(b"of before")
    images = [picture(tmp_path / f"{number}.png") for number in range(3)]
    with pytest.raises(UploadCancelled):
        await image_worker.make_thumbnails(images, tmp_path / "thumbnails", "user-1", "moc-1", pause=cancel)
    assert [file.name for file in (tmp_path / "thumbnails").iterdir()] == ["2.jpg"]
    last = carrier.sent_to("user-1")[-1]["data"]
    assert (last["status"], last["message"]) == ("cancelled", "Cancelled after 1 image. Nothing of it was kept.")


async def test_thumbnails_that_cannot_be_written_are_not_blamed_on_the_image(
    tmp_path: Path, carrier: MemoryCarrier
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        await make_all([picture(tmp_path / "a.png")], tmp_path / "file" / "thumbnails")
    assert carrier.sent_to("user-1")[-1]["data"]["code"] == "UPLOAD_FAILED"


@pytest.mark.skipif("sys.platform != 'linux'", reason="file names are any bytes on Linux only")
async def test_a_file_name_that_is_not_text_can_be_reported(tmp_path: Path, carrier: MemoryCarrier) -> None:
    await make_all([tmp_path / "br\udcfcck.png"], tmp_path)
    assert carrier.sent_to("user-1")[-2]["data"]["details"]["causes"][0]["images"] == ["br\ufffdck.png"]
