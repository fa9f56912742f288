"""Uploads from the page: files are written to disk, and the two workers process them in this process.

    put(file) … put(file) ─▶ start(kind) ─▶ import_parts | make_thumbnails ─▶ the user's devices

Rules:
- A user reaches their own uploads only: each has its own folder, named by user and upload.
- At most `RUNNING` workers run at once; the others wait. A file has at most `MAX_FILE_BYTES`.
- Files are deleted when the worker is done. Thumbnails are kept until this process ends, unless their upload was
  cancelled.
"""

import asyncio
import logging
import re
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, TypeAlias

from examples.parts_upload.csv_worker import Pause, import_parts, yield_to_loop
from examples.parts_upload.image_worker import make_thumbnails
from examples.parts_upload.make_samples import Samples
from tellwire import (
    Broadcaster,
    InvalidMessage,
    MessageTooBig,
    UploadCancelled,
    UploadFailed,
    use_broadcaster,
)
from tellwire.model import new_message_id

logger = logging.getLogger("parts_upload")

RUNNING: Final = 4
MAX_FILES: Final = 200
MAX_FILE_BYTES: Final = 64 * 1024 * 1024
_UPLOAD_ID: Final = re.compile(r"[a-z0-9-]{1,64}")
_MAX_NAME_BYTES: Final = 200

Kind: TypeAlias = Literal["parts", "images"]
Worker: TypeAlias = Callable[[], Coroutine[Any, Any, object]]


@dataclass(frozen=True, slots=True)
class UploadFolder:
    """Folders of the files and thumbnails of one upload."""

    path: Path

    @property
    def files(self) -> Path:
        return self.path / "files"

    @property
    def thumbnails(self) -> Path:
        return self.path / "thumbnails"

    def file(self, number: int, name: str) -> Path:
        """Return the path of the file with this number. Two files may have the same name.

        Raises:
            InvalidMessage: the number or the name is not valid.
        """
        if not 1 <= number <= MAX_FILES:
            raise InvalidMessage("number", number, f"a number from 1 to {MAX_FILES}")
        is_name = 0 < len(name.encode(errors="replace")) <= _MAX_NAME_BYTES and name.isprintable()
        if not is_name or "/" in name or name in (".", ".."):
            raise InvalidMessage("name", name, f"a file's name of at most {_MAX_NAME_BYTES} bytes, without a path")
        return self.files / f"{number:04}" / name

    def all_files(self) -> list[Path]:
        """Return the files received so far, in the order of their numbers."""
        return sorted(self.files.glob("*/*"))


class Uploads:
    """Stores files and runs the workers. A paced worker awaits `pause` after each batch."""

    def __init__(self, root: Path, broadcaster: Broadcaster, pause: Pause) -> None:
        self._root = root
        self._broadcaster = broadcaster
        self._pause = pause
        self._slots = asyncio.Semaphore(RUNNING)
        self._jobs: set[asyncio.Task[None]] = set()

    def folder(self, user_id: str, upload_id: str) -> UploadFolder:
        """Return the folder of an upload, which may not exist yet.

        Raises:
            InvalidMessage: the id is not valid.
        """
        if not _UPLOAD_ID.fullmatch(upload_id):
            raise InvalidMessage("upload id", upload_id, "1 to 64 of a-z, 0-9 and -")
        return UploadFolder(self._root / sha256(user_id.encode()).hexdigest()[:32] / upload_id)

    async def put(self, file: Path, content: AsyncIterator[bytes]) -> None:
        """Write a file as it arrives.

        Raises:
            MessageTooBig: the file is too big; it is deleted.
        """
        size = 0
        with _written(file) as opened:
            async for chunk in content:
                size += len(chunk)
                if size > MAX_FILE_BYTES:
                    raise MessageTooBig(size, MAX_FILE_BYTES)
                opened.write(chunk)

    def start(self, user_id: str, upload_id: str, kind: Kind, *, is_paced: bool) -> None:
        """Start the worker with the files that were put.

        Raises:
            InvalidMessage: there are no files, or several parts lists.
        """
        folder = self.folder(user_id, upload_id)
        files = folder.all_files()
        if not files or (kind == "parts" and len(files) > 1):
            raise InvalidMessage("files", len(files), "one parts list" if kind == "parts" else "at least one image")
        self._start(user_id, upload_id, kind, files, is_paced)

    def start_samples(self, user_id: str, samples: Samples, *, is_paced: bool) -> None:
        """Start both workers with the sample files."""
        self._start(user_id, f"sample-{new_message_id()}", "parts", [samples.parts_list], is_paced)
        self._start(user_id, f"sample-{new_message_id()}", "images", samples.images, is_paced)

    async def close(self) -> None:
        """Stop all workers; their uploads end as interrupted."""
        for job in self._jobs:
            job.cancel()
        if self._jobs:
            await asyncio.wait(self._jobs)

    def _start(self, user_id: str, upload_id: str, kind: Kind, files: Sequence[Path], is_paced: bool) -> None:
        folder = self.folder(user_id, upload_id)
        pause = self._pause if is_paced else yield_to_loop
        folder.path.mkdir(parents=True, exist_ok=True)
        worker: Worker
        if kind == "parts":
            database = folder.path / "parts.sqlite3"
            worker = partial(import_parts, files[0], database, user_id, upload_id, pause=pause)
        else:
            title = files[0].name if len(files) == 1 else f"{len(files)} images"
            worker = partial(make_thumbnails, files, folder.thumbnails, user_id, upload_id, title, pause=pause)
        job = asyncio.create_task(self._run(worker, folder), name=f"upload-{upload_id}")
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _run(self, worker: Worker, folder: UploadFolder) -> None:
        try:
            async with self._slots:
                with use_broadcaster(self._broadcaster), suppress(UploadFailed, UploadCancelled):
                    await worker()
        except Exception:
            # The user has been notified that it failed; the reason is for the operator.
            logger.exception("an upload failed")
        finally:
            shutil.rmtree(folder.files, ignore_errors=True)


@contextmanager
def _written(file: Path) -> Iterator[BinaryIO]:
    """Open a file for writing; it is deleted if the block fails."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("wb") as opened:
            yield opened
    except BaseException:
        file.unlink(missing_ok=True)
        raise
