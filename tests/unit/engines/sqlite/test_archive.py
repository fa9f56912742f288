"""A backup as a tar with a manifest: it is read back as it was written, and refused if it was cut or changed."""

import io
import tarfile

import pytest

from tellwire.engines.sqlite.archive import ROLES, Archive, CopiedFile, NotAnArchive, read_archive

CONTENTS = {"history": b"h" * 700_001, "row-errors": b"", "requests": b"r" * 512}


def archive() -> bytes:
    files = [CopiedFile(role, 5, len(CONTENTS[role]), io.BytesIO(CONTENTS[role])) for role in ROLES]
    made = Archive(files, 1_700_000_000.5)
    whole = b"".join(made.chunks())
    assert len(whole) == made.size_bytes
    made.close()
    assert all(each.content.closed for each in files)
    return whole


def test_what_is_written_is_read_back_and_is_a_tar() -> None:
    found: dict[str, bytes] = {}
    manifest = read_archive(
        io.BytesIO(archive()), lambda role, piece: found.update({role: found.get(role, b"") + piece})
    )
    assert found == {role: content for role, content in CONTENTS.items() if content}
    assert (manifest.made_at, [each.schema for each in manifest.files]) == (1_700_000_000.5, [5, 5, 5])
    with tarfile.open(fileobj=io.BytesIO(archive())) as tar:
        assert tar.getnames() == [*(f"{role}.sqlite3" for role in ROLES), "manifest.json"]
        assert {member.mode for member in tar} == {0o600}


@pytest.mark.parametrize("length", [0, 100, 512, 300_000, 700_500, 702_000, 703_500, 705_000])
def test_an_archive_that_was_cut_is_refused(length: int) -> None:
    with pytest.raises(NotAnArchive):
        read_archive(io.BytesIO(archive()[:length]))


def test_a_damaged_byte_is_noticed() -> None:
    damaged = bytearray(archive())
    damaged[5000] ^= 1
    with pytest.raises(NotAnArchive, match="its history file is damaged"):
        read_archive(io.BytesIO(damaged))


def other(name: str, content: bytes = b"{}", kind: bytes = tarfile.REGTYPE) -> io.BytesIO:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size, info.type = (0, kind) if kind != tarfile.REGTYPE else (len(content), kind)
        tar.addfile(info, io.BytesIO(content))
    written.seek(0)
    return written


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (io.BytesIO(b"SQLite format 3\0" * 100), "bad checksum|invalid header"),
        (other("../../etc/passwd"), "other files"),
        (other("history.sqlite3", kind=tarfile.SYMTYPE), "other files"),
        (other("manifest.json"), "its manifest cannot be read"),
        (
            other("manifest.json", b'{"format": 2, "tellwire": "9", "madeAt": 1, "files": []}'),
            "got format 2; allowed: 1",
        ),
        (other("manifest.json", b'{"format": 1, "tellwire": "9", "madeAt": 1, "files": []}'), "files are missing"),
        (other("history.sqlite3"), "its end is missing"),
    ],
)
def test_another_file_is_refused_with_the_reason(file: io.BytesIO, words: str) -> None:
    with pytest.raises(NotAnArchive, match=words):
        read_archive(file)
