"""The rights to topics: a rule, the claim of a token, a function of the program, and a webhook.

    rule "anyone" ─▶ claim ─▶ function ─▶ webhook: the first yes counts; without any of them it is a no

Whoever cannot say within two seconds, raises, or is away has said neither yes nor no: the request is refused as one to
try again.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from msgspec import structs

from tellwire.errors import TopicRightsUnavailable, shown
from tellwire.limited_log import LimitedLog
from tellwire.limits import TOPIC_RIGHTS_SECONDS
from tellwire.model import Identity
from tellwire.ports import Clock
from tellwire.topics import CLAIM, ClaimAuthorizer, TopicRules, bounded_claim, claimed

if TYPE_CHECKING:
    from tellwire.webhooks.topics import TopicWebhook  # a function on AWS need not load it

logger = logging.getLogger("tellwire.topics")

Action = Literal["subscribe", "publish"]

TopicCallback = Callable[[Identity, str], bool | Awaitable[bool]]
"""Decides about a user and a topic. A plain function runs in a thread."""


class TopicRights:
    """A `TopicAuthorizer`. `claim` names the claim of tokens; `callbacks` may change at any time."""

    def __init__(
        self,
        rules: TopicRules,
        clock: Clock,
        claim: str = CLAIM,
        callbacks: Mapping[Action, TopicCallback] | None = None,
        webhook: "TopicWebhook | None" = None,
    ) -> None:
        self._rules = rules
        self._claim = claim
        self._by_claim = ClaimAuthorizer(rules, claim)
        self._callbacks: Mapping[Action, TopicCallback] = {} if callbacks is None else callbacks
        self._webhook = webhook
        self._wrong = LimitedLog(logger, logging.WARNING, "tokens with wrong topics", clock)
        self._failures = LimitedLog(logger, logging.ERROR, "failed decisions about topics", clock)

    @property
    def asks_others(self) -> bool:
        """True if a right may end although the token stays: somebody else is asked."""
        return self._webhook is not None or len(self._callbacks) > 0

    def needed(self, identity: Identity) -> Identity | None:
        """Return an identity with the claims that rights need; None: the user's id is enough."""
        if self.asks_others:
            return identity
        if self._claim not in identity.claims:
            return None
        if refused := claimed(identity.claims, self._claim).refused:
            self._wrong.tell_left_out()
            self._wrong.write("the token of %s: these topics do not count: %s", shown(identity.user_id), refused)
        kept = bounded_claim(identity.claims, self._claim)
        return None if kept is None else structs.replace(identity, claims={self._claim: kept})

    async def may_subscribe(self, identity: Identity, topic: str) -> bool:
        if await self._by_claim.may_subscribe(identity, topic):
            return True
        return await self._others("subscribe", identity, topic)

    async def may_publish(self, identity: Identity, topic: str) -> bool:
        if await self._by_claim.may_publish(identity, topic):
            return True
        return self._rules.of(topic).publish == "token" and await self._others("publish", identity, topic)

    async def _others(self, action: Action, identity: Identity, topic: str) -> bool:
        callback = self._callbacks.get(action)
        if callback is not None and await self._called(callback, identity, topic):
            return True
        return self._webhook is not None and await self._webhook.may(action, identity, topic)

    async def _called(self, callback: TopicCallback, identity: Identity, topic: str) -> bool:
        try:
            async with asyncio.timeout(TOPIC_RIGHTS_SECONDS):
                result: Any
                if inspect.iscoroutinefunction(callback):
                    result = callback(identity, topic)
                else:
                    result = await asyncio.to_thread(callback, identity, topic)
                return bool(await result if inspect.isawaitable(result) else result)
        except Exception as error:
            self._failures.tell_left_out()
            self._failures.write("the function that decides about topics failed: %r", error)
            raise TopicRightsUnavailable(topic) from error
