"""The rows that jobs left out: workers hand them in, and their user downloads the list.

    POST /v1/uploads/row-errors              with the API key: a part of a list
    GET  /v1/uploads/{uploadId}/row-errors   with the user's token, or the API key and ?user=: all, as CSV or NDJSON

Pages call the second, so it answers those of the origins that may connect, too. A last line counts what is not in the
list.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Final
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tellwire.broker import LiveCarrier, Streams
from tellwire.decode_errors import explain
from tellwire.engines.registry import KeepsRowErrors
from tellwire.errors import RowErrorsUnknown, TellwireError, TokenMissing
from tellwire.gateway.admission import Origins
from tellwire.ports import Authenticator, Clock, RowErrorStore
from tellwire.row_errors import RowError, RowErrorChunk, RowErrorList
from tellwire.stream import Entry, upload_key

_ROWS_AT_A_TIME: Final = 1000
_NDJSON: Final = "application/x-ndjson"
# A spreadsheet takes such a cell for a formula, whoever wrote it.
_FORMULA: Final = re.compile(r"^[=+\-@\t\r\n]")
_NAME: Final = re.compile(r"[^\w .-]", re.ASCII)

_chunk: Final = msgspec.json.Decoder(RowErrorChunk)
_encode: Final = msgspec.json.Encoder().encode

IsAllowed = Callable[[Request], Response | None]
"""Returns why a request with, or without, the API key may not do what it wants; None: it may."""


class RowErrorStreams(Streams):
    """The gateway's own carrier, which is a `RowErrorStore`, too."""

    def __init__(
        self, history: KeepsRowErrors, carrier: LiveCarrier, clock: Clock, kept: Callable[[str, Entry], None]
    ) -> None:
        super().__init__(history, carrier, clock, kept)
        self._row_errors = history.row_errors

    async def add_row_errors(self, chunk: RowErrorChunk) -> None:
        await self._row_errors.add_row_errors(chunk)

    async def row_error_list(self, user_id: str, upload_id: str) -> RowErrorList | None:
        found = await self._row_errors.row_error_list(user_id, upload_id)
        upload = await self._history.state(user_id, upload_key(upload_id))
        if found is None or upload is None or upload.run is None:
            return found
        # A run that left out nothing has no list, and the one before is over.
        return found if datetime.fromisoformat(found.started_at).timestamp() >= upload.run else None

    async def row_errors(
        self, user_id: str, upload_id: str, started_at: str, first: int, at_most: int
    ) -> list[RowError]:
        return await self._row_errors.row_errors(user_id, upload_id, started_at, first, at_most)


class RowErrorsApi:
    """The endpoints."""

    def __init__(
        self,
        store: RowErrorStore,
        authenticator: Authenticator,
        origins: Origins,
        refusal: IsAllowed,
        body: Callable[[Request], Awaitable[bytes]],
        tell_error: Callable[[Request, Exception], Awaitable[Response]],
    ) -> None:
        self._store = store
        self._authenticator = authenticator
        self._origins = origins
        self._refusal = refusal
        self._body = body
        self._tell_error = tell_error

    @property
    def routes(self) -> list[Route]:
        path = "/v1/uploads/{upload_id:path}/row-errors"
        return [
            Route("/v1/uploads/row-errors", self.add, methods=["POST"]),
            Route(path, self.download, methods=["GET"]),
            Route(path, self.preflight, methods=["OPTIONS"]),
        ]

    async def add(self, request: Request) -> Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        body = await self._body(request)
        try:
            chunk = _chunk.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise explain(body, error) from error
        await self._store.add_row_errors(chunk)
        return Response(status_code=204)

    async def download(self, request: Request) -> Response:
        try:
            response = await self._download(request)
        except TellwireError as error:
            # A page is to read the reason, too.
            response = await self._tell_error(request, error)
        response.headers.update(self._cors(request))
        return response

    async def _download(self, request: Request) -> Response:
        user_id = await self._user(request)
        if isinstance(user_id, Response):
            return user_id
        upload_id = request.path_params["upload_id"]
        found = await self._store.row_error_list(user_id, upload_id)
        if found is None:
            raise RowErrorsUnknown(upload_id)
        is_csv = _NDJSON not in request.headers.get("accept", "")
        headers = {
            "content-disposition": _attachment(found.file_name, "csv" if is_csv else "ndjson"),
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            "x-total-count": str(found.total),
        }
        rows = self._rows(user_id, upload_id, found.started_at)
        lines = _csv(rows, found.total) if is_csv else _ndjson(rows, found.total)
        return StreamingResponse(lines, headers=headers, media_type="text/csv" if is_csv else _NDJSON)

    async def preflight(self, request: Request) -> Response:
        allowed = {"access-control-allow-methods": "GET", "access-control-allow-headers": "authorization, accept"}
        return Response(status_code=204, headers=self._cors(request) | allowed)

    async def _user(self, request: Request) -> str | Response:
        """Return whose list is wanted: the token's user's, or whoever's for those with the API key."""
        user_id = request.query_params.get("user")
        if user_id is not None:
            return self._refusal(request) or user_id
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise TokenMissing
        return (await self._authenticator.authenticate(token.strip())).user_id

    def _cors(self, request: Request) -> dict[str, str]:
        origin = request.headers.get("origin")
        if origin is None or not self._origins.allows(origin):
            return {"vary": "origin"}
        exposed = "content-disposition, x-total-count"
        return {
            "vary": "origin",
            "access-control-allow-origin": origin,
            "access-control-expose-headers": exposed,
        }

    async def _rows(self, user_id: str, upload_id: str, started_at: str) -> AsyncIterator[list[RowError]]:
        first = 0
        while rows := await self._store.row_errors(user_id, upload_id, started_at, first, _ROWS_AT_A_TIME):
            yield rows
            first += len(rows)


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
    name = f"{file_name.rpartition('.')[0] or file_name}"[:100] + f"-left-out.{ending}"
    return f"attachment; filename=\"{_NAME.sub('_', name)}\"; filename*=UTF-8''{quote(name, safe='')}"


def _cell(text: str) -> str:
    harmless = _FORMULA.sub(r"'\g<0>", text).replace('"', '""')
    return f'"{harmless}"'
