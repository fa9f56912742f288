"""The folder of one upload: its files, its thumbnails, and the job that works on them.

    incoming/…              a file while it arrives in one request
    arriving/0001.part      one that arrives in several (see tus)
    files/0001/parts.csv    a file that has arrived as a whole, below its number
    job.json                the job, from its start to its end: where there is one, the server before was interrupted
    names.json              the names of its images, in their order
    thumbnails/1.jpg        the results
    parts.sqlite3

Rules:
- A file is written under another name, and renamed when all of it is there. Two that arrive at once never mix.
- A number has one file: the last one that arrived.
- The name of a file is kept as it is, with all characters of all scripts. It is never a path, and it has no control
  characters.
"""

import shutil
import unicodedata
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Final, Literal, TypeAlias

import msgspec

from examples.parts_upload.refusals import FileRefused, FileTooBig
from tellwire.errors import shown

MAX_FILES: Final = 200
MAX_FILE_BYTES: Final = 64 * 1024 * 1024
MAX_NAME_BYTES: Final = 255
"""The longest name that file systems allow."""

_CHUNK_BYTES: Final = 64 * 1024

# Control characters, halves of pairs, and the separators of lines and of paragraphs. Emoji have joiners (Cf) in them.
_NOT_IN_NAMES: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})

Kind: TypeAlias = Literal["parts", "images"]


class Job(msgspec.Struct, frozen=True):
    """An upload that was started: its user, its worker, and whether it runs with pauses."""

    user_id: str
    upload_id: str
    kind: Kind
    is_paced: bool


class Thumbnail(msgspec.Struct, frozen=True):
    """A thumbnail: the number of its image in the upload, and the image's name."""

    number: str
    name: str


def checked_name(name: str) -> str:
    """Return a file's name as it is.

    Raises:
        FileRefused: it is none.
    """
    size = len(name.encode(errors="replace"))
    if not name or name in (".", ".."):
        raise FileRefused(f"name: got {shown(name)}; allowed: a file's name")
    if "/" in name:
        raise FileRefused(f"The name {shown(name)} is a path; allowed: a name without /")
    if any(unicodedata.category(each) in _NOT_IN_NAMES for each in name):
        raise FileRefused(f"The name {shown(name)} has a control character in it; allowed: all others")
    if size > MAX_NAME_BYTES:
        raise FileRefused(f"The name {shown(name)} is too long: got {size} bytes; allowed: at most {MAX_NAME_BYTES}")
    return name


@dataclass(frozen=True, slots=True)
class UploadFolder:
    """The folder at `path`, which may not exist yet."""

    path: Path

    @property
    def files(self) -> Path:
        return self.path / "files"

    @property
    def thumbnails(self) -> Path:
        return self.path / "thumbnails"

    @property
    def arriving(self) -> Path:
        return self.path / "arriving"

    @property
    def database(self) -> Path:
        return self.path / "parts.sqlite3"

    def file(self, number: int, name: str) -> Path:
        """Return the path of the file with this number. Two files may have the same name.

        Raises:
            FileRefused: the number or the name is not valid.
        """
        if not 1 <= number <= MAX_FILES:
            raise FileRefused(f"number: got {number}; allowed: 1 to {MAX_FILES}, the most files of an upload")
        return self.files / f"{number:04}" / checked_name(name)

    def all_files(self) -> list[Path]:
        """Return the files received so far, in the order of their numbers."""
        return sorted(self.files.glob("*/*"))

    @contextmanager
    def incoming(self) -> Iterator["Incoming"]:
        """Yield a file to be written. If it is not taken in the block, nothing of it stays."""
        folder = self.path / "incoming"
        folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=folder, delete=False) as opened:
            try:
                yield Incoming(opened)
            finally:
                Path(opened.name).unlink(missing_ok=True)

    def take(self, arrived: Path, file: Path) -> None:
        """Give a file that has arrived its name, and remove the one that had its number before.

        Raises:
            FileRefused: the upload was removed meanwhile.
        """
        if not arrived.exists():
            raise FileRefused("The upload was removed while the file arrived. Send it again.")
        shutil.rmtree(file.parent, ignore_errors=True)
        file.parent.mkdir(parents=True)
        arrived.replace(file)

    def name_thumbnails(self, names: list[str]) -> None:
        """Keep the names of the images: their files are gone when the job has ended."""
        self._names.write_bytes(msgspec.json.encode(names))

    def all_thumbnails(self) -> list[Thumbnail]:
        """Return the thumbnails that were made, in the order of their images."""
        numbers = sorted(int(file.stem) for file in self.thumbnails.glob("*.jpg"))
        if not numbers:
            return []
        names = msgspec.json.decode(self._names.read_bytes(), type=list[str])
        return [Thumbnail(str(number), names[number - 1]) for number in numbers]

    @property
    def unfinished(self) -> int:
        """Number of files that have not arrived as a whole."""
        return len(list(self.arriving.glob("*.part")))

    def begin(self, job: Job) -> None:
        """Write the job down, and remove the results of an earlier one."""
        shutil.rmtree(self.thumbnails, ignore_errors=True)
        self._job.write_bytes(msgspec.json.encode(job))

    def end(self) -> None:
        """Forget the job, which has ended, and its files."""
        self._job.unlink(missing_ok=True)
        shutil.rmtree(self.files, ignore_errors=True)
        shutil.rmtree(self.arriving, ignore_errors=True)

    def remove(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.path, ignore_errors=True)

    def is_abandoned(self, before: float) -> bool:
        """Return True if no job was started with its files, and the last of them arrived before this time."""
        if self._job.exists():
            return False
        folders = (self.files, self.arriving, self.path / "incoming")
        received = [each for folder in folders for each in folder.rglob("*")]
        return bool(received) and all(each.stat().st_mtime < before for each in received)

    @property
    def _names(self) -> Path:
        return self.path / "names.json"

    @property
    def _job(self) -> Path:
        return self.path / "job.json"


class Incoming:
    """A file that arrives."""

    def __init__(self, opened: IO[bytes]) -> None:
        self.opened = opened
        self._size_bytes = 0

    def write(self, chunk: bytes, name: str) -> None:
        """Write a part of the file with this name.

        Raises:
            FileTooBig: it is too big.
        """
        self._size_bytes += len(chunk)
        check_size(name, self._size_bytes)
        self.opened.write(chunk)

    def whole(self) -> Path:
        """Return its path, when all of it is written."""
        self.opened.flush()
        return Path(self.opened.name)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Read it again."""
        self.opened.seek(0)
        while chunk := self.opened.read(_CHUNK_BYTES):
            yield chunk


def check_size(name: str, size_bytes: int) -> None:
    """Check the size of a file.

    Raises:
        FileTooBig: it is too big.
    """
    if size_bytes > MAX_FILE_BYTES:
        raise FileTooBig(name, size_bytes, MAX_FILE_BYTES)


def all_folders(root: Path) -> Iterator[UploadFolder]:
    """Yield the folders of all uploads of all users."""
    for path in sorted(root.glob("*/*")):
        yield UploadFolder(path)


def interrupted_jobs(root: Path) -> Iterator[Job]:
    """Yield the jobs that had not ended when the server before did."""
    for path in sorted(root.glob("*/*/job.json")):
        try:
            yield msgspec.json.decode(path.read_bytes(), type=Job)
        except msgspec.DecodeError:
            path.unlink()  # the server ended while it wrote it: nothing was begun
