"""The file of the engine `sqlite`: its folder, its header, and the room on its disk."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tellwire.cli.doctor.findings import Finding, error, ok, warning
from tellwire.engines.sqlite.stream_rows import VERSION

_APPLICATION_ID: Final = b"tell"
_SHORT_BYTES: Final = 1024**3
_NONE_BYTES: Final = 64 * 1024**2


def header_finding(path: str, header: bytes) -> Finding:
    """Look at the first 100 bytes of a database. https://www.sqlite.org/fileformat.html"""
    if not header:
        return ok("database", f"{path} is new")
    if not header.startswith(b"SQLite format 3\0") or header[68:72] != _APPLICATION_ID:
        return error("database", f"{path} is another program's file", "Set another name with TELLWIRE_DATABASE")
    schema = int.from_bytes(header[60:64])
    if schema != VERSION:
        remedy = f"Use the version of tellwire that made it, or move it away; this one reads schema {VERSION}"
        return error("database", f"{path} has schema {schema}", remedy)
    return ok("database", f"{path} has schema {schema}")


def room_finding(path: str, free: int, needed: int) -> Finding:
    """Compare the room on the disk with the size of the files, of which a backup is made beside them."""
    if free < _NONE_BYTES:
        return error("disk", f"{free:,} bytes are left for {path}", "Make room: nothing can be published without it")
    if free < max(_SHORT_BYTES, needed):
        return warning("disk", f"{free:,} bytes are left for {path}", f"Make room: a backup takes {needed:,} beside it")
    return ok("disk", f"{free:,} bytes are left for {path}")


def check_database(path: Path) -> Iterator[Finding]:
    """Look at the file and its folder, without a lock and without a change."""
    folder = path.absolute().parent
    remedy = f"Make the folder {folder} for the user of the gateway (mkdir, chown), or set TELLWIRE_DATABASE"
    if not folder.is_dir():
        yield error("database", f"there is no folder {folder}", remedy)
        return
    if not all(os.access(each, os.W_OK) for each in (folder, path) if each.exists()):
        yield error("database", f"this user may not write to {path if path.exists() else folder}", remedy)
        return
    header = b""
    if path.exists():
        with path.open("rb") as file:
            header = file.read(100)
    yield header_finding(str(path), header)
    yield room_finding(str(path), shutil.disk_usage(folder).free, path.stat().st_size if path.exists() else 0)
