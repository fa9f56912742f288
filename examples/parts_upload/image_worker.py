"""The guide's image worker: it makes thumbnails of pictures and publishes its progress.

In: image files, a folder for the thumbnails, the user and the upload id. Out: `1.jpg`, `2.jpg`, … in the order of the
images, a `Report`, and messages to every device of the user: progress, an `error` message about skipped images, a
notification.

Rules:
- Pillow works in a thread, one image at a time, so the event loop is not blocked. The worker does not end before its
  thread, also if it is stopped, so nobody writes into the folder afterwards.
- The size of an image is checked before it is decoded: a small file may unpack to gigabytes.
- A bad image is reported and skipped, and leaves no file. A cancelled upload leaves no files either.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from PIL import Image, ImageOps, UnidentifiedImageError

from examples.parts_upload.csv_worker import Pause, yield_to_loop
from examples.parts_upload.publishing import display_name, publish_all, summary_if_cancelled
from examples.parts_upload.report import Kind, Report
from tellwire import UploadCancelled, track_upload

MAX_FILE_BYTES: Final = 20 * 1024 * 1024
MAX_PIXELS: Final = 40_000_000
THUMBNAIL_SIDE: Final = 256

# Pillow reads many more formats, some of them (EPS) by starting other programs.
FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF")


class Cause(StrEnum):
    """The reason for skipping an image."""

    UNREADABLE = "UNREADABLE"
    FILE_TOO_BIG = "FILE_TOO_BIG"
    NOT_AN_IMAGE = "NOT_AN_IMAGE"
    TOO_MANY_PIXELS = "TOO_MANY_PIXELS"
    DAMAGED = "DAMAGED"


REASONS: Final[Mapping[str, str]] = {
    Cause.UNREADABLE: "it cannot be opened",
    Cause.FILE_TOO_BIG: f"it is bigger than {MAX_FILE_BYTES // 1024**2} MB",
    Cause.NOT_AN_IMAGE: f"it is not one of {', '.join(FORMATS)}",
    Cause.TOO_MANY_PIXELS: f"it has more than {MAX_PIXELS // 1_000_000} million pixels",
    Cause.DAMAGED: "it is damaged or cut off",
}

IMAGES: Final = Kind("image", "thumbnail", "made", "BAD_IMAGES", REASONS)


class BadImage(Exception):
    """An image cannot be made into a thumbnail."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(REASONS[cause])
        self.cause = cause


async def make_thumbnails(
    images: Sequence[Path],
    folder: Path,
    user_id: str,
    upload_id: str,
    title: str = "images",
    *,
    pause: Pause = yield_to_loop,
    run: str | None = None,
) -> Report:
    """Make a thumbnail of each image and publish the progress.

    `title` is the file name that the user sees; `run` is that of `queue_upload`, if the upload has waited.

    Raises:
        UploadCancelled: the user cancelled the upload.
    """
    report = Report(IMAGES)
    async with track_upload(user_id, upload_id, title, total_rows=len(images), run=run) as upload:
        with summary_if_cancelled(upload, "image"), discarding_if_cancelled() as made:
            async for number, path in upload.count(enumerate(images, 1)):
                upload.raise_if_cancelled()
                upload.update(message=f"Image {number:,} of {len(images):,}")
                thumbnail = folder / f"{number}.jpg"
                try:
                    await in_thread(partial(make_thumbnail, path, thumbnail))
                    made.append(thumbnail)
                    report.kept += 1
                except BadImage as bad:
                    report.skip(display_name(path), bad.cause)
                await pause()
            upload.raise_if_cancelled()
        upload.summary = report.summary
    await publish_all(user_id, report.messages(upload_id, title))
    return report


async def in_thread(work: Callable[[], None]) -> None:
    """Call a function in a thread, and wait for its end also when cancelled, as a thread cannot be stopped."""
    thread = asyncio.create_task(asyncio.to_thread(work))
    try:
        await asyncio.wait([thread])
    except asyncio.CancelledError:
        await asyncio.wait([thread])
        thread.exception()  # taken from it, so that nobody reports it as lost
        raise
    await thread


@contextmanager
def discarding_if_cancelled() -> Iterator[list[Path]]:
    """Yield a list for the files that are made in the block; they are deleted if it is cancelled."""
    made: list[Path] = []
    try:
        yield made
    except UploadCancelled:
        for file in made:
            file.unlink(missing_ok=True)
        raise


def make_thumbnail(path: Path, thumbnail: Path) -> None:
    """Write a thumbnail of one image, upright, as a JPEG.

    Raises:
        BadImage: it cannot be read, is not an image of these formats, or is too big.
    """
    with _opened(path) as file, _identified(file) as image:
        small = _shrunk(image)
    thumbnail.parent.mkdir(parents=True, exist_ok=True)
    small.save(thumbnail, "JPEG", quality=85)


def _opened(path: Path) -> BinaryIO:
    try:
        if not path.is_file():
            raise BadImage(Cause.UNREADABLE)
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadImage(Cause.FILE_TOO_BIG)
        return path.open("rb")
    except OSError as error:
        raise BadImage(Cause.UNREADABLE) from error


def _identified(file: BinaryIO) -> Image.Image:
    try:
        return Image.open(file, formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage(Cause.TOO_MANY_PIXELS) from error
    except UnidentifiedImageError as error:
        raise BadImage(Cause.NOT_AN_IMAGE) from error
    except Exception as error:
        # On hostile bytes a decoder may raise any error.
        raise BadImage(Cause.DAMAGED) from error


def _shrunk(image: Image.Image) -> Image.Image:
    # Only the image's header has been read so far.
    if image.width * image.height > MAX_PIXELS:
        raise BadImage(Cause.TOO_MANY_PIXELS)
    try:
        return _upright_thumbnail(image)
    except Exception as error:
        raise BadImage(Cause.DAMAGED) from error


def _upright_thumbnail(image: Image.Image) -> Image.Image:
    # Palettes cannot be averaged. All others are shrunk first: then a JPEG is decoded at a fraction of its size.
    small = image.convert("RGBA") if image.mode in ("P", "1") else image
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    if small.mode.startswith("I;16"):
        # Pillow would clip 16-bit greys to 8 bits: nearly all of them to white.
        small = small.point(lambda grey: grey / 256).convert("L")
    upright = ImageOps.exif_transpose(small).convert("RGBA")
    thumbnail = Image.new("RGB", upright.size, "white")
    thumbnail.paste(upright, mask=upright)
    return thumbnail
