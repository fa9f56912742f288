"""The endpoint of backups: a copy of the engine's files is made, and streamed as one.

    GET /v1/backup → a tar, which `tellwire restore` reads

The copy is made first, so the length of the answer is known: what has another length is not whole. It is read on other
threads, a piece at a time, as fast as the client takes it; the event loop does not wait for the disk.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from tellwire.gateway.api_key import key_of
from tellwire.gateway.http import problem
from tellwire.gateway.paths import client_of
from tellwire.ports import Backup, Backups

logger = logging.getLogger("tellwire.gateway")

_TAR: Final = "application/x-tar"
_RETRY_AFTER_SECONDS: Final = 10


class BackupEndpoint:
    """The endpoint. With an engine that keeps nothing in files it answers 501."""

    def __init__(self, backups: Backups | None) -> None:
        self._backups = backups

    async def __call__(self, request: Request) -> Response:
        if self._backups is None:
            text = "This gateway's engine keeps nothing in files; back up its Redis with Redis's own snapshots"
            return problem(501, "BACKUP_NOT_KEPT_HERE", text)
        backup = await self._backups.make()
        if backup is None:
            text = "A backup is being made; one is allowed at a time"
            return problem(409, "BACKUP_RUNNING", text, {"retry-after": str(_RETRY_AFTER_SECONDS)})
        logger.info("a backup for %s (API key %s): %d bytes", client_of(request), key_of(request), backup.size_bytes)
        return _Download(backup)


class _Download(StreamingResponse):
    """The bytes of a backup, which is closed at its end, also if its client is gone."""

    def __init__(self, backup: Backup) -> None:
        headers = {"content-length": str(backup.size_bytes), "cache-control": "no-store"}
        super().__init__(_pieces(backup), headers=headers, media_type=_TAR)
        self._backup = backup

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._backup.close()


async def _pieces(backup: Backup) -> AsyncIterator[bytes]:
    chunks = backup.chunks()
    while (piece := await asyncio.to_thread(next, chunks, None)) is not None:
        yield piece
