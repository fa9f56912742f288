"""Lists of row errors in Redis, in the hash slot of their user's stream.

Each run of an upload has a list: a sorted set by place, so a page is read without the rest. A user's lists together
have a bound in bytes; above it, those unchanged longest are dropped.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.scripts import Time, script
from tellwire.engines.redis.link.store import Call, RedisStore
from tellwire.limits import (
    HISTORY_MAX_AGE_SECONDS,
    MAX_ROW_ERRORS,
    REDIS_ROW_ERROR_BYTES,
    REDIS_ROW_ERROR_USER_BYTES,
    ROW_ERRORS_CHUNK,
)
from tellwire.publication import user_stream
from tellwire.row_errors import KEPT_RUNS, Place, RowError, RowErrorChunk, RowErrorList, RowErrorPage

_FORGOTTEN_AT_ONCE: Final = 100
_PART: Final = 2**20
"""Above any index in a list, so part and index make one number: the score of a row."""

_encode: Final = msgspec.json.Encoder().encode
_row: Final = msgspec.json.Decoder(tuple[int, RowError])


class RedisRowErrors:
    """A `RowErrorStore` in Redis."""

    def __init__(
        self,
        store: RedisStore,
        names: Names,
        time: Time,
        max_age_seconds: float = HISTORY_MAX_AGE_SECONDS,
        *,
        max_bytes: int = REDIS_ROW_ERROR_BYTES,
        max_user_bytes: int = REDIS_ROW_ERROR_USER_BYTES,
    ) -> None:
        self._store = store
        self._names = names
        self._time = time
        self._keep_ms = round(max_age_seconds * 1000)
        self._max_bytes = max_bytes
        self._max_user_bytes = max_user_bytes

    async def add_row_errors(self, chunk: RowErrorChunk) -> None:
        list_name = _name(chunk.upload_id, chunk.run)
        keys = self._keys(chunk.user_id, list_name)
        head = (
            self._time(),
            list_name,
            chunk.run,
            chunk.file_name,
            chunk.part_number,
            chunk.total,
            MAX_ROW_ERRORS,
            self._max_bytes,
            self._max_user_bytes,
            KEPT_RUNS,
            self._keep_ms,
        )
        rows = list(chunk.by_place().items())
        # In short calls: others wait while one runs. One without rows counts them.
        starts = range(0, max(len(rows), 1), ROW_ERRORS_CHUNK)
        calls = [Call(_ADD, keys, (*head, *_texts(rows[first : first + ROW_ERRORS_CHUNK]))) for first in starts]
        answers = await self._store.call_together(calls)
        await self._drop(chunk.user_id, {each for names in answers for each in names})

    async def row_error_list(self, user_id: str, upload_id: str, run: str | None = None) -> RowErrorList | None:
        keys = [self._of_upload("runs", user_id, _digest(upload_id))]
        found = await self._store.call(_LIST, keys, (self._time(), "" if run is None else _digest(run), self._keep_ms))
        if not found:
            return None
        name, file_name, total, kept = found
        return RowErrorList(file_name.decode(), name.decode(), int(total), int(kept))

    async def row_errors(
        self, user_id: str, upload_id: str, run: str, after: Place | None, at_most: int
    ) -> RowErrorPage:
        key = self._of_upload("rows", user_id, _name(upload_id, run))
        first = "-inf" if after is None else f"({_score(after)}"
        words = ("ZRANGEBYSCORE", key, first, "+inf", "LIMIT", 0, at_most)
        found = [_row.decode(each) for each in await self._store.command(*words, key=key, writes=False)]
        last = divmod(found[-1][0], _PART) if len(found) == at_most else None
        return RowErrorPage([error for _, error in found], last)

    async def forget(self, user_id: str) -> None:
        key = self._names.of_stream("lists", user_stream(user_id))
        while True:
            names = await self._store.command("ZRANGE", key, 0, _FORGOTTEN_AT_ONCE - 1, key=key, writes=False)
            if not names:
                return
            await self._drop(user_id, names)

    async def _drop(self, user_id: str, names: Iterable[bytes]) -> None:
        """Drop lists. Each script names all its keys, so it does so also while their slot moves to another server."""
        await self._store.call_together([Call(_DROP, self._keys(user_id, each.decode()), (each,)) for each in names])

    def _keys(self, user_id: str, list_name: str) -> list[bytes]:
        stream = user_stream(user_id)
        return [
            self._names.of_stream("lists", stream),
            self._names.of_stream("list-bytes", stream),
            self._of_upload("runs", user_id, list_name.partition(":")[0]),
            self._of_upload("rows", user_id, list_name),
        ]

    def _of_upload(self, kind: str, user_id: str, name: str) -> bytes:
        return self._names.of_stream(kind, user_stream(user_id)) + f":{name}".encode()


_ADD: Final = script("add_row_errors")
_DROP: Final = script("drop_row_errors")
_LIST: Final = script("row_error_list")


def _digest(text: str) -> str:
    """Return a name of an id that can stand in a key: short, and without separators."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _name(upload_id: str, run: str) -> str:
    return f"{_digest(upload_id)}:{_digest(run)}"


def _score(place: Place) -> int:
    part, index = place
    return part * _PART + index


def _texts(rows: Sequence[tuple[Place, RowError]]) -> Iterator[bytes | int]:
    # The score is in the text, too: two rows of the same words are two members of the set.
    for place, error in rows:
        score = _score(place)
        yield score
        yield _encode((score, error))
