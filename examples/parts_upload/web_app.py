"""The page and its HTTP API, served in the gateway's process. For development, on loopback.

    GET  /  /assets/…                         the page, if it was built
    POST /demo/token                          {"name": "ada"} → {"token": …}: sign in, without a password
    GET  /demo/limits                         {"maxFiles": …, "maxFileBytes": …, …}
    PUT  /demo/uploads/{id}/files/{number}?name=parts.csv     a file of an upload: the body is the file, as it is
    POST /demo/uploads/{id}                   {"kind": "parts" | "images", "paced": true}: all files are sent, start
    DELETE /demo/uploads/{id}                 remove it, with its files and results
    POST /demo/samples                        {"paced": true}: start with the sample files
    …    /demo/uploads/{id}/tus               a file in parts, over as many requests as it takes: see tus
    GET  /demo/uploads/{id}/parts?offset=0&limit=100
                                              {"total": 2000, "parts": [{"part", "colour", "quantity", "name"}, …]}
    GET  /demo/uploads/{id}/thumbnails        {"thumbnails": [{"number": "1", "name": "front.jpg"}, …]}, and each as a
                                              JPEG below it, by its number

Rules:
- Anybody who reaches this server can sign in as any user, so only this machine can reach it: the gateway listens on
  loopback, the host name of requests must be one of loopback, and pages of other sites are refused.
- All requests but those for the token and the limits need `Authorization: Bearer <token>`, with the token of the
  WebSocket.
- Progress is pushed over the WebSocket; nothing is polled. The gateway has a history, so a page that reconnects, or is
  reloaded, needs no other request.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from examples.parts_upload.csv_worker import Pause, yield_to_loop
from examples.parts_upload.make_samples import Samples
from examples.parts_upload.parts_store import page_of_parts
from examples.parts_upload.refusals import NotTheFileItself
from examples.parts_upload.thumbnail import MAX_FILE_BYTES as MAX_IMAGE_BYTES
from examples.parts_upload.tus import TusApi
from examples.parts_upload.upload_folder import MAX_FILE_BYTES, MAX_FILES, Kind
from examples.parts_upload.web_uploads import Uploads
from tellwire import (
    ConfigError,
    InvalidMessage,
    MessageTooBig,
    Node,
    NullObserver,
    Published,
    Settings,
    TellwireError,
    TokenMissing,
    mint_token,
)
from tellwire.auth import make_authenticator
from tellwire.model import is_loopback_authority
from tellwire.ports import SystemClock
from tellwire.publication import Publication, upload_key

PAGE: Final = Path(__file__).parent / "web" / "dist"
TOKEN_SECONDS: Final = 3600.0
_MAX_NAME_CHARACTERS: Final = 64
_MAX_JSON_BYTES: Final = 4096
_MAX_DIGITS: Final = 9
_PARTS: Final = 100
_MAX_PARTS: Final = 1000
_ASSET: Final = re.compile(r"[A-Za-z0-9_.-]{1,200}")

_PAGE_HEADERS: Final = {
    "cache-control": "no-cache",
    "content-security-policy": "default-src 'self'; img-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}

T = TypeVar("T")
Endpoint = Callable[[Request], Awaitable[Response]]
UserEndpoint = Callable[[Request, str], Awaitable[Response]]


class NotFromHere(TellwireError):
    """The request has a host name that is not loopback, or comes from another site's page."""

    code = "NOT_FROM_HERE"
    http_status = 403


class SignIn(msgspec.Struct):
    """Body of a request to sign in: the user's name."""

    name: str


class StartUpload(msgspec.Struct):
    """Body of a request to start an upload. `paced`: with pauses, so that its progress can be watched."""

    kind: Kind = "parts"
    paced: bool = False


class WebApp:
    """A gateway that also serves the page; `node` is the gateway.

    `page` is the folder that Vite built; if it does not exist, `/` says so. `root` is the folder for files.

    Raises:
        ConfigError: the settings are not for development, or have no secret.
    """

    def __init__(
        self,
        settings: Settings,
        root: Path,
        samples: Samples,
        *,
        page: Path = PAGE,
        pause: Pause = yield_to_loop,
        token_seconds: float = TOKEN_SECONDS,
    ) -> None:
        if not settings.dev or not settings.jwt_secrets:
            raise ConfigError("the page signs anybody in, so it is served by a gateway in development mode only")
        self._secret = settings.jwt_secrets[0]
        self._token_seconds = token_seconds
        self._samples = samples
        self._page = page
        self._authenticator = make_authenticator(settings, SystemClock())
        self.node = Node(settings, routes=self._routes(), observer=_Cancels(lambda: self.uploads))
        self.uploads = Uploads(root, self.node.broadcaster, pause)
        # While the sockets are open: whoever waits for an upload reads that it was interrupted.
        self.node.before_drain(self.uploads.close)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve inside this event loop, and yield the HTTP address."""
        async with self.node.running() as url:
            self.uploads.open()
            yield url

    async def serve(self, started: Callable[[Node], None]) -> None:
        """Serve until SIGTERM or SIGINT, as the node does."""

        def opened(node: Node) -> None:
            self.uploads.open()
            started(node)

        await self.node.serve(opened)

    def _routes(self) -> list[BaseRoute]:
        user = self._for_user
        tus = TusApi(lambda: self.uploads)
        return [
            *tus.routes(user),
            Route("/", _from_here(self._index), methods=["GET"]),
            Route("/assets/{name}", _from_here(self._asset), methods=["GET"]),
            Route("/demo/token", _from_here(self._sign_in), methods=["POST"]),
            Route("/demo/limits", _from_here(self._limits), methods=["GET"]),
            Route("/demo/samples", user(self._start_samples), methods=["POST"]),
            Route("/demo/uploads/{upload_id}", user(self._start_upload), methods=["POST"]),
            Route("/demo/uploads/{upload_id}", user(self._delete_upload), methods=["DELETE"]),
            Route("/demo/uploads/{upload_id}/files/{number}", user(self._put_file), methods=["PUT"]),
            Route("/demo/uploads/{upload_id}/parts", user(self._parts), methods=["GET"]),
            Route("/demo/uploads/{upload_id}/thumbnails", user(self._thumbnails), methods=["GET"]),
            Route("/demo/uploads/{upload_id}/thumbnails/{number}", user(self._thumbnail), methods=["GET"]),
        ]

    # --- the page -----------------------------------------------------------------------------------------------------

    async def _index(self, request: Request) -> Response:
        index = self._page / "index.html"
        if not index.is_file():
            raise HTTPException(404, "The page is not built: run `make demo`, which needs npm")
        return FileResponse(index, headers=_PAGE_HEADERS)

    async def _asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        file = self._page / "assets" / name
        if not _ASSET.fullmatch(name) or not file.is_file():
            raise HTTPException(404, "There is no such file")
        # Vite puts a digest of the content into the name.
        return FileResponse(file, headers={"cache-control": "public, max-age=31536000, immutable"})

    async def _sign_in(self, request: Request) -> Response:
        name = (await _read(request, SignIn)).name.strip()
        if not name.isprintable() or not 1 <= len(name) <= _MAX_NAME_CHARACTERS:
            raise InvalidMessage("name", name, f"1 to {_MAX_NAME_CHARACTERS} characters")
        return _json({"token": mint_token(self._secret, name, self._token_seconds)})

    async def _limits(self, request: Request) -> Response:
        return _json({"maxFiles": MAX_FILES, "maxFileBytes": MAX_FILE_BYTES, "maxImageBytes": MAX_IMAGE_BYTES})

    # --- uploads ------------------------------------------------------------------------------------------------------

    async def _start_samples(self, request: Request, user_id: str) -> Response:
        self.uploads.start_samples(user_id, self._samples, is_paced=(await _read(request, StartUpload)).paced)
        return Response(status_code=202)

    async def _start_upload(self, request: Request, user_id: str) -> Response:
        options = await _read(request, StartUpload)
        self.uploads.start(user_id, request.path_params["upload_id"], options.kind, is_paced=options.paced)
        return Response(status_code=202)

    async def _delete_upload(self, request: Request, user_id: str) -> Response:
        self.uploads.delete(user_id, request.path_params["upload_id"])
        return Response(status_code=204)

    async def _put_file(self, request: Request, user_id: str) -> Response:
        _require_file_itself(request)
        upload_id, name = request.path_params["upload_id"], request.query_params.get("name", "")
        announced = int(request.headers.get("content-length", 0))
        await self.uploads.put(user_id, upload_id, _number(request), name, request.stream(), announced)
        return Response(status_code=201)

    async def _parts(self, request: Request, user_id: str) -> Response:
        upload_id = request.path_params["upload_id"]
        offset, limit = _from_query(request, "offset", 0), _from_query(request, "limit", _PARTS, _MAX_PARTS)
        database = self.uploads.folder(user_id, upload_id).database
        found = await asyncio.to_thread(page_of_parts, database, upload_id, offset, limit)
        parts = [
            {"part": each.part_number, "colour": each.colour, "quantity": each.quantity, "name": each.name}
            for each in found.parts
        ]
        return _json({"total": found.total, "parts": parts})

    async def _thumbnails(self, request: Request, user_id: str) -> Response:
        folder = self.uploads.folder(user_id, request.path_params["upload_id"])
        return _json({"thumbnails": await asyncio.to_thread(folder.all_thumbnails)})

    async def _thumbnail(self, request: Request, user_id: str) -> Response:
        folder = self.uploads.folder(user_id, request.path_params["upload_id"])
        file = folder.thumbnails / f"{_number(request)}.jpg"
        if not file.is_file():
            raise HTTPException(404, "There is no such thumbnail")
        return FileResponse(file, headers={"cache-control": "private, no-cache"})

    # --- authorization ------------------------------------------------------------------------------------------------

    def _for_user(self, endpoint: UserEndpoint) -> Endpoint:
        async def for_user(request: Request) -> Response:
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer":
                raise TokenMissing
            identity = await self._authenticator.authenticate(token.strip())
            return await endpoint(request, identity.user_id)

        return _from_here(for_user)


class _Cancels(NullObserver):
    """Tells `uploads` which uploads are cancelled."""

    def __init__(self, uploads: Callable[[], Uploads]) -> None:
        self._uploads = uploads

    def published(self, publication: Publication, published: Published, seconds: float) -> None:
        user_id, key = publication.target.user, publication.key
        if publication.status == "cancelled" and published.entry and user_id and key:
            self._uploads().cancelled(user_id, key.removeprefix(upload_key("")))


def _from_here(endpoint: Endpoint) -> Endpoint:
    async def from_here(request: Request) -> Response:
        # With DNS rebinding, another site's name resolves to loopback: so the host name is checked.
        origin = request.headers.get("origin")
        host = request.headers.get("host")
        if not is_loopback_authority(host) or origin not in (None, f"http://{host}"):
            raise NotFromHere("Only pages of this server are allowed, by a name of this machine such as 127.0.0.1")
        return await endpoint(request)

    return from_here


def _require_file_itself(request: Request) -> None:
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise NotTheFileItself("Content-Encoding", encoding)
    kind = request.headers.get("content-type", "")
    if kind.lower().startswith(("multipart/", "application/x-www-form-urlencoded")):
        raise NotTheFileItself("Content-Type", kind)


def _number(request: Request) -> int:
    text = request.path_params["number"]
    if not text.isdecimal() or len(text) > _MAX_DIGITS:
        raise InvalidMessage("number", text, "a whole number")
    return int(text)


def _from_query(request: Request, name: str, default: int, at_most: int = 10**_MAX_DIGITS - 1) -> int:
    text = request.query_params.get(name, str(default))
    is_number = text.isdecimal() and len(text) <= _MAX_DIGITS
    if not is_number or int(text) > at_most:
        raise InvalidMessage(name, text, f"a whole number from 0 to {at_most:,}")
    return int(text)


async def _read(request: Request, kind: type[T]) -> T:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_JSON_BYTES:
            raise MessageTooBig(len(body), _MAX_JSON_BYTES)
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidMessage("body", body.decode(errors="replace"), f"JSON with other content ({error})") from error


def _json(content: object) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json", headers={"cache-control": "no-store"})
