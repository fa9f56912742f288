"""The requests of clients, remembered in the history table, beside the stream of their user.

    begin     put its item, unless one is there that is not too old: one conditional write
    finish    add the answer to it

DynamoDB deletes the items some time later. Until then they are ignored once they are too old, and there is no bound of
their number but that time.
"""

from tellwire.engines.aws.concurrently import each
from tellwire.engines.aws.history_table import HistoryTable
from tellwire.errors import RequestRunning
from tellwire.limits import REQUEST_KEEP_SECONDS
from tellwire.ports import Clock
from tellwire.publication import user_stream


class DynamoRequests:
    """A `RequestLedger` in a table that many processes share."""

    def __init__(self, table: HistoryTable, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    async def begin(self, user_id: str, request_id: str) -> bytes | None:
        now = self._clock.now()
        is_ours, answer = await self._table.put_request(user_stream(user_id), request_id, now, REQUEST_KEEP_SECONDS)
        if not is_ours and answer is None:
            raise RequestRunning
        return answer

    async def finish(self, user_id: str, request_id: str, answer: bytes) -> None:
        await self._table.put_answer(user_stream(user_id), request_id, answer)

    async def forget(self, user_id: str) -> None:
        stream = user_stream(user_id)
        async for keys in self._table.requests(stream):
            await each(keys, self._table.delete_at)
