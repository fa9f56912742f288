"""Files that arrive in parts: the tus protocol, version 1.0.0 (https://tus.io/protocols/resumable-upload).

    POST   /demo/uploads/{id}/tus             Upload-Length; Upload-Metadata: filename, number ─▶ 201, Location
    HEAD   /demo/uploads/{id}/tus/{number}    ─▶ Upload-Offset, Upload-Length
    PATCH  /demo/uploads/{id}/tus/{number}    Upload-Offset, and bytes from there on ─▶ 204, Upload-Offset
    DELETE /demo/uploads/{id}/tus/{number}    ─▶ 204

With the extensions creation, termination, checksum and expiration. `{id}` is the upload that the file is for: it is
started as with files that were put.

Rules:
- Bytes that have arrived stay, also if the connection is lost or the server restarts. With `Upload-Checksum` they stay
  only if all of the request has arrived, and its checksum is right.
- One request writes at a time. A newer one, also a HEAD, ends those before, whose connections may be lost.
- A file that has arrived as a whole is a file of the upload. Until the upload is started, a HEAD finds it complete.
- A file to which nothing is added for `ABANDONED_SECONDS` is removed.
"""

import hashlib
import time
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from email.utils import formatdate
from pathlib import Path
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from examples.parts_upload.refusals import FileTooBig
from examples.parts_upload.upload_folder import MAX_FILE_BYTES, UploadFolder, check_size
from examples.parts_upload.web_uploads import ABANDONED_SECONDS, Uploads
from tellwire import TellwireError
from tellwire.errors import shown

VERSION: Final = "1.0.0"
_ALGORITHMS: Final = ("sha1", "sha256", "md5")
_MAX_DIGITS: Final = 15
_CAPABILITIES: Final = {
    "tus-resumable": VERSION,
    "tus-version": VERSION,
    "tus-extension": "creation,termination,checksum,expiration",
    "tus-max-size": str(MAX_FILE_BYTES),
    "tus-checksum-algorithm": ",".join(_ALGORITHMS),
}

Endpoint = Callable[[Request], Awaitable[Response]]
UserEndpoint = Callable[[Request, str], Awaitable[Response]]


class TusRefused(TellwireError):
    """A request of the protocol is not valid."""

    code = "TUS_REFUSED"
    http_status = 400


class NotThisVersion(TusRefused):
    """The client speaks another version of the protocol."""

    http_status = 412


class NoSuchFile(TusRefused):
    """Nobody has begun this file, or too long ago."""

    http_status = 404


class OffsetConflict(TusRefused):
    """The bytes of the request are not the next ones."""

    http_status = 409


class NotBytes(TusRefused):
    """The body has another type."""

    http_status = 415


class TakenOver(TusRefused):
    """A newer request goes on with the file."""

    http_status = 423


class ChecksumMismatch(TusRefused):
    """The bytes that have arrived are not those that were sent."""

    http_status = 460


class Announced(msgspec.Struct, frozen=True):
    """A file that arrives: its name and its size."""

    name: str
    size_bytes: int


class ArrivingFile:
    """The file of an upload with this number: its name and size in `0001.json`, its bytes so far in `0001.part`."""

    def __init__(self, folder: UploadFolder, number: int) -> None:
        self.folder = folder
        self.number = number
        self.part = folder.arriving / f"{number:04}.part"
        self._record = folder.arriving / f"{number:04}.json"

    def create(self, announced: Announced) -> None:
        """Begin it, in the place of one with its number."""
        self.folder.arriving.mkdir(parents=True, exist_ok=True)
        self._record.write_bytes(msgspec.json.encode(announced))
        self.part.write_bytes(b"")
        self.end_if_whole()

    def announced(self) -> Announced:
        """Return its name and size.

        Raises:
            NoSuchFile: there is none.
        """
        try:
            return msgspec.json.decode(self._record.read_bytes(), type=Announced)
        except (FileNotFoundError, msgspec.DecodeError) as error:
            raise NoSuchFile(f"There is no file {self.number} that arrives; begin it with a POST") from error

    @property
    def offset(self) -> int:
        """Number of bytes that have arrived."""
        size = self.announced().size_bytes
        return self.part.stat().st_size if self.part.exists() else size

    def end_if_whole(self) -> None:
        """Make it a file of the upload if all of it has arrived."""
        announced = self.announced()
        if self.part.exists() and self.offset == announced.size_bytes:
            self.folder.take(self.part, self.folder.file(self.number, announced.name))

    def remove(self) -> None:
        """Remove it."""
        self._record.unlink(missing_ok=True)
        self.part.unlink(missing_ok=True)


class TusApi:
    """The endpoints, over `uploads`."""

    def __init__(self, uploads: Callable[[], Uploads]) -> None:
        self._uploads = uploads
        self._claims: dict[Path, object] = {}

    def routes(self, for_user: Callable[[UserEndpoint], Endpoint]) -> list[BaseRoute]:
        """Return the routes."""
        files, file = "/demo/uploads/{upload_id}/tus", "/demo/uploads/{upload_id}/tus/{number}"
        endpoints = {"HEAD": self._head, "PATCH": self._patch, "DELETE": self._delete}
        return [
            Route(files, _options, methods=["OPTIONS"]),
            Route(files, for_user(_answering(self._create)), methods=["POST"]),
            *(Route(file, for_user(_answering(each)), methods=[method]) for method, each in endpoints.items()),
        ]

    async def _create(self, request: Request, user_id: str) -> Response:
        size = _count(request, "upload-length")
        metadata = _metadata(request.headers.get("upload-metadata", ""))
        name, number = metadata.get("filename", ""), metadata.get("number", "1")
        check_size(name, size)
        file = self._file(request, user_id, number)
        file.folder.file(file.number, name)  # raises what is not allowed
        self._uploads().require_idle(file.folder)
        self._claims.pop(file.part, None)
        file.create(Announced(name, size))
        path = request.url.path.rstrip("/")
        return Response(status_code=201, headers={"location": f"{path}/{file.number}", **_expires()})

    async def _head(self, request: Request, user_id: str) -> Response:
        file = self._file(request, user_id)
        announced = file.announced()
        # Whoever wrote is not to go on after the client has read the offset.
        self._claims.pop(file.part, None)
        sizes = {"upload-offset": str(file.offset), "upload-length": str(announced.size_bytes)}
        return Response(status_code=200, headers={"cache-control": "no-store", **sizes, **_expires()})

    async def _patch(self, request: Request, user_id: str) -> Response:
        kind = request.headers.get("content-type", "")
        if kind != "application/offset+octet-stream":
            raise NotBytes(f"Content-Type: got {shown(kind)}; allowed: application/offset+octet-stream")
        file = self._file(request, user_id)
        self._uploads().require_idle(file.folder)
        offset, checksum = _count(request, "upload-offset"), _checksum(request)
        if offset != file.offset:
            raise OffsetConflict(f"Upload-Offset: got {offset}; allowed: {file.offset}, the bytes that have arrived")
        if file.part.exists():
            chunks = self._ours(file, request.stream())
            await (_append(file, chunks) if checksum is None else _append_checked(file, chunks, *checksum))
        offset = file.offset
        file.end_if_whole()
        return Response(status_code=204, headers={"upload-offset": str(offset), **_expires()})

    async def _delete(self, request: Request, user_id: str) -> Response:
        file = self._file(request, user_id)
        file.announced()
        self._uploads().require_idle(file.folder)
        self._claims.pop(file.part, None)
        file.remove()
        return Response(status_code=204)

    def _file(self, request: Request, user_id: str, number: str | None = None) -> ArrivingFile:
        text = request.path_params["number"] if number is None else number
        return ArrivingFile(self._uploads().folder(user_id, request.path_params["upload_id"]), _number(text, "number"))

    async def _ours(self, file: ArrivingFile, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the chunks of a request, until a newer one goes on with the file."""
        claim = self._claims[file.part] = object()
        try:
            async for chunk in chunks:
                self._require_claim(file, claim)
                yield chunk
            self._require_claim(file, claim)
        finally:
            if self._claims.get(file.part) is claim:
                del self._claims[file.part]

    def _require_claim(self, file: ArrivingFile, claim: object) -> None:
        if self._claims.get(file.part) is not claim:
            raise TakenOver("A newer request goes on with this file")


async def _append(file: ArrivingFile, chunks: AsyncIterator[bytes]) -> None:
    """Add bytes to a file as they arrive."""
    announced, size = file.announced(), file.offset
    # Unbuffered: the size of the file is the offset, at any moment.
    with file.part.open("ab", buffering=0) as opened:
        async for chunk in chunks:
            size += len(chunk)
            if size > announced.size_bytes:
                raise FileTooBig(announced.name, size, announced.size_bytes)
            opened.write(chunk)


async def _append_checked(file: ArrivingFile, chunks: AsyncIterator[bytes], algorithm: str, digest: bytes) -> None:
    """Add bytes to a file when all of them have arrived, and their checksum is right."""
    announced, found = file.announced(), hashlib.new(algorithm, usedforsecurity=False)
    with file.folder.incoming() as incoming:
        async for chunk in chunks:
            incoming.write(chunk, announced.name)
            found.update(chunk)
        if found.digest() != digest:
            raise ChecksumMismatch(f"Upload-Checksum: the {algorithm} of the bytes that have arrived is another one")
        await _append(file, incoming.chunks())


def _answering(endpoint: UserEndpoint) -> UserEndpoint:
    """Check the version of the protocol, and say ours in each answer, also in a refusal."""

    async def answering(request: Request, user_id: str) -> Response:
        try:
            version = request.headers.get("tus-resumable", "")
            if version != VERSION:
                raise NotThisVersion(f"Tus-Resumable: got {shown(version)}; allowed: {VERSION}")
            response = await endpoint(request, user_id)
        except TellwireError as error:
            response = Response(status_code=error.http_status)
            if request.method != "HEAD":
                body = msgspec.json.encode({"code": error.code, "message": str(error)})
                response = Response(body, error.http_status, media_type="application/json")
        response.headers["tus-resumable"] = VERSION
        if response.status_code == NotThisVersion.http_status:
            response.headers["tus-version"] = VERSION
        return response

    return answering


async def _options(request: Request) -> Response:
    return Response(status_code=204, headers=_CAPABILITIES)


def _expires() -> dict[str, str]:
    return {"upload-expires": formatdate(time.time() + ABANDONED_SECONDS, usegmt=True)}


def _count(request: Request, header: str) -> int:
    return _number(request.headers.get(header, ""), header.title())


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > _MAX_DIGITS:
        raise TusRefused(f"{name}: got {shown(text)}; allowed: a whole number")
    return int(text)


def _metadata(text: str) -> Mapping[str, str]:
    """Return the pairs of a name and a text in Base64, which a comma separates."""
    try:
        pairs = [each.strip().partition(" ") for each in text.split(",") if each.strip()]
        return {name: b64decode(value, validate=True).decode() for name, _, value in pairs}
    except (NotBase64, UnicodeDecodeError) as error:
        raise TusRefused(f"Upload-Metadata: got {shown(text)}; allowed: names with texts in Base64") from error


def _checksum(request: Request) -> tuple[str, bytes] | None:
    text = request.headers.get("upload-checksum")
    if text is None:
        return None
    algorithm, _, digest = text.partition(" ")
    try:
        if algorithm in _ALGORITHMS:
            return algorithm, b64decode(digest, validate=True)
    except NotBase64:
        pass
    raise TusRefused(f"Upload-Checksum: got {shown(text)}; allowed: one of {', '.join(_ALGORITHMS)}, and it in Base64")
