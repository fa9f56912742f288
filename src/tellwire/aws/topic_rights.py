"""The rights to topics behind API Gateway: the rules, the claim that is stored with a connection, and a function.

rule "anyone" ─▶ claim ─▶ the function of the project: the first yes counts; without any of them it is a no
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from tellwire.errors import TopicRightsUnavailable
from tellwire.model import Identity
from tellwire.topics import ClaimAuthorizer, TopicRules

logger = logging.getLogger("tellwire.aws")

Decision = Callable[[Identity, str], bool | Awaitable[bool]]
"""Decides whether a user may subscribe to a topic. A plain function runs in a thread, so it may block."""


class AwsTopicRights:
    """A `TopicAuthorizer`. `decide` None: there is no function."""

    def __init__(self, rules: TopicRules, claim: str, decide: Decision | None = None) -> None:
        self._by_claim = ClaimAuthorizer(rules, claim)
        self._decide = decide

    async def may_subscribe(self, identity: Identity, topic: str) -> bool:
        if await self._by_claim.may_subscribe(identity, topic):
            return True
        return self._decide is not None and await self._decided(self._decide, identity, topic)

    async def may_publish(self, identity: Identity, topic: str) -> bool:
        return await self._by_claim.may_publish(identity, topic)

    async def _decided(self, decide: Decision, identity: Identity, topic: str) -> bool:
        result: Any
        try:
            if inspect.iscoroutinefunction(decide):
                result = decide(identity, topic)
            else:
                result = await asyncio.to_thread(decide, identity, topic)
            return bool(await result if inspect.isawaitable(result) else result)
        except Exception as error:
            logger.exception("the function that decides about topics has failed")
            raise TopicRightsUnavailable(topic) from error
