"""Uploads from the page: files are written to disk, and the two workers process them in this process.

    put(file) … put(file) ─▶ start(kind) ─▶ queued ─▶ import_parts | make_thumbnails ─▶ the user's devices

Rules:
- A user reaches their own uploads only: each has its own folder, named by user and upload.
- An upload is shown as soon as it is started. At most `RUNNING` workers run at once, and `RUNNING_PER_USER` of one user
  (see `places`); the others wait. One that a device cancels while it waits ends at once.
- While an upload runs, or waits, its files stay as they are, and it is not started again.
- Files that were put, and never started with, are removed after `ABANDONED_SECONDS`.
- Files are deleted when the worker is done. When the server stops, jobs end as interrupted, and their files stay: the
  next server in this folder begins them again.
"""

import asyncio
import logging
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeAlias

from examples.parts_upload.csv_worker import Pause, import_parts, yield_to_loop
from examples.parts_upload.image_worker import make_thumbnails
from examples.parts_upload.make_samples import Samples
from examples.parts_upload.places import Places
from examples.parts_upload.publishing import display_name
from examples.parts_upload.refusals import NoSuchUpload, NothingToStart, ServerStops, StillArriving, UploadIsRunning
from examples.parts_upload.thumbnail_processes import ThumbnailProcesses
from examples.parts_upload.upload_folder import (
    MAX_FILES,
    Job,
    Kind,
    UploadFolder,
    all_folders,
    check_size,
    interrupted_jobs,
)
from tellwire import (
    Broadcaster,
    InvalidMessage,
    UploadCancelled,
    UploadFailed,
    queue_upload,
    track_upload,
    use_broadcaster,
)
from tellwire.model import new_message_id

logger = logging.getLogger("parts_upload")

RUNNING: Final = 16
RUNNING_PER_USER: Final = 2
DECODING: Final = 2
"""Pictures that are decoded at once."""

ABANDONED_SECONDS: Final = 3600.0
_SWEEP_SECONDS: Final = 300.0
_UPLOAD_ID: Final = re.compile(r"[a-z0-9-]{1,64}")

Worker: TypeAlias = Callable[..., Coroutine[Any, Any, object]]


class Uploads:
    """Stores files and runs the workers. A paced worker awaits `pause` after each batch."""

    def __init__(self, root: Path, broadcaster: Broadcaster, pause: Pause) -> None:
        self._root = root
        self._broadcaster = broadcaster
        self._pause = pause
        self._processes = ThumbnailProcesses(DECODING)
        self._places = Places(RUNNING, RUNNING_PER_USER)
        self._jobs: dict[Path, asyncio.Task[None]] = {}
        # Those of the jobs that wait for a place; False: a device has cancelled it.
        self._waiting: dict[Path, bool] = {}
        self._sweeping: asyncio.Task[None] | None = None
        self._is_closed = False

    def folder(self, user_id: str, upload_id: str) -> UploadFolder:
        """Return the folder of an upload, which may not exist yet.

        Raises:
            InvalidMessage: the id is not valid.
        """
        if not _UPLOAD_ID.fullmatch(upload_id):
            raise InvalidMessage("upload id", upload_id, "1 to 64 of a-z, 0-9 and -")
        return UploadFolder(self._root / sha256(user_id.encode()).hexdigest()[:32] / upload_id)

    def require_idle(self, folder: UploadFolder) -> None:
        """Check that no job works on an upload, or waits.

        Raises:
            UploadIsRunning: one does.
        """
        if folder.path in self._jobs:
            raise UploadIsRunning

    async def put(
        self, user_id: str, upload_id: str, number: int, name: str, content: AsyncIterator[bytes], size_bytes: int = 0
    ) -> None:
        """Store a file when all of it has arrived. `size_bytes` is its size, if it was announced.

        Raises:
            FileRefused: its number, name or size is not allowed.
            UploadIsRunning: the upload was started.
        """
        folder = self.folder(user_id, upload_id)
        file = folder.file(number, name)
        check_size(name, size_bytes)
        self.require_idle(folder)
        with folder.incoming() as incoming:
            async for chunk in content:
                incoming.write(chunk, name)
            self.require_idle(folder)
            folder.take(incoming.whole(), file)

    def delete(self, user_id: str, upload_id: str) -> None:
        """Remove an upload, with its files and its results.

        Raises:
            UploadIsRunning: it was started, and has not ended.
            NoSuchUpload: there is none.
        """
        folder = self.folder(user_id, upload_id)
        self.require_idle(folder)
        if not folder.path.exists():
            raise NoSuchUpload(upload_id)
        folder.remove()

    def remove_abandoned(self, now: float) -> None:
        """Remove the uploads whose files were sent long ago, and that were never started."""
        for folder in all_folders(self._root):
            if folder.path not in self._jobs and folder.is_abandoned(now - ABANDONED_SECONDS):
                folder.remove()

    def start(self, user_id: str, upload_id: str, kind: Kind, *, is_paced: bool) -> None:
        """Start the worker with the files that were put.

        Raises:
            NothingToStart: there are no files, or several parts lists.
            StillArriving: a file has not arrived as a whole.
            UploadIsRunning: it was started already.
            ServerStops: the server ends.
        """
        folder = self.folder(user_id, upload_id)
        self.require_idle(folder)
        if folder.unfinished:
            raise StillArriving(folder.unfinished)
        count = len(folder.all_files())
        if not count or (kind == "parts" and count > 1):
            raise NothingToStart(count, "one parts list" if kind == "parts" else f"1 to {MAX_FILES} images")
        self._start(Job(user_id, upload_id, kind, is_paced), folder)

    def start_samples(self, user_id: str, samples: Samples, *, is_paced: bool) -> None:
        """Start both workers with copies of the sample files."""
        uploads: list[tuple[Kind, list[Path]]] = [("parts", [samples.parts_list]), ("images", samples.images)]
        for kind, files in uploads:
            upload_id = f"sample-{new_message_id()}"
            folder = self.folder(user_id, upload_id)
            for number, file in enumerate(files, 1):
                copy = folder.file(number, file.name)
                copy.parent.mkdir(parents=True)
                shutil.copyfile(file, copy)
            self.start(user_id, upload_id, kind, is_paced=is_paced)

    def open(self) -> None:
        """Begin again the uploads that were interrupted when the server before ended, and remove abandoned ones from
        time to time.
        """
        for job in interrupted_jobs(self._root):
            folder = self.folder(job.user_id, job.upload_id)
            if folder.all_files():
                self._start(job, folder)
            else:
                folder.end()
        self._sweeping = asyncio.create_task(self._sweep(), name="abandoned-uploads")

    def cancelled(self, user_id: str, upload_id: str) -> None:
        """End an upload that a device has cancelled, if it waits. One that runs hears of it by itself."""
        with suppress(InvalidMessage):  # it may be one of another program
            path = self.folder(user_id, upload_id).path
            if self._waiting.get(path):
                self._waiting[path] = False
                self._jobs[path].cancel()

    async def close(self) -> None:
        """Stop all workers; their uploads end as interrupted. Nothing is started any more."""
        self._is_closed = True
        tasks = [*self._jobs.values(), *([self._sweeping] if self._sweeping else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._processes.close()

    async def _sweep(self) -> None:
        while True:
            self.remove_abandoned(time.time())
            await asyncio.sleep(_SWEEP_SECONDS)

    def _start(self, job: Job, folder: UploadFolder) -> None:
        if self._is_closed:
            raise ServerStops
        folder.begin(job)
        task = asyncio.create_task(self._run(job, folder), name=f"upload-{job.upload_id}")
        self._jobs[folder.path] = task
        task.add_done_callback(lambda _: self._jobs.pop(folder.path, None))

    async def _run(self, job: Job, folder: UploadFolder) -> None:
        try:
            with use_broadcaster(self._broadcaster), suppress(UploadFailed, UploadCancelled):
                await self._work(job, folder)
        except asyncio.CancelledError:
            # The server ends. The next one begins it again.
            raise
        except Exception:
            # The user has been notified that it failed; the reason is for the operator.
            logger.exception("an upload failed")
        folder.end()

    async def _work(self, job: Job, folder: UploadFolder) -> None:
        files = folder.all_files()
        title = display_name(files[0]) if len(files) == 1 else f"{len(files)} images"
        run = await queue_upload(job.user_id, job.upload_id, title)
        async with AsyncExitStack() as stack:
            self._waiting[folder.path] = True
            try:
                await stack.enter_async_context(self._places.place(job.user_id))
            except asyncio.CancelledError:
                if not self._waiting[folder.path]:
                    raise UploadCancelled from None
                await _interrupt(job, title, run)
                raise
            finally:
                del self._waiting[folder.path]
            await self._worker(job, folder, files, title)(run=run)

    def _worker(self, job: Job, folder: UploadFolder, files: list[Path], title: str) -> Worker:
        pause = self._pause if job.is_paced else yield_to_loop
        if job.kind == "parts":
            return partial(import_parts, files[0], folder.database, job.user_id, job.upload_id, pause=pause)
        folder.name_thumbnails([display_name(file) for file in files])
        make = partial(make_thumbnails, files, folder.thumbnails, job.user_id, job.upload_id, title)
        return partial(make, pause=pause, processes=self._processes)


async def _interrupt(job: Job, title: str, run: str) -> None:
    """Publish that an upload was interrupted while it waited."""
    with suppress(asyncio.CancelledError):
        async with track_upload(job.user_id, job.upload_id, title, run=run):
            raise asyncio.CancelledError
