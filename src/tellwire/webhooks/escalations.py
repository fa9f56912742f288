"""The targets of escalations: webhooks by the names that the settings give them."""

from collections.abc import Mapping, Sequence

from tellwire.escalations import CallOutcome
from tellwire.ports import Clock
from tellwire.webhooks.target import WebhookTarget
from tellwire.webhooks.webhook import Webhook, WebhookFailed


class EscalationWebhooks:
    """Calls targets by a `Webhook` each."""

    def __init__(self, webhooks: Mapping[str, Webhook]) -> None:
        self._webhooks = webhooks

    async def call(self, target: str, body: bytes, request_id: str, user_id: str) -> CallOutcome:
        """Send a body to a target. A failure is told in the log."""
        webhook = self._webhooks.get(target)
        if webhook is None:
            return "unknown"
        try:
            answer = await webhook.post(body, request_id, user_id)
        except WebhookFailed:
            return "away"
        if answer.is_success:
            return "called"
        webhook.tell(f"it refused with {answer.status}")
        return "refused"


def target_of(name: str, url: str, secrets: Sequence[str]) -> WebhookTarget:
    """Return a target of the setting `webhooks`.

    Raises:
        ConfigError: its address cannot be used, or there is no secret, or a weak one.
    """
    return WebhookTarget.of(f"escalation {name}", url, secrets, f"TELLWIRE_WEBHOOKS: {name}")


def open_webhooks(urls: Mapping[str, str], secrets: Sequence[str], clock: Clock) -> EscalationWebhooks:
    """Return the targets of the setting `webhooks`. They connect with the first call.

    Raises:
        ConfigError: an address cannot be used, or there is no secret, or a weak one.
    """
    return EscalationWebhooks({name: Webhook(target_of(name, url, secrets), clock) for name, url in urls.items()})
