"""The authenticator that the settings choose."""

from tellwire.auth.cache import TokenCache
from tellwire.auth.cognito import CognitoRules, cognito_issuer
from tellwire.auth.jwks import Jwks
from tellwire.auth.jwt import JwtAuthenticator, Secret, StandardRules
from tellwire.config import Settings
from tellwire.errors import ConfigError
from tellwire.ports import Authenticator, Clock


def make_authenticator(settings: Settings, clock: Clock) -> Authenticator:
    """Return the authenticator for these settings.

    Raises:
        ConfigError: the settings name no source of keys, or more than one.
    """
    match settings.key_sources:
        case []:
            raise ConfigError(
                "no way to verify tokens: set TELLWIRE_JWT_SECRET, TELLWIRE_JWKS_URL or COGNITO_USER_POOL_ID "
                "(or try it out with --dev)"
            )
        case [_]:
            return TokenCache(_jwt_authenticator(settings, clock), clock)
        case several:
            raise ConfigError(f"tokens: got {' and '.join(several)}; allowed: one of them")


def _jwt_authenticator(settings: Settings, clock: Clock) -> JwtAuthenticator:
    if settings.cognito_user_pool_id and settings.cognito_client_id:
        issuer = cognito_issuer(settings.cognito_user_pool_id)
        keys = Jwks(f"{issuer}/.well-known/jwks.json", clock=clock)
        return JwtAuthenticator(keys, CognitoRules(issuer, settings.cognito_client_id), clock)
    rules = StandardRules(settings.jwt_issuer, settings.jwt_audience)
    if settings.jwt_secret is not None:
        return JwtAuthenticator(Secret(settings.jwt_secret), rules, clock)
    return JwtAuthenticator(Jwks(settings.jwks_url, settings.jwks, clock), rules, clock)
