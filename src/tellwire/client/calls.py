"""The requests that tasks of the application wait for, by their ids."""

import asyncio
import secrets
from typing import Any

from tellwire.client.actions import Settle


class Calls:
    """Futures for the results of requests."""

    def __init__(self) -> None:
        self._answers: dict[str, asyncio.Future[Any]] = {}

    def begin(self) -> tuple[str, asyncio.Future[Any]]:
        """Return the id of a new request, and its result to wait for."""
        request_id = secrets.token_urlsafe(12)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[request_id] = answer
        return request_id, answer

    def settle(self, outcome: Settle) -> None:
        """Give a request its result or its error, if anybody waits for it."""
        answer = self._answers.get(outcome.id)
        if answer is None or answer.done():
            return
        if outcome.error is None:
            answer.set_result(outcome.result)
        else:
            answer.set_exception(outcome.error)

    def end(self, request_id: str) -> None:
        """Forget a request: nobody waits for it any more."""
        self._answers.pop(request_id, None)
