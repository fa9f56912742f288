"""Rights to topics that the project's own server gives.

    may ─▶ cache ─▶ POST {"type": "topic", "timestamp": …, "data": {"userId", "topic", "action", "claims"}}
    200 {"allow": true │ false}: the answer, which counts for a time │ anything else: nobody knows, which is no

- Those who ask the same at once share one request. It has two seconds.
- An answer is for a user, a topic, an action and the claims of a token: with a new token that says something else, the
  server is asked again. `exp`, `iat`, `nbf` and `jti` are no part of it, and are not sent.
- A no counts for a shorter time than a yes, so that a right that was just given works soon.
- Answers are kept as digests with a time, in a bounded number; those used longest ago are asked again.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from tellwire import wire
from tellwire.decode_errors import DECODE_ERRORS
from tellwire.errors import TopicRightsUnavailable
from tellwire.limits import TOPIC_REFUSAL_SECONDS, TOPIC_RIGHTS_CACHED
from tellwire.model import Identity, new_message_id, timestamp
from tellwire.ports import Clock
from tellwire.webhooks.webhook import Webhook, WebhookAnswer, WebhookFailed

Action = Literal["subscribe", "publish"]

_OF_ONE_TOKEN: Final = frozenset({"exp", "iat", "nbf", "jti"})


class _Data(Struct, rename="camel"):
    user_id: str
    topic: str
    action: Action
    claims: Mapping[str, Any]


class _Call(Struct):
    type: str
    timestamp: str
    data: _Data


class _Decision(Struct):
    allow: bool


_decision: Final = msgspec.json.Decoder(_Decision)
_sorted: Final = msgspec.json.Encoder(order="deterministic").encode


class TopicWebhook:
    """Rights to topics by a `Webhook`. A yes counts for `cache_seconds`."""

    def __init__(
        self, webhook: Webhook, clock: Clock, cache_seconds: float, max_answers: int = TOPIC_RIGHTS_CACHED
    ) -> None:
        self._webhook = webhook
        self._clock = clock
        self._cache_seconds = cache_seconds
        self._max_answers = max_answers
        self._answers: OrderedDict[bytes, tuple[bool, float]] = OrderedDict()
        self._asked: dict[bytes, asyncio.Task[bool]] = {}

    def __len__(self) -> int:
        return len(self._answers)

    async def may(self, action: Action, identity: Identity, topic: str) -> bool:
        """Return True if the server says so, or has said so a short time ago.

        Raises:
            TopicRightsUnavailable: it does not answer, or not with a decision.
        """
        claims = {name: value for name, value in identity.claims.items() if name not in _OF_ONE_TOKEN}
        data = _Data(identity.user_id, topic, action, claims)
        question = sha256(_sorted(data)).digest()
        known = self._known(question)
        if known is not None:
            return known
        task = self._asked.get(question)
        if task is None:
            task = asyncio.create_task(self._ask(question, data), name="tellwire-topic-webhook")
            self._asked[question] = task
            task.add_done_callback(partial(self._answered, question))
        # Shielded: the first who asks may go away while others wait for the same answer.
        return await asyncio.shield(task)

    def forget(self) -> None:
        """Ask again from now on."""
        self._answers.clear()

    async def close(self) -> None:
        """End the requests in progress."""
        tasks = list(self._asked.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _answered(self, question: bytes, task: asyncio.Task[bool]) -> None:
        self._asked.pop(question, None)
        if not task.cancelled():
            task.exception()  # perhaps nobody waits for it any more

    def _known(self, question: bytes) -> bool | None:
        allowed, until = self._answers.get(question, (False, 0.0))
        if until <= self._clock.monotonic():
            return None
        self._answers.move_to_end(question)
        return allowed

    async def _ask(self, question: bytes, data: _Data) -> bool:
        body = wire.encode(_Call("topic", timestamp(), data))
        try:
            answer = await self._webhook.post(body, f"msg_{new_message_id()}", data.user_id)
        except WebhookFailed:
            raise TopicRightsUnavailable(data.topic) from None
        allowed = _allowed(answer)
        if allowed is None:
            self._webhook.tell(f"it answered {answer.status} without a decision")
            raise TopicRightsUnavailable(data.topic)
        self._keep(question, allowed)
        return allowed

    def _keep(self, question: bytes, allowed: bool) -> None:
        seconds = self._cache_seconds if allowed else min(self._cache_seconds, TOPIC_REFUSAL_SECONDS)
        if seconds <= 0:
            return
        self._answers[question] = (allowed, self._clock.monotonic() + seconds)
        self._answers.move_to_end(question)
        while len(self._answers) > self._max_answers:
            self._answers.popitem(last=False)


def _allowed(answer: WebhookAnswer) -> bool | None:
    """Return the decision in an answer; None: it has none."""
    try:
        return _decision.decode(answer.body).allow if answer.is_success else None
    except DECODE_ERRORS:
        return None
