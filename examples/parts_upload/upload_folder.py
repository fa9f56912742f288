"""The folder of one upload: its files, its thumbnails, and the job that works on them.

    files/0001/parts.csv    a file, below its number
    job.json                the job, from its start to its end: where there is one, the server before was interrupted
    thumbnails/1.jpg        the results
    parts.sqlite3

Rules:
- The name of a file is kept as it is. It is never a path.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from tellwire import InvalidMessage

MAX_FILES: Final = 200
_MAX_NAME_BYTES: Final = 200

Kind: TypeAlias = Literal["parts", "images"]


class Job(msgspec.Struct, frozen=True):
    """An upload that was started: its user, its worker, and whether it runs with pauses."""

    user_id: str
    upload_id: str
    kind: Kind
    is_paced: bool


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

    @property
    def database(self) -> Path:
        return self.path / "parts.sqlite3"

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

    def begin(self, job: Job) -> None:
        """Write the job down."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._job.write_bytes(msgspec.json.encode(job))

    def end(self) -> None:
        """Forget the job: it has ended."""
        self._job.unlink(missing_ok=True)

    @property
    def _job(self) -> Path:
        return self.path / "job.json"


def interrupted_jobs(root: Path) -> Iterator[Job]:
    """Yield the jobs that had not ended when the server before did."""
    for path in sorted(root.glob("*/*/job.json")):
        try:
            yield msgspec.json.decode(path.read_bytes(), type=Job)
        except msgspec.DecodeError:
            path.unlink()  # the server ended while it wrote it: nothing was begun
