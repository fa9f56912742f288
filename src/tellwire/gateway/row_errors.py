"""The HTTP API of row errors: workers add them, and a user downloads the list.

    POST /v1/uploads/row-errors            with the API key: a chunk of a list
    GET  /v1/uploads/row-errors?upload=…   with the user's token, or the API key and &user=: all, as CSV or NDJSON
    GET  /v1/uploads/{upload}/row-errors   the same

Pages call the second, so it has CORS headers for the origins that may connect. A last line counts the row errors that
are not in the list.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from functools import partial
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from tellwire.api_keys import Scope
from tellwire.auth.request import HandshakeRequest
from tellwire.decode_errors import decoded
from tellwire.engine import Engine
from tellwire.errors import RowErrorsUnknown, TellwireError, TokenMissing
from tellwire.gateway.admission import Origins
from tellwire.gateway.api_key import ApiKeyGuard
from tellwire.gateway.bodies import read_body
from tellwire.gateway.http import NDJSON, error_response, problem
from tellwire.gateway.identification import Identification
from tellwire.gateway.paths import IdRoute, client_of, id_of
from tellwire.limits import (
    DOWNLOAD_PAGE_ROWS,
    DOWNLOAD_PAGES_AT_ONCE,
    DOWNLOADS_PER_USER,
    MAX_PUBLISH_BYTES,
    MAX_UPLOAD_ID_BYTES,
    MAX_USER_ID_BYTES,
)
from tellwire.ports import Authenticator, RowErrorStore
from tellwire.protocol import bearer_in
from tellwire.publication import upload_key, user_stream
from tellwire.row_errors import Place, RowError, RowErrorChunk
from tellwire.server.refusal import Refusal

# A spreadsheet would run such a cell as a formula.
_FORMULA: Final = re.compile(r"^[=+\-@\t\r\n]")
_NAME: Final = re.compile(r"[^\w .-]", re.ASCII)
_NOT_IN_FILE_NAMES: Final = re.compile(r"^\.+|[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069/\\:*?\"<>|]")

_TOKENS: Final = "the header Authorization: Bearer <jwt>"

_chunk: Final = msgspec.json.Decoder(RowErrorChunk)
_encode: Final = msgspec.json.Encoder().encode


def decode_chunk(body: bytes) -> RowErrorChunk:
    """Decode a chunk of row errors. Raise `InvalidMessage` if it is none."""
    return decoded(_chunk, body)


class RowErrorsApi:
    """The endpoints. With an engine that keeps no lists, every list is unknown."""

    def __init__(
        self, engine: Engine, authenticator: Authenticator, identification: Identification, origins: Origins
    ) -> None:
        self._store = engine.row_errors
        self._history = engine.history
        self._authenticator = authenticator
        self._identification = identification
        self._origins = origins
        self._downloads = Downloads()

    def routes(self, key: ApiKeyGuard) -> list[Route]:
        """Return the routes; `key` guards those that need the API key."""
        paths = ("/v1/uploads/row-errors", "/v1/uploads/{upload:path}/row-errors")

        async def download(request: Request) -> Response:
            return await self._download(request, key)

        return [
            Route("/v1/uploads/row-errors", key.guarded(self.add, Scope.PUBLISH), methods=["POST"]),
            *(IdRoute(path, download, methods=["GET"]) for path in paths),
            *(IdRoute(path, self.preflight, methods=["OPTIONS"]) for path in paths),
        ]

    async def add(self, request: Request) -> Response:
        chunk = decode_chunk(await read_body(request, MAX_PUBLISH_BYTES))
        if self._store is None:
            return problem(501, "ROW_ERRORS_NOT_KEPT", "This gateway's engine keeps no lists of row errors")
        await self._store.add_row_errors(chunk)
        return Response(status_code=204)

    async def _download(self, request: Request, key: ApiKeyGuard) -> Response:
        try:
            response = await self._list(request, key)
        except TellwireError as error:
            # A page must be able to read the reason, so it needs the headers below.
            response = error_response(error)
        response.headers.update(self._cors(request))
        return response

    async def _list(self, request: Request, key: ApiKeyGuard) -> Response:
        user_id = await self._user(request, key)
        if isinstance(user_id, Response):
            return user_id
        upload_id = id_of(request, "upload", MAX_UPLOAD_ID_BYTES)
        run = await self._last_run(user_id, upload_id)
        found = None if self._store is None else await self._store.row_error_list(user_id, upload_id, run)
        if self._store is None or found is None:
            raise RowErrorsUnknown(upload_id)
        if not self._downloads.begin(user_id):
            return _too_many_downloads()
        is_csv = NDJSON not in ",".join(request.headers.getlist("accept"))
        headers = {
            "content-disposition": _attachment(found.file_name, "csv" if is_csv else "ndjson"),
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            "x-total-count": str(found.total),
        }
        rows = self._downloads.rows(self._store, user_id, upload_id, found.run)
        lines = _csv(rows, found.total) if is_csv else _ndjson(rows, found.total)
        end = partial(self._downloads.end, user_id)
        return _Download(end, lines, headers=headers, media_type="text/csv" if is_csv else NDJSON)

    async def _last_run(self, user_id: str, upload_id: str) -> str | None:
        """Return the run that the user sees, which may have left out nothing; None if it has no name."""
        if self._history is None:
            return None
        upload = await self._history.state(user_stream(user_id), upload_key(upload_id))
        return None if upload is None else upload.run

    async def preflight(self, request: Request) -> Response:
        allowed = {"access-control-allow-methods": "GET", "access-control-allow-headers": "authorization, accept"}
        return Response(status_code=204, headers=self._cors(request) | allowed)

    async def _user(self, request: Request, key: ApiKeyGuard) -> str | Response:
        """Return the user of the list: the token's, or `?user=` with the API key. Or return a refusal."""
        if "user" in request.query_params:
            return key.refusal(request, Scope.ADMIN) or id_of(request, "user", MAX_USER_ID_BYTES)
        token = bearer_in(request.headers.get("authorization", "")) if self._identification.takes_tokens else None
        if token is not None:
            return (await self._authenticator.authenticate(token)).user_id
        if self._identification.needs_token:
            raise TokenMissing(_TOKENS)
        headers = {name: ", ".join(request.headers.getlist(name)) for name in request.headers}
        asks = HandshakeRequest(
            request.url.path, request.url.query, headers, client_of(request), MappingProxyType(request.scope)
        )
        try:
            return (await self._identification.identity(asks, _TOKENS)).user_id
        except Refusal as refusal:
            return problem(refusal.status, refusal.code, refusal.message)

    def _cors(self, request: Request) -> dict[str, str]:
        origin = request.headers.get("origin")
        if origin is None or not self._origins.allows(origin):
            return {"vary": "origin"}
        exposed = "content-disposition, x-total-count"
        return {
            "vary": "origin",
            "access-control-allow-origin": origin,
            "access-control-expose-headers": exposed,
            # With cookies, for the pages that may send them.
            **({"access-control-allow-credentials": "true"} if self._origins.trusts(origin, None) else {}),
        }


class Downloads:
    """The downloads in progress: a few of each user, and of all of them a few rows at a time."""

    def __init__(self, per_user: int = DOWNLOADS_PER_USER, pages_at_once: int = DOWNLOAD_PAGES_AT_ONCE) -> None:
        self._per_user = per_user
        self._pages = asyncio.Semaphore(pages_at_once)
        self._of_user: dict[str, int] = {}

    def begin(self, user_id: str) -> bool:
        """Count a download. False: this user has too many."""
        count = self._of_user.get(user_id, 0)
        if count >= self._per_user:
            return False
        self._of_user[user_id] = count + 1
        return True

    def end(self, user_id: str) -> None:
        """Count the end of a download."""
        self._of_user[user_id] -= 1
        if not self._of_user[user_id]:
            del self._of_user[user_id]

    async def rows(self, store: RowErrorStore, user_id: str, upload_id: str, run: str) -> AsyncIterator[list[RowError]]:
        """Yield all rows of a list. While others download, it takes turns with them."""
        after: Place | None = None
        while True:
            async with self._pages:
                page = await store.row_errors(user_id, upload_id, run, after, DOWNLOAD_PAGE_ROWS)
            yield page.errors
            after = page.last
            if after is None:
                return


class _Download(StreamingResponse):
    """A response that says when it has ended, also if its client is gone."""

    def __init__(self, end: Callable[[], None], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._end = end

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._end()


def _too_many_downloads() -> Response:
    text = f"You have {DOWNLOADS_PER_USER} downloads already; wait for one to end"
    return problem(429, "TOO_MANY_DOWNLOADS", text, {"retry-after": "5"})


async def _csv(rows: AsyncIterator[list[RowError]], total: int) -> AsyncIterator[bytes]:
    yield b"row,code,message\r\n"
    async for some in rows:
        total -= len(some)
        yield "".join(f"{row},{_cell(code)},{_cell(message)}\r\n" for row, code, message in some).encode()
    if total > 0:
        yield f',"MORE","{total:,} more were left out that are not in this list"\r\n'.encode()


async def _ndjson(rows: AsyncIterator[list[RowError]], total: int) -> AsyncIterator[bytes]:
    async for some in rows:
        total -= len(some)
        yield b"".join(_encode({"row": row, "code": code, "message": message}) + b"\n" for row, code, message in some)
    if total > 0:
        yield _encode({"more": total}) + b"\n"


def _attachment(file_name: str, ending: str) -> str:
    # A file of this name is made on the user's computer: no folders, no control characters, nothing hidden.
    stem = _NOT_IN_FILE_NAMES.sub("_", file_name.rpartition(".")[0] or file_name)
    name = f"{stem[:100]}-left-out.{ending}"
    return f"attachment; filename=\"{_NAME.sub('_', name)}\"; filename*=UTF-8''{quote(name, safe='')}"


def _cell(text: str) -> str:
    harmless = _FORMULA.sub(r"'\g<0>", text).replace('"', '""')
    return f'"{harmless}"'
