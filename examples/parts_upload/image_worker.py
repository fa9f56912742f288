"""The guide's image worker: it makes thumbnails of pictures and publishes its progress.

In: image files, a folder for the thumbnails, the user and the upload id. Out: `1.jpg`, `2.jpg`, … in the order of the
images, a `Report`, and messages to every device of the user: progress, an `error` message about skipped images, a
notification.

Rules:
- Pillow works in a process of its own (see `thumbnail_processes`), so neither the event loop nor the memory of this
  process depends on a picture. A worker that is stopped ends that process first.
- A bad image is reported and skipped, and leaves no file. A cancelled upload leaves no files either.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final

from examples.parts_upload.csv_worker import Pause, yield_to_loop
from examples.parts_upload.publishing import display_name, publish_all, summary_if_cancelled
from examples.parts_upload.report import Kind, Report
from examples.parts_upload.thumbnail import REASONS, BadImage
from examples.parts_upload.thumbnail_processes import ThumbnailProcesses
from tellwire import UploadCancelled, track_upload

IMAGES: Final = Kind("image", "thumbnail", "made", "BAD_IMAGES", REASONS)


async def make_thumbnails(
    images: Sequence[Path],
    folder: Path,
    user_id: str,
    upload_id: str,
    title: str = "images",
    *,
    pause: Pause = yield_to_loop,
    run: str | None = None,
    processes: ThumbnailProcesses | None = None,
) -> Report:
    """Make a thumbnail of each image and publish the progress.

    `title` is the file name that the user sees; `run` is that of `queue_upload`, if the upload has waited. `processes`
    do the work; None: one of its own.

    Raises:
        UploadCancelled: the user cancelled the upload.
    """
    report = Report(IMAGES)
    tracked = track_upload(user_id, upload_id, title, total_rows=len(images), run=run)
    async with tracked as upload, nullcontext(processes) if processes else ThumbnailProcesses() as workers:
        with summary_if_cancelled(upload, "image"), discarding_if_cancelled() as made:
            async for number, path in upload.count(enumerate(images, 1)):
                upload.raise_if_cancelled()
                upload.update(message=f"Image {number:,} of {len(images):,}")
                thumbnail = folder / f"{number}.jpg"
                try:
                    await workers.make(path, thumbnail)
                    made.append(thumbnail)
                    report.kept += 1
                except BadImage as bad:
                    thumbnail.unlink(missing_ok=True)
                    report.skip(display_name(path), bad.cause)
                await pause()
            upload.raise_if_cancelled()
        upload.summary = report.summary
    await publish_all(user_id, report.messages(upload_id, title))
    return report


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
