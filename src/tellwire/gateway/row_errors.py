"""The rows that jobs left out: workers hand them in, and their user downloads the list.

    POST /v1/uploads/row-errors              with the API key: a part of a list
    GET  /v1/uploads/{uploadId}/row-errors   with the user's token, or the API key and ?user=: all, as CSV or NDJSON

Pages call the second, so it answers those of the origins that may connect, too.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tellwire.errors import InvalidMessage, RowErrorsUnknown, TellwireError, TokenMissing
from tellwire.explain import explain
from tellwire.gateway.admission import Origins
from tellwire.ports import Authenticator, RowErrorStore
from tellwire.row_errors import RowError, RowErrorChunk
from tellwire.streams import Streams

_ROWS_AT_A_TIME: Final = 1000
_NDJSON: Final = "application/x-ndjson"
# A spreadsheet takes such a cell for a formula, whoever wrote it.
_FORMULA: Final = re.compile(r"^[=+\-@\t\r]")
_NAME: Final = re.compile(r"[^\w .-]", re.ASCII)

_chunk: Final = msgspec.json.Decoder(RowErrorChunk)
_encode: Final = msgspec.json.Encoder().encode

IsAllowed = Callable[[Request], Response | None]
"""Returns why a request with, or without, the API key may not do what it wants; None: it may."""


class RowErrorStreams(Streams):
    """The gateway's own carrier, which takes row errors, too."""

    def __init__(self, *arguments: Any, row_errors: RowErrorStore) -> None:
        super().__init__(*arguments)
        self._row_errors = row_errors

    async def add_row_errors(self, chunk: RowErrorChunk) -> None:
        await self._row_errors.add_row_errors(chunk)


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
            raise explain(body, error, {}) from error
        if chunk.first < 0:
            raise InvalidMessage("first", chunk.first, "a whole number, 0 or more")
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
        rows = self._rows(user_id, upload_id)
        name = _NAME.sub("_", found.file_name)[:100] + "-left-out." + ("csv" if is_csv else "ndjson")
        headers = {
            "content-disposition": f'attachment; filename="{name}"',
            "cache-control": "no-store",
            "x-total-count": str(found.total),
        }
        lines = _csv(rows) if is_csv else _ndjson(rows)
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

    async def _rows(self, user_id: str, upload_id: str) -> AsyncIterator[list[RowError]]:
        first = 0
        while rows := await self._store.row_errors(user_id, upload_id, first, _ROWS_AT_A_TIME):
            yield rows
            first += len(rows)


async def _csv(rows: AsyncIterator[list[RowError]]) -> AsyncIterator[bytes]:
    yield b"row,code,message\r\n"
    async for some in rows:
        yield "".join(f"{row},{_cell(code)},{_cell(message)}\r\n" for row, code, message in some).encode()


async def _ndjson(rows: AsyncIterator[list[RowError]]) -> AsyncIterator[bytes]:
    async for some in rows:
        yield b"".join(_encode({"row": row, "code": code, "message": message}) + b"\n" for row, code, message in some)


def _cell(text: str) -> str:
    harmless = _FORMULA.sub(r"'\g<0>", text).replace('"', '""')
    return f'"{harmless}"'
