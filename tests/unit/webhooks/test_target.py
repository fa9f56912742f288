"""Targets of webhooks, as settings give them."""

import pytest

from tellwire.errors import ConfigError
from tellwire.webhooks.target import WebhookTarget

SECRET = "a secret of webhooks that nobody knows"


def test_a_target_has_an_address_and_keys_and_shows_no_key() -> None:
    target = WebhookTarget.of("messages", "https://shop.example/hooks/", [SECRET], "TELLWIRE_MESSAGE_WEBHOOK_URL")
    assert (target.url, target.keys) == ("https://shop.example/hooks", (SECRET.encode(),))
    assert "nobody" not in repr(target)
    assert "nobody" not in str(list(target.__rich_repr__()))


@pytest.mark.parametrize("url", ["shop.example", "ftp://shop.example", "https://u:p@shop.example", "https://x/?key=1"])
def test_an_address_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="TELLWIRE_MESSAGE_WEBHOOK_URL: got") as raised:
        WebhookTarget.of("messages", url, [SECRET], "TELLWIRE_MESSAGE_WEBHOOK_URL")
    assert "u:p" not in str(raised.value)
    assert "key=1" not in str(raised.value)


def test_nothing_is_sent_without_a_secret() -> None:
    with pytest.raises(ConfigError, match="TELLWIRE_WEBHOOK_SECRET: not set"):
        WebhookTarget.of("messages", "https://shop.example", [], "TELLWIRE_MESSAGE_WEBHOOK_URL")
