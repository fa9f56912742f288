"""The image worker: thumbnails of good pictures, and the causes of bad ones."""

import asyncio
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from examples.parts_upload import image_worker
from examples.parts_upload.image_worker import MAX_FILE_BYTES, THUMBNAIL_SIDE, BadImage, Cause, make_thumbnail
from examples.parts_upload.make_samples import make_samples
from tellwire import UploadCancelled, track_upload
from tellwire.model import Delivery
from tellwire.testing import MemoryCarrier

RED = (200, 30, 30)


def picture(path: Path, size: tuple[int, int] = (640, 480), mode: str = "RGB", **options: Any) -> Path:
    """Save a picture whose left half is red and whose right half is white."""
    image = Image.new("RGB", size, "white")
    image.paste(RED, (0, 0, size[0] // 2, size[1]))
    image.convert(mode).save(path, **options)
    return path


def is_red(pixel: Any) -> bool:
    return bool(pixel[0] > 150 and pixel[1] < 90 and pixel[2] < 90)


def cause_of(path: Path) -> Cause:
    """Make a thumbnail that fails; return the cause, after a check that nothing was written."""
    thumbnail = path.with_name("thumbnail.jpg")
    with pytest.raises(BadImage) as caught:
        make_thumbnail(path, thumbnail)
    assert not thumbnail.exists()
    return caught.value.cause


# --- one image -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("a.jpg", "RGB"),
        ("a.jpg", "L"),
        ("a.jpg", "CMYK"),
        ("a.png", "RGB"),
        ("a.png", "RGBA"),
        ("a.png", "LA"),
        ("a.png", "P"),
        ("a.png", "1"),
        ("a.gif", "P"),
        ("a.webp", "RGB"),
        ("named-wrongly.png.jpeg", "RGB"),
    ],
)
def test_a_thumbnail_is_a_small_jpeg_of_the_same_shape(tmp_path: Path, name: str, mode: str) -> None:
    path = picture(tmp_path / name, mode=mode)
    make_thumbnail(path, tmp_path / "thumbnail.jpg")
    with Image.open(tmp_path / "thumbnail.jpg") as thumbnail:
        assert (thumbnail.format, thumbnail.mode, thumbnail.size) == ("JPEG", "RGB", (256, 192))
        left, right = thumbnail.getpixel((60, 96)), thumbnail.getpixel((200, 96))
    assert right == pytest.approx((255, 255, 255), abs=8)
    assert is_red(left) or mode in ("L", "LA", "1")


def test_sixteen_bit_grey_stays_grey(tmp_path: Path) -> None:
    Image.new("I;16", (100, 100), 0x8000).save(tmp_path / "a.png")
    make_thumbnail(tmp_path / "a.png", tmp_path / "thumbnail.jpg")
    with Image.open(tmp_path / "thumbnail.jpg") as thumbnail:
        assert thumbnail.getpixel((50, 50)) == (128, 128, 128)


@pytest.mark.parametrize("mode", ["1", "P"])
def test_a_palette_is_averaged_as_well(tmp_path: Path, mode: str) -> None:
    # Stripes of one pixel. Picking pixels would give black or white; averaging gives grey.
    stripes = Image.frombytes("L", (1024, 1024), b"\x00\xff" * (1024 * 512))
    stripes.convert(mode).save(tmp_path / "a.png")
    make_thumbnail(tmp_path / "a.png", tmp_path / "thumbnail.jpg")
    with Image.open(tmp_path / "thumbnail.jpg") as thumbnail:
        assert thumbnail.getpixel((128, 128)) == pytest.approx((128, 128, 128), abs=8)


def test_what_is_transparent_becomes_white(tmp_path: Path) -> None:
    Image.new("RGBA", (100, 100), (0, 0, 0, 0)).save(tmp_path / "a.png")
    make_thumbnail(tmp_path / "a.png", tmp_path / "thumbnail.jpg")
    with Image.open(tmp_path / "thumbnail.jpg") as thumbnail:
        assert thumbnail.getpixel((50, 50)) == (255, 255, 255)


def test_a_picture_taken_with_the_camera_on_its_side_stands_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # "Rotate 90° clockwise to show": the left half becomes the upper one.
    make_thumbnail(picture(tmp_path / "a.jpg", exif=exif), tmp_path / "thumbnail.jpg")
    with Image.open(tmp_path / "thumbnail.jpg") as thumbnail:
        assert thumbnail.size == (192, 256)
        assert is_red(thumbnail.getpixel((96, 60)))
        assert not is_red(thumbnail.getpixel((96, 200)))


def test_a_small_picture_is_not_made_bigger(tmp_path: Path) -> None:
    make_thumbnail(picture(tmp_path / "a.png", (16, 8)), tmp_path / "thumbnail.jpg")
    with Image.open(tmp_path / "thumbnail.jpg") as thumbnail:
        assert thumbnail.size == (16, 8)


def test_a_very_long_picture_still_has_a_thumbnail(tmp_path: Path) -> None:
    make_thumbnail(picture(tmp_path / "a.png", (5000, 1)), tmp_path / "thumbnail.jpg")
    with Image.open(tmp_path / "thumbnail.jpg") as thumbnail:
        assert thumbnail.size == (THUMBNAIL_SIDE, 1)


# --- bad ones --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"not an image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_what_is_no_image_we_take_is_left_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    assert cause_of(tmp_path / "a.png") is Cause.NOT_AN_IMAGE


def test_a_format_that_only_pillow_knows_is_left_out(tmp_path: Path) -> None:
    assert cause_of(picture(tmp_path / "a.bmp")) is Cause.NOT_AN_IMAGE


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.gif"])
def test_an_image_that_was_cut_off_is_left_out(tmp_path: Path, name: str) -> None:
    content = picture(tmp_path / name, (900, 900)).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    assert cause_of(tmp_path / name) in (Cause.DAMAGED, Cause.NOT_AN_IMAGE)


@pytest.mark.parametrize("side", [6_325, 9_500, 14_000])
def test_an_image_that_unpacks_to_too_many_pixels_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    # Just over our limit, over Pillow's warning, over Pillow's error.
    bomb = tmp_path / "bomb.png"
    Image.new("1", (side, side)).save(bomb)
    assert bomb.stat().st_size < 200_000

    def decode(*_: object) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(Image.Image, "load", decode)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    limit_of_pillow = Image.MAX_IMAGE_PIXELS
    assert cause_of(bomb) is Cause.TOO_MANY_PIXELS
    assert limit_of_pillow == Image.MAX_IMAGE_PIXELS


def test_an_image_just_within_the_limit_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_worker, "MAX_PIXELS", 64 * 64)
    make_thumbnail(picture(tmp_path / "a.png", (64, 64)), tmp_path / "within.jpg")
    assert cause_of(picture(tmp_path / "a.png", (65, 64))) is Cause.TOO_MANY_PIXELS


def test_a_file_that_is_too_big_is_not_even_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    monkeypatch.setattr(Image, "open", None)
    assert cause_of(tmp_path / "a.png") is Cause.FILE_TOO_BIG


def test_a_missing_file_and_a_folder_are_left_out(tmp_path: Path) -> None:
    assert cause_of(tmp_path / "missing.png") is Cause.UNREADABLE
    (tmp_path / "folder.png").mkdir()
    assert cause_of(tmp_path / "folder.png") is Cause.UNREADABLE


# --- all of them -----------------------------------------------------------------------------------------------------


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


async def test_the_event_loop_is_free_while_pillow_works(
    tmp_path: Path, carrier: MemoryCarrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    the_loop_had_its_turn = threading.Event()

    def slow(path: Path, thumbnail: Path) -> None:
        loop.call_soon_threadsafe(the_loop_had_its_turn.set)
        assert the_loop_had_its_turn.wait(10)

    monkeypatch.setattr(image_worker, "make_thumbnail", slow)
    report = await make_all([tmp_path / "a.png"], tmp_path)
    assert report.kept == 1


@pytest.mark.parametrize("problem", [None, BadImage(Cause.DAMAGED)])
async def test_a_worker_that_is_stopped_ends_after_its_thread_so_that_its_folder_can_be_removed(
    tmp_path: Path, carrier: MemoryCarrier, monkeypatch: pytest.MonkeyPatch, problem: BadImage | None
) -> None:
    loop = asyncio.get_running_loop()
    has_begun, may_go_on = asyncio.Event(), threading.Event()

    def slow(path: Path, thumbnail: Path) -> None:
        loop.call_soon_threadsafe(has_begun.set)
        assert may_go_on.wait(10)
        thumbnail.write_bytes(b"late")
        if problem is not None:
            raise problem

    monkeypatch.setattr(image_worker, "make_thumbnail", slow)
    job = asyncio.create_task(make_all([tmp_path / "a.png"], tmp_path))
    await has_begun.wait()
    job.cancel()
    # Publishing what has happened takes turns of the loop as well.
    for _ in range(20):
        await asyncio.sleep(0)
    assert not job.done()
    loop.call_soon(may_go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await job
    assert (tmp_path / "1.jpg").read_bytes() == b"late"


async def test_a_full_disk_is_not_blamed_on_the_image(
    tmp_path: Path, carrier: MemoryCarrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    path = picture(tmp_path / "a.png")
    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space left"):
        await make_all([path], tmp_path / "thumbnails")
    assert carrier.sent_to("user-1")[-1]["data"]["code"] == "UPLOAD_FAILED"


@pytest.mark.skipif("sys.platform != 'linux'", reason="file names are any bytes on Linux only")
async def test_a_file_name_that_is_not_text_can_be_reported(tmp_path: Path, carrier: MemoryCarrier) -> None:
    await make_all([tmp_path / "br\udcfcck.png"], tmp_path)
    assert carrier.sent_to("user-1")[-2]["data"]["details"]["causes"][0]["images"] == ["br\ufffdck.png"]
