"""The requests of clients, remembered in Redis for all nodes, in the hash slot of their user's stream.

A claim has a token. If its answer is lost, it is asked for again with the same token, and is still ours. As with a
publication, a fail-over may lose it where Redis does not promise otherwise.
"""

import os
from typing import Final

from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.scripts import Time, script
from tellwire.engines.redis.link.store import RedisStore
from tellwire.errors import HistoryUnavailable, RequestRunning
from tellwire.limits import REQUEST_KEEP_SECONDS, REQUESTS_PER_USER
from tellwire.publication import user_stream

_BEGIN: Final = script("begin_request")
_FINISH: Final = script("finish_request")


class RedisRequests:
    """A `RequestLedger` in Redis."""

    def __init__(self, store: RedisStore, names: Names, time: Time) -> None:
        self._store = store
        self._names = names
        self._time = time

    async def begin(self, user_id: str, request_id: str) -> bytes | None:
        args = (self._time(), request_id, os.urandom(6).hex(), repr(REQUEST_KEEP_SECONDS), REQUESTS_PER_USER)
        keys = self._keys(user_id)
        try:
            answer = await self._store.call(_BEGIN, keys, args)
        except HistoryUnavailable:
            # It may have been claimed. Nobody else may run it then, and this client would wait in vain.
            answer = await self._store.call(_BEGIN, keys, args)
        if answer == 0:
            raise RequestRunning
        return answer if isinstance(answer, bytes) else None

    async def finish(self, user_id: str, request_id: str, answer: bytes) -> None:
        await self._store.call(_FINISH, self._keys(user_id), (request_id, answer))

    async def forget(self, user_id: str) -> None:
        first, second = self._keys(user_id)
        await self._store.command("UNLINK", first, second, key=first)

    def _keys(self, user_id: str) -> list[bytes]:
        stream = user_stream(user_id)
        return [self._names.of_stream(kind, stream) for kind in ("requests", "request-order")]
