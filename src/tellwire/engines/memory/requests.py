"""The requests of clients, remembered in the memory of this process."""

from collections import OrderedDict
from typing import Final

from tellwire.errors import RequestRunning
from tellwire.limits import REQUEST_KEEP_SECONDS, REQUEST_LEDGER_BYTES, REQUESTS_PER_USER
from tellwire.ports import Clock

_REQUEST_BYTES: Final = 650
"""Memory of a request beside its texts and its answer, measured with CPython 3.11."""

_Key = tuple[str, str]
"""User and id."""


class _Request:
    __slots__ = ("answer", "begun_at")

    def __init__(self, begun_at: float) -> None:
        self.begun_at = begun_at
        self.answer: bytes | None = None


class MemoryRequests:
    """A `RequestLedger` in memory, bounded in bytes: those that began first are dropped."""

    def __init__(self, clock: Clock, max_bytes: int = REQUEST_LEDGER_BYTES) -> None:
        self._clock = clock
        self._max_bytes = max_bytes
        self._requests: OrderedDict[_Key, _Request] = OrderedDict()  # in the order in which they began
        self._of_users: dict[str, OrderedDict[str, None]] = {}
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._requests)

    async def begin(self, user_id: str, request_id: str) -> bytes | None:
        self._drop_old()
        known = self._requests.get((user_id, request_id))
        if known is None:
            self._add(user_id, request_id)
            return None
        if known.answer is None:
            raise RequestRunning
        return known.answer

    async def finish(self, user_id: str, request_id: str, answer: bytes) -> None:
        known = self._requests.get((user_id, request_id))
        if known is not None:
            self.size_bytes += len(answer) - len(known.answer or b"")
            known.answer = answer
            self._make_room()

    async def forget(self, user_id: str) -> None:
        for request_id in list(self._of_users.get(user_id, ())):
            self._drop((user_id, request_id))

    def _add(self, user_id: str, request_id: str) -> None:
        self._requests[user_id, request_id] = _Request(self._clock.now())
        self.size_bytes += _cost((user_id, request_id))
        of_user = self._of_users.setdefault(user_id, OrderedDict())
        of_user[request_id] = None
        if len(of_user) > REQUESTS_PER_USER:
            self._drop((user_id, next(iter(of_user))))
        self._make_room()

    def _drop_old(self) -> None:
        oldest = self._clock.now() - REQUEST_KEEP_SECONDS
        while self._requests and next(iter(self._requests.values())).begun_at < oldest:
            self._drop(next(iter(self._requests)))

    def _make_room(self) -> None:
        while self.size_bytes > self._max_bytes and len(self._requests) > 1:
            self._drop(next(iter(self._requests)))

    def _drop(self, key: _Key) -> None:
        dropped = self._requests.pop(key, None)
        if dropped is None:
            return
        self.size_bytes -= _cost(key) + len(dropped.answer or b"")
        of_user = self._of_users[key[0]]
        del of_user[key[1]]
        if not of_user:
            del self._of_users[key[0]]


def _cost(key: _Key) -> int:
    return _REQUEST_BYTES + len(key[0]) + len(key[1])
