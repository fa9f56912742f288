"""The shared parts of one API's functions, each made on first use, once per process."""

import asyncio
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from tellwire.aws_api.deadline import deadline
from tellwire.aws_api.management import Management
from tellwire.engines.aws.connections import ConnectionRow, ConnectionsTable
from tellwire.engines.aws.environment import (
    has_history,
    has_presence,
    info_claim,
    open_management,
    open_table,
    open_topic_rules,
    subscriptions_per_connection,
    topics_claim,
)
from tellwire.engines.aws.shut_outs import AwsShutOuts
from tellwire.errors import shown
from tellwire.limits import AWS_TOKEN_CACHE_BYTES, CONNECTION_SETTLES_SECONDS
from tellwire.model import Identity
from tellwire.ports import Authenticator, Clock, NullObserver, Observer, ShutOuts, SystemClock

if TYPE_CHECKING:
    from tellwire.aws.metrics import FunctionMetrics
    from tellwire.engine import Engine
    from tellwire.engines.aws.history import DynamoHistory
    from tellwire.engines.aws.topic_presence import AwsTopicPresence
    from tellwire.topics import TopicRules
    from tellwire.webhooks.escalations import EscalationWebhooks

logger = logging.getLogger("tellwire.aws")

Event = Mapping[str, Any]

_INDEX_WAITS_SECONDS: Final = (0.1, 0.2, 0.4, 0.8)


class Deployment:
    """The parts that the environment configures. `environ` None is the process's environment.

    It is also an `Authenticator`, which is imported with the first token.
    """

    def __init__(self, environ: Mapping[str, str] | None = None, clock: Clock | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self.clock = clock or SystemClock()
        self._managements: dict[str | None, Management] = {}

    async def authenticate(self, token: str) -> Identity:
        """Return the identity in a token that is not shut out. See `Gatekeeper`."""
        identity = await self.verify(token)
        await self.shut_outs().admit(identity)
        return identity

    async def verify(self, token: str) -> Identity:
        """Return the identity in a token, which may be shut out. See `Authenticator`."""
        return await self._authenticator.authenticate(token)

    def shut_outs(self, event: Event | None = None) -> ShutOuts:
        """Return the shut-outs for the stage of an event; None: of the environment's stage."""
        return AwsShutOuts(self.table, lambda: self.management(event), self.clock)

    @cached_property
    def table(self) -> ConnectionsTable:
        """The table of connections."""
        return open_table(self._environ, self.clock)

    @cached_property
    def history(self) -> "DynamoHistory | None":
        """The history; None if the environment names none."""
        if not has_history(self._environ):
            return None
        from tellwire.engines.aws.engine import open_history  # $connect and $disconnect need none of it

        return open_history(self._environ, self.clock, self.topics)

    @cached_property
    def topics(self) -> "TopicRules":
        """The rules of topics."""
        return open_topic_rules(self._environ)

    @cached_property
    def escalation_webhooks(self) -> "EscalationWebhooks":
        """The targets of escalations."""
        from tellwire.config import load_settings  # the sweeper alone needs them
        from tellwire.webhooks.escalations import open_webhooks

        settings = load_settings(self._environ)
        return open_webhooks(settings.webhook_urls, settings.webhook_secrets, self.clock)

    def kept_claims(self, identity: Identity) -> dict[str, Any]:
        """Return the claims of a token that are stored with its connection: those of topics and of presence, if it has
        them, and if they are good.
        """
        kept: dict[str, Any] = {}
        if self.topics_claim in identity.claims:
            from tellwire.topics import bounded_claim  # $connect of most projects needs none of it

            kept[self.topics_claim] = bounded_claim(identity.claims, self.topics_claim)
        if (name := self.info_claim) in identity.claims and has_presence(self._environ):
            from tellwire.topic_members import claimed_info

            info, refused = claimed_info(identity.claims, name)
            kept[name] = None if info is None else identity.claims[name]
            if refused:
                logger.warning("the token of %s: its info does not count: %s", shown(identity.user_id), refused)
        return {name: value for name, value in kept.items() if value is not None}

    def info(self, identity: Identity) -> bytes | None:
        """Return the info about a user in the token of a connection, encoded."""
        from tellwire.topic_members import claimed_info  # $connect and $disconnect need none of it

        return claimed_info(identity.claims, self.info_claim).info

    @property
    def info_claim(self) -> str:
        """The name of the claim with the info about a user, which others in a topic see."""
        return info_claim(self._environ)

    @property
    def topics_claim(self) -> str:
        """The name of the claim with the patterns of topics."""
        return topics_claim(self._environ)

    @cached_property
    def subscriptions_per_connection(self) -> int:
        """The topics that one connection may be subscribed to at a time."""
        return subscriptions_per_connection(self._environ)

    @cached_property
    def metrics(self) -> "FunctionMetrics | None":
        """The metrics; None if the environment does not ask for them with `TELLWIRE_METRICS`."""
        if self._environ.get("TELLWIRE_METRICS", "").lower() not in ("1", "true", "yes", "on"):
            return None
        from tellwire.aws.metrics import FunctionMetrics  # $connect of most projects needs none of it

        return FunctionMetrics(self.topics, self.clock, self._environ.get("AWS_LAMBDA_FUNCTION_NAME"))

    @property
    def observer(self) -> Observer:
        """The observer of the present invocation."""
        return NullObserver() if self.metrics is None else self.metrics.observer

    @contextmanager
    def invocation(self, context: Any) -> Iterator[None]:
        """Keep to the deadline of an invocation in the block, and count it."""
        with deadline(context), nullcontext() if self.metrics is None else self.metrics.invocation():
            yield

    def engine(self, event: Event | None = None) -> "Engine":
        """Return the engine for the stage of an event; None: for the environment's stage."""
        from tellwire.engines.aws.engine import compose

        return compose(self.table, self.management(event), self.history, self.clock, self.topics, self.observer)

    @contextmanager
    def publishing(self, engine: "Engine") -> Iterator[None]:
        """Handlers of own types publish through the engine of their event here, unless the environment says otherwise.

        The function of a route cannot have the API's address in its environment: each would need the other first.
        """
        from tellwire.broadcast import Broadcaster, use_broadcaster
        from tellwire.broker import BrokerCarrier

        if any(self._environ.get(name) for name in ("TELLWIRE_URL", "TELLWIRE_DISABLED")):
            yield
            return
        with use_broadcaster(Broadcaster(BrokerCarrier(engine.broker, engine.carrier)), other_threads=False):
            yield

    def presence(self, event: Event | None = None) -> "AwsTopicPresence":
        """Return the presence of topics for the stage of an event; None: for the environment's stage."""
        from tellwire.engines.aws.carrier import AwsCarrier
        from tellwire.engines.aws.topic_presence import AwsTopicPresence

        carrier = AwsCarrier(self.table, self.management(event), self.clock)
        return AwsTopicPresence(self.table, carrier, self.clock)

    def management(self, event: Event | None = None) -> Management:
        """Return the management API of the stage of an event; None: of the environment's stage."""
        endpoint = None
        if event is not None:
            request = event["requestContext"]
            endpoint = f"https://{request['domainName']}/{request['stage']}"
        if endpoint not in self._managements:
            self._managements[endpoint] = open_management(self._environ, endpoint)
        return self._managements[endpoint]

    async def find(self, event: Event) -> ConnectionRow | None:
        """Return the row of an event's connection. Waits for the index if the connection is new."""
        connection_id = event["requestContext"]["connectionId"]
        row = await self.table.find(connection_id)
        for wait_seconds in _INDEX_WAITS_SECONDS if self.is_new(event) else ():
            if row is not None:
                break
            await asyncio.sleep(wait_seconds)
            row = await self.table.find(connection_id)
        return row

    def is_new(self, event: Event) -> bool:
        """Return True if the connection may not be in the index yet."""
        connected_at: float = event["requestContext"]["connectedAt"] / 1000
        return self.clock.now() - connected_at < CONNECTION_SETTLES_SECONDS

    @cached_property
    def _authenticator(self) -> Authenticator:
        # Cryptography takes a third of a cold start; $disconnect needs none.
        from tellwire.auth import make_authenticator
        from tellwire.config import load_settings

        return make_authenticator(load_settings(self._environ), self.clock, AWS_TOKEN_CACHE_BYTES)
