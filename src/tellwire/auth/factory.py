"""The authenticator that the settings choose."""

import asyncio
from collections.abc import Callable, Iterator, Mapping

from tellwire.auth.cache import TokenCache
from tellwire.auth.claims import StandardRules
from tellwire.auth.cognito import CognitoRules, cognito_issuer
from tellwire.auth.jwks import Jwks
from tellwire.auth.jwt import JwtAuthenticator, Trust
from tellwire.auth.keys import Secrets
from tellwire.config import Settings
from tellwire.errors import ConfigError
from tellwire.limits import TOKEN_CACHE_BYTES
from tellwire.ports import Clock


class SettingsAuthenticator(TokenCache):
    """The authenticator that the settings choose: every source of keys that they name is trusted.

    Raises:
        ConfigError: the settings name no source of keys, or one that cannot be used.
    """

    def __init__(self, settings: Settings, clock: Clock, max_bytes: int = TOKEN_CACHE_BYTES) -> None:
        self._key_sets: dict[str, Jwks] = {}
        super().__init__(self._made(settings, clock, {}), clock, max_bytes=max_bytes)

    def use(self, settings: Settings) -> None:
        """Trust the keys of these settings from now on.

        Raises:
            ConfigError: the settings cannot be used, and those from before stay.
        """
        self.replace(self._made(settings, self._clock, self._key_sets))

    async def fetch_all(self) -> bool:
        """Fetch all key sets, whatever their age. False: one of them cannot be fetched, and its keys at hand stay."""
        return all(await asyncio.gather(*(each.reload() for each in self._key_sets.values())))

    def _made(self, settings: Settings, clock: Clock, fetched: Mapping[str, Jwks]) -> JwtAuthenticator:
        if not settings.key_sources:
            raise ConfigError(
                "no way to verify tokens: set TELLWIRE_JWT_SECRET, TELLWIRE_JWKS_URL or COGNITO_USER_POOL_ID "
                "(or try it out with --dev)"
            )
        key_sets: dict[str, Jwks] = {}

        def key_set(url: str) -> Jwks:
            return key_sets.setdefault(url, fetched.get(url) or Jwks(url, clock=clock))

        trusts = list(_trusts(settings, clock, key_set))
        self._key_sets = key_sets
        return JwtAuthenticator(
            trusts, clock, user_claim=settings.jwt_user_claim, leeway_seconds=settings.jwt_leeway_seconds
        )


def make_authenticator(settings: Settings, clock: Clock, cache_bytes: int = TOKEN_CACHE_BYTES) -> SettingsAuthenticator:
    """Return the authenticator for these settings. `cache_bytes` bounds the memory for verified tokens.

    Raises:
        ConfigError: the settings name no source of keys, or one that cannot be used.
    """
    return SettingsAuthenticator(settings, clock, cache_bytes)


def _trusts(settings: Settings, clock: Clock, key_set: Callable[[str], Jwks]) -> Iterator[Trust]:
    rules = StandardRules(settings.jwt_issuers, settings.jwt_audiences)
    if settings.jwt_secrets:
        yield Trust(Secrets(settings.jwt_secrets), rules)
    if settings.jwks is not None:
        yield Trust(Jwks(inline=settings.jwks, clock=clock), rules)
    for url in settings.jwks_urls:
        yield Trust(key_set(url), rules)
    if settings.cognito_user_pool_id and settings.cognito_client_id:
        issuer = cognito_issuer(settings.cognito_user_pool_id)
        yield Trust(key_set(f"{issuer}/.well-known/jwks.json"), CognitoRules(issuer, settings.cognito_client_id))
