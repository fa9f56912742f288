"""A backup as one file: a tar of an engine's files, with a manifest at its end, without which it is not whole.

A tar, so that other programs can look into it. The manifest comes last, since the digests are known by then; it has one
length, so that the length of all is known before.
"""

import hashlib
import tarfile
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, Final, NamedTuple

import msgspec
from msgspec import Struct

from tellwire._version import __version__
from tellwire.decode_errors import DECODE_ERRORS

FORMAT: Final = 1
ROLES: Final = ("history", "row-errors", "requests")
"""The files of an engine, in their order. Each has the ending `.sqlite3` in the archive."""

PIECE_BYTES: Final = 256 * 1024
_MANIFEST: Final = "manifest.json"
_MANIFEST_BYTES: Final = 4096
_ENDING: Final = ".sqlite3"
_RIGHTS: Final = 0o600


class ArchivedFile(Struct, frozen=True, rename="camel"):
    """One file of an archive: its role, the version of its tables, its length and its digest."""

    role: str
    schema: int
    size_bytes: int
    sha256: str


class Manifest(Struct, frozen=True, rename="camel"):
    """The last member of an archive. `made_at` are seconds since the epoch."""

    format: int
    tellwire: str
    made_at: float
    files: tuple[ArchivedFile, ...]


class CopiedFile(NamedTuple):
    """A file that goes into an archive, open at its beginning."""

    role: str
    schema: int
    size_bytes: int
    content: BinaryIO


class NotAnArchive(Exception):
    """A file that is no backup, or not a whole one."""


class Archive:
    """An archive that is written from copies. Whoever has it closes it."""

    def __init__(self, files: Sequence[CopiedFile], made_at: float) -> None:
        self._files = files
        self._made_at = made_at

    @property
    def size_bytes(self) -> int:
        """The length of all chunks together."""
        members = [*(each.size_bytes for each in self._files), _MANIFEST_BYTES]
        ended = sum(tarfile.BLOCKSIZE + _padded(each) for each in members) + 2 * tarfile.BLOCKSIZE
        return -(-ended // tarfile.RECORDSIZE) * tarfile.RECORDSIZE

    def chunks(self) -> Iterator[bytes]:
        """Yield the archive in pieces. It reads the copies: not on an event loop."""
        written = 0
        archived = []
        for each in self._files:
            digest = hashlib.sha256()
            for piece in _member(self._head(f"{each.role}{_ENDING}", each.size_bytes), self._pieces(each, digest)):
                written += len(piece)
                yield piece
            archived.append(ArchivedFile(each.role, each.schema, each.size_bytes, digest.hexdigest()))
        manifest = msgspec.json.encode(Manifest(FORMAT, __version__, self._made_at, tuple(archived)))
        end = b"".join(_member(self._head(_MANIFEST, _MANIFEST_BYTES), iter([manifest.ljust(_MANIFEST_BYTES)])))
        yield end + bytes(self.size_bytes - written - len(end))

    def close(self) -> None:
        """Close the copies."""
        for each in self._files:
            each.content.close()

    def _head(self, name: str, size_bytes: int) -> bytes:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size_bytes, _RIGHTS, int(self._made_at)
        return info.tobuf(tarfile.GNU_FORMAT)

    def _pieces(self, file: CopiedFile, digest: "hashlib._Hash") -> Iterator[bytes]:
        while piece := file.content.read(PIECE_BYTES):
            digest.update(piece)
            yield piece


def read_archive(source: BinaryIO, write: Callable[[str, bytes], object] = lambda role, piece: None) -> Manifest:
    """Read an archive to its end, hand each piece to `write` with the role of its file, and return the manifest. The
    pieces are those of the manifest only if it returns.

    Raises:
        NotAnArchive: it is none, of another format, cut short, or damaged.
        OSError: it cannot be read.
    """
    found: dict[str, ArchivedFile] = {}
    try:
        with tarfile.open(fileobj=source, mode="r:") as archive:
            for member in archive:
                if member.name == _MANIFEST and member.isreg():
                    return _checked(_content(archive, member).read(_MANIFEST_BYTES), found)
                role = member.name.removesuffix(_ENDING)
                if role not in ROLES or not member.isreg() or role in found:
                    raise NotAnArchive("it holds other files")
                found[role] = _read(role, _content(archive, member), write)
    except tarfile.TarError as error:
        raise NotAnArchive(f"{error}") from error
    raise NotAnArchive("its end is missing")


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> BinaryIO:
    content = archive.extractfile(member)
    assert content is not None  # noqa: S101 - a regular file has one
    return content  # type: ignore[return-value]


def _read(role: str, content: BinaryIO, write: Callable[[str, bytes], object]) -> ArchivedFile:
    digest = hashlib.sha256()
    size_bytes = 0
    while piece := content.read(PIECE_BYTES):
        digest.update(piece)
        size_bytes += len(piece)
        write(role, piece)
    return ArchivedFile(role, 0, size_bytes, digest.hexdigest())


def _checked(text: bytes, found: dict[str, ArchivedFile]) -> Manifest:
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except DECODE_ERRORS as error:
        raise NotAnArchive("its manifest cannot be read") from error
    if manifest.format != FORMAT:
        raise NotAnArchive(f"got format {manifest.format}; allowed: {FORMAT}")
    if [each.role for each in manifest.files] != list(ROLES) or list(found) != list(ROLES):
        raise NotAnArchive("files are missing")
    for each in manifest.files:
        read = found[each.role]
        if (read.size_bytes, read.sha256) != (each.size_bytes, each.sha256):
            raise NotAnArchive(f"its {each.role} file is damaged")
    return manifest


def _member(head: bytes, content: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    size_bytes = 0
    for piece in content:
        size_bytes += len(piece)
        yield piece
    if padding := _padded(size_bytes) - size_bytes:
        yield bytes(padding)


def _padded(size_bytes: int) -> int:
    return -(-size_bytes // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
