"""The HTTP API of row errors: workers add them, and a user downloads the list.

    POST /v1/uploads/row-errors              with the API key: a chunk of a list
    GET  /v1/uploads/{uploadId}/row-errors   with the user's token, or the API key and ?user=: all, as CSV or NDJSON

Pages call the second, so it has CORS headers for the origins that may connect. A last line counts the row errors that
are not in the list.
"""

import re
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tellwire.decode_errors import describe
from tellwire.engine import Engine
from tellwire.errors import RowErrorsUnknown, TellwireError, TokenMissing
from tellwire.gateway.admission import Origins
from tellwire.gateway.http import ApiKey, error_response, problem, read_body
from tellwire.limits import MAX_PUBLISH_BYTES
from tellwire.ports import Authenticator, RowErrorStore
from tellwire.publication import upload_key, user_stream
from tellwire.row_errors import RowError, RowErrorChunk, RowErrorList

_ROWS_AT_A_TIME: Final = 1000
_NDJSON: Final = "application/x-ndjson"
# A spreadsheet would run such a cell as a formula.
_FORMULA: Final = re.compile(r"^[=+\-@\t\r\n]")
_NAME: Final = re.compile(r"[^\w .-]", re.ASCII)

_chunk: Final = msgspec.json.Decoder(RowErrorChunk)
_encode: Final = msgspec.json.Encoder().encode


class RowErrorsApi:
    """The endpoints. With an engine that keeps no lists, every list is unknown."""

    def __init__(self, engine: Engine, authenticator: Authenticator, origins: Origins) -> None:
        self._store = engine.row_errors
        self._history = engine.history
        self._authenticator = authenticator
        self._origins = origins

    def routes(self, key: ApiKey) -> list[Route]:
        """Return the routes; `key` guards those that need the API key."""
        path = "/v1/uploads/{upload_id:path}/row-errors"

        async def download(request: Request) -> Response:
            return await self._download(request, key)

        return [
            Route("/v1/uploads/row-errors", key.guarded(self.add), methods=["POST"]),
            Route(path, download, methods=["GET"]),
            Route(path, self.preflight, methods=["OPTIONS"]),
        ]

    async def add(self, request: Request) -> Response:
        body = await read_body(request, MAX_PUBLISH_BYTES)
        try:
            chunk = _chunk.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise describe(body, error) from error
        if self._store is None:
            return problem(501, "ROW_ERRORS_NOT_KEPT", "This gateway's engine keeps no lists of row errors")
        await self._store.add_row_errors(chunk)
        return Response(status_code=204)

    async def _download(self, request: Request, key: ApiKey) -> Response:
        try:
            response = await self._list(request, key)
        except TellwireError as error:
            # A page must be able to read the reason, so it needs the headers below.
            response = error_response(error)
        response.headers.update(self._cors(request))
        return response

    async def _list(self, request: Request, key: ApiKey) -> Response:
        user_id = await self._user(request, key)
        if isinstance(user_id, Response):
            return user_id
        upload_id = request.path_params["upload_id"]
        found = None if self._store is None else await self._store.row_error_list(user_id, upload_id)
        if self._store is None or found is None or not await self._is_of_last_run(user_id, upload_id, found):
            raise RowErrorsUnknown(upload_id)
        is_csv = _NDJSON not in request.headers.get("accept", "")
        headers = {
            "content-disposition": _attachment(found.file_name, "csv" if is_csv else "ndjson"),
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            "x-total-count": str(found.total),
        }
        rows = _rows(self._store, user_id, upload_id, found.started_at)
        lines = _csv(rows, found.total) if is_csv else _ndjson(rows, found.total)
        return StreamingResponse(lines, headers=headers, media_type="text/csv" if is_csv else _NDJSON)

    async def _is_of_last_run(self, user_id: str, upload_id: str, found: RowErrorList) -> bool:
        """Return False for the list of a run before the last one, which itself left out nothing."""
        if self._history is None:
            return True
        upload = await self._history.state(user_stream(user_id), upload_key(upload_id))
        run = None if upload is None else upload.run
        return run is None or datetime.fromisoformat(found.started_at).timestamp() >= run

    async def preflight(self, request: Request) -> Response:
        allowed = {"access-control-allow-methods": "GET", "access-control-allow-headers": "authorization, accept"}
        return Response(status_code=204, headers=self._cors(request) | allowed)

    async def _user(self, request: Request, key: ApiKey) -> str | Response:
        """Return the user of the list: the token's, or `?user=` with the API key. Or return a refusal."""
        user_id = request.query_params.get("user")
        if user_id is not None:
            return key.refusal(request) or user_id
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


async def _rows(store: RowErrorStore, user_id: str, upload_id: str, started_at: str) -> AsyncIterator[list[RowError]]:
    first = 0
    while rows := await store.row_errors(user_id, upload_id, started_at, first, _ROWS_AT_A_TIME):
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
