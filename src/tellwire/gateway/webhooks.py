"""The webhooks of a node: those that its settings name."""

from collections.abc import Mapping
from typing import Any, Final

from tellwire.config import Settings
from tellwire.errors import ConfigError, InvalidMessage
from tellwire.escalations import Escalations
from tellwire.limits import (
    IDENTIFY_SECONDS,
    MAX_CONNECT_ANSWER_BYTES,
    MAX_TOPIC_DECISION_BYTES,
    TOPIC_RIGHTS_SECONDS,
)
from tellwire.message_handlers import MessageHandlers
from tellwire.messages import create_message
from tellwire.ports import Clock
from tellwire.webhooks.connect import ConnectWebhook
from tellwire.webhooks.escalations import EscalationWebhooks, target_of
from tellwire.webhooks.messages import MessageWebhook
from tellwire.webhooks.target import WebhookTarget
from tellwire.webhooks.topics import TopicWebhook
from tellwire.webhooks.webhook import Webhook

MESSAGES = "messages"
TOPICS = "topics"
CONNECT = "connect"

Targets = Mapping[str, WebhookTarget]
"""The targets of a node, by their names."""


def targets_of(settings: Settings) -> Targets:
    """Return the targets that the settings name.

    Raises:
        ConfigError: an address cannot be used, or there is no secret, or no type of messages.
    """
    urls = {
        MESSAGES: ("TELLWIRE_MESSAGE_WEBHOOK_URL", settings.message_webhook_url),
        TOPICS: ("TELLWIRE_TOPIC_AUTH_URL", settings.topic_auth_url),
        CONNECT: ("TELLWIRE_CONNECT_WEBHOOK_URL", settings.connect_webhook_url),
    }
    _require_types(settings)
    secrets = settings.webhook_secrets
    own = {name: WebhookTarget.of(name, url, secrets, setting) for name, (setting, url) in urls.items() if url}
    named = [target_of(name, url, secrets) for name, url in settings.webhook_urls.items()]
    return own | {each.name: each for each in named}


def _require_types(settings: Settings) -> None:
    types = settings.message_webhook_types
    if bool(types) != bool(settings.message_webhook_url):
        both = "TELLWIRE_MESSAGE_WEBHOOK_URL and TELLWIRE_MESSAGE_WEBHOOK_TYPES"
        raise ConfigError(f"{both}: got one of them; allowed: both or neither")
    for each in types:
        try:
            create_message(each, None)
        except InvalidMessage as error:
            raise ConfigError(f"TELLWIRE_MESSAGE_WEBHOOK_TYPES: {error}") from error


_OPTIONS: Final[Mapping[str, Any]] = {
    TOPICS: {"seconds": TOPIC_RIGHTS_SECONDS, "max_answer_bytes": MAX_TOPIC_DECISION_BYTES},
    CONNECT: {"seconds": IDENTIFY_SECONDS, "max_answer_bytes": MAX_CONNECT_ANSWER_BYTES},
}


class NodeWebhooks:
    """The open webhooks of a node that runs. Types of messages without a handler get theirs here."""

    def __init__(
        self, settings: Settings, clock: Clock, handlers: MessageHandlers, escalations: Escalations | None = None
    ) -> None:
        self._webhooks = {
            name: Webhook(target, clock, **_OPTIONS.get(name, {})) for name, target in targets_of(settings).items()
        }
        self.topics: TopicWebhook | None = None
        if TOPICS in self._webhooks:
            self.topics = TopicWebhook(self._webhooks[TOPICS], clock, settings.topic_auth_cache_seconds)
        self.connect: ConnectWebhook | None = None
        if CONNECT in self._webhooks:
            self.connect = ConnectWebhook(
                self._webhooks[CONNECT],
                clock,
                settings.connect_webhook_headers,
                settings.max_connection_seconds,
                settings.jwt_topics_claim,
                settings.jwt_info_claim,
            )
        if MESSAGES in self._webhooks:
            handle = MessageWebhook(self._webhooks[MESSAGES]).handle
            handlers.handle_others(settings.message_webhook_types, handle)

        self._escalations = escalations
        if escalations is not None:
            called = {name: self._webhooks[f"escalation {name}"] for name in settings.webhook_urls}
            escalations.call = EscalationWebhooks(called).call

    def sign_with(self, targets: Targets) -> None:
        """Use the secrets of these targets from now on."""
        for name, webhook in self._webhooks.items():
            webhook.sign_with(targets[name].keys)

    async def close(self) -> None:
        """End their requests, and close their connections."""
        if self._escalations is not None:
            await self._escalations.stop()
        if self.topics is not None:
            await self.topics.close()
        for webhook in self._webhooks.values():
            await webhook.close()
