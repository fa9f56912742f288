"""Requests to one target of webhooks.

    post ─▶ circuit ─▶ room ─▶ attempt ─▶ 2xx, or the server's refusal (4xx): the answer
                                 └ no answer, 408, 425, 429, 5xx: again after a pause, until the time is used up

- All attempts of a request have one id, so a server that keeps the ids can tell a repeated one.
- Redirects are not followed: a server that was taken over, or an open redirect of it, leads to no internal address.
- An answer is read up to a bound of bytes, decompressed, and within the time of an attempt, however slowly it comes.
- A target that used up the time of a request is away: others fail at once until a probe succeeds.
- Of one user a few requests are in progress at a time, so that nobody takes the place of all others.
- Failures are told in the log, at a bounded rate.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from tellwire.carriers.circuit import Circuit
from tellwire.http_client import AnswerTooBig, HttpClient, HttpFailed, full_jitter
from tellwire.http_messages import HttpResponse, redirect_target
from tellwire.limited_log import LimitedLog
from tellwire.limits import (
    MAX_MESSAGE_BYTES,
    WEBHOOK_ATTEMPT_SECONDS,
    WEBHOOK_REQUESTS_AT_ONCE,
    WEBHOOK_REQUESTS_PER_USER,
    WEBHOOK_REQUESTS_WAITING,
    WEBHOOK_SECONDS,
)
from tellwire.ports import Clock
from tellwire.webhooks.signature import signed_headers
from tellwire.webhooks.target import WebhookTarget

logger = logging.getLogger("tellwire.webhooks")

_FIRST_WAIT_SECONDS: Final = 0.1
_LONGEST_WAIT_SECONDS: Final = 2.0
_SHORTEST_SECONDS: Final = 0.05
_PASSING: Final = frozenset({408, 425, 429})


class WebhookFailed(Exception):
    """A request without an answer that counts. It may have arrived. It was told in the log."""


class WebhookAnswer(Struct, frozen=True):
    """The answer of a target: a success, or a refusal (4xx)."""

    status: int
    body: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class _Failed(Exception):
    """A failed attempt, and whether another one may succeed."""

    def __init__(self, reason: str, *, may_repeat: bool) -> None:
        super().__init__(reason)
        self.may_repeat = may_repeat


class Webhook:
    """Requests to a target.

    `seconds` is the time of a request, with all its attempts of up to `attempt_seconds`; `max_answer_bytes` bounds an
    answer.
    """

    def __init__(
        self,
        target: WebhookTarget,
        clock: Clock,
        *,
        seconds: float = WEBHOOK_SECONDS,
        attempt_seconds: float = WEBHOOK_ATTEMPT_SECONDS,
        max_answer_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self.name = target.name
        self._keys: Sequence[bytes] = target.keys
        self._clock = clock
        self._seconds = seconds
        self._attempt_seconds = min(attempt_seconds, seconds)
        self._max_answer_bytes = max_answer_bytes
        self._client = HttpClient(target.url, self._attempt_seconds, {"content-type": "application/json"})
        self._circuit = Circuit(clock.monotonic)
        self._room = asyncio.Semaphore(WEBHOOK_REQUESTS_AT_ONCE)
        self._in_progress = 0
        self._of_users: dict[str, int] = {}
        self._log = LimitedLog(logger, logging.WARNING, f"failed requests to {target.name}", clock)

    def sign_with(self, keys: Sequence[bytes]) -> None:
        """Sign with these keys from now on."""
        self._keys = keys

    async def post(self, body: bytes, request_id: str, user_id: str = "") -> WebhookAnswer:
        """Send JSON, again and again if need be, and return the answer. `user_id` is that of the client behind it.

        Raises:
            WebhookFailed: there is none, or it is no success and no refusal.
        """
        passage = self._circuit.enter(self._attempt_seconds)
        if passage == "stop":
            raise self._failure("it did not answer before, and is tried again soon")
        if self._in_progress >= WEBHOOK_REQUESTS_AT_ONCE + WEBHOOK_REQUESTS_WAITING:
            raise self._failure(f"{self._in_progress:,} requests wait for it already")
        of_user = self._of_users.get(user_id, 0)
        if user_id and of_user >= WEBHOOK_REQUESTS_PER_USER:
            raise self._failure(f"{of_user} requests of one user wait for it already")
        self._in_progress += 1
        self._of_users[user_id] = of_user + 1
        try:
            async with asyncio.timeout(self._seconds), self._room:
                return await self._sent(body, request_id, attempts=1 if passage == "probe" else None)
        except TimeoutError:
            self._circuit.failed()
            raise self._failure(f"no answer within {self._seconds:g} seconds") from None
        except _Failed as failed:
            raise self._failure(str(failed)) from failed
        finally:
            self._in_progress -= 1
            self._of_users[user_id] -= 1
            if not self._of_users[user_id]:
                del self._of_users[user_id]

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def _sent(self, body: bytes, request_id: str, attempts: int | None) -> WebhookAnswer:
        give_up_at = self._clock.monotonic() + self._seconds
        waits = full_jitter(_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS)
        number = 0
        while True:
            number += 1
            left = give_up_at - self._clock.monotonic()
            try:
                answer = await self._attempt(body, request_id, max(_SHORTEST_SECONDS, min(left, self._attempt_seconds)))
            except _Failed as failed:
                wait_seconds = next(waits)
                is_late = self._clock.monotonic() + wait_seconds >= give_up_at or number == attempts
                if failed.may_repeat and not is_late:
                    await self._clock.sleep(wait_seconds)
                    continue
                if failed.may_repeat:
                    self._circuit.failed()
                else:
                    self._circuit.succeeded()
                raise
            self._circuit.succeeded()
            return answer

    async def _attempt(self, body: bytes, request_id: str, seconds: float) -> WebhookAnswer:
        headers = signed_headers(self._keys, request_id, int(self._clock.now()), body)
        try:
            response = await self._client.send(
                "POST", "", body, headers, timeout_seconds=seconds, max_bytes=self._max_answer_bytes
            )
        except AnswerTooBig as failed:
            raise _Failed(failed.reason, may_repeat=False) from failed
        except HttpFailed as failed:
            raise _Failed(failed.reason, may_repeat=True) from failed
        return self._judged(response)

    def _judged(self, response: HttpResponse) -> WebhookAnswer:
        status = response.status
        if status in _PASSING or status >= 500:
            raise _Failed(f"it answered {status}", may_repeat=True)
        if not 200 <= status < 300 and status < 400:
            target = redirect_target(self._client.url, response.headers.get("location", ""))
            raise _Failed(f"it answered {status}, a redirect to {target}, which is not followed", may_repeat=False)
        return WebhookAnswer(status, response.body)

    def tell(self, reason: str) -> None:
        """Log why a request was of no use."""
        self._log.tell_left_out()
        self._log.write("the webhook %s failed: %s", self.name, reason)

    def _failure(self, reason: str) -> WebhookFailed:
        self.tell(reason)
        return WebhookFailed(f"the webhook {self.name} failed: {reason}")
