"""A target of webhooks: an address of the project's own server, and the secrets that sign the requests to it. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tellwire.errors import ConfigError
from tellwire.http_client import http_base_url
from tellwire.webhooks.signature import key_of


@dataclass(frozen=True, slots=True)
class WebhookTarget:
    """An address under a name, for logs. `keys` sign, the newest first; they are not in its repr."""

    name: str
    url: str
    keys: tuple[bytes, ...] = field(repr=False)

    def __rich_repr__(self) -> Iterator[tuple[str, str]]:  # for rich, which shows values in tracebacks
        yield "name", self.name
        yield "url", self.url

    @classmethod
    def of(cls, name: str, url: str, secrets: Sequence[str], setting: str) -> "WebhookTarget":
        """Return the target of a setting. `setting` names that of the address, for errors.

        Raises:
            ConfigError: no http(s) address without user and query, or no secret, or a weak one.
        """
        base = http_base_url(url, setting)
        if not secrets:
            raise ConfigError(
                f"TELLWIRE_WEBHOOK_SECRET: not set; needed: the secret that signs the requests to {setting}"
            )
        return cls(name, base, tuple(key_of(secret) for secret in secrets))
