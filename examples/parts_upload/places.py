"""Places for the workers of many users: nobody waits for all the uploads of another.

Rules:
- A user has at most `per_user` places, and all of them together `in_all`.
- Users who wait take turns: a free place is for the user whose turn was longest ago. The uploads of one user keep their
  order. Whoever is cancelled while waiting has no turn.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Places:
    """The places, of one event loop."""

    def __init__(self, in_all: int, per_user: int) -> None:
        self._in_all = in_all
        self._per_user = per_user
        self._taken: Counter[str] = Counter()
        # In the order of their turns.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def place(self, user_id: str) -> AsyncIterator[None]:
        """Wait for a place of this user, and have it in the block."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(user_id, deque()).append(turn)
        self._give()
        try:
            await turn
        except asyncio.CancelledError:
            # It may have been given in the same moment.
            if not turn.cancelled():
                self._free(user_id)
            raise
        try:
            yield
        finally:
            self._free(user_id)

    def _free(self, user_id: str) -> None:
        self._taken[user_id] -= 1
        self._taken += Counter()  # forgets users without a place
        self._give()

    def _give(self) -> None:
        """Give the places that are free."""
        while self._taken.total() < self._in_all and (user_id := self._next()) is not None:
            turns = self._waiting.pop(user_id)
            turn = turns.popleft()
            if turns:
                self._waiting[user_id] = turns  # behind the others
            self._taken[user_id] += 1
            turn.set_result(None)

    def _next(self) -> str | None:
        self._forget_cancelled()
        return next((each for each in self._waiting if self._taken[each] < self._per_user), None)

    def _forget_cancelled(self) -> None:
        live = {
            user_id: deque(turn for turn in turns if not turn.cancelled()) for user_id, turns in self._waiting.items()
        }
        self._waiting = {user_id: turns for user_id, turns in live.items() if turns}
