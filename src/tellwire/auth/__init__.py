"""Authentication by JWTs: signed with a shared secret, with keys from a JWKS, or by a Cognito user pool.

token ─▶ TokenCache ─▶ JwtAuthenticator ─▶ keys (Secrets | Jwks), several at once while one replaces another
                            └▶ rules (issuer and audience | Cognito's) ─▶ the user in its claims
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from tellwire.extras import needs_extra

if TYPE_CHECKING:
    from tellwire.auth.cache import TokenCache
    from tellwire.auth.claims import ClaimRules, StandardRules
    from tellwire.auth.cognito import CognitoRules, cognito_issuer
    from tellwire.auth.development import development_secret
    from tellwire.auth.factory import SettingsAuthenticator, make_authenticator
    from tellwire.auth.gatekeeper import Gatekeeper
    from tellwire.auth.jwks import Jwks
    from tellwire.auth.jwt import JwtAuthenticator, Trust
    from tellwire.auth.keys import Key, KeySource, Secrets
    from tellwire.auth.mint import mint_token

__all__ = [
    "ClaimRules",
    "CognitoRules",
    "Gatekeeper",
    "Jwks",
    "JwtAuthenticator",
    "Key",
    "KeySource",
    "Secrets",
    "SettingsAuthenticator",
    "StandardRules",
    "TokenCache",
    "Trust",
    "cognito_issuer",
    "development_secret",
    "make_authenticator",
    "mint_token",
]

_MODULES: Final = {
    "ClaimRules": "claims",
    "CognitoRules": "cognito",
    "Gatekeeper": "gatekeeper",
    "Jwks": "jwks",
    "JwtAuthenticator": "jwt",
    "Key": "keys",
    "KeySource": "keys",
    "Secrets": "keys",
    "SettingsAuthenticator": "factory",
    "StandardRules": "claims",
    "TokenCache": "cache",
    "Trust": "jwt",
    "cognito_issuer": "cognito",
    "development_secret": "development",
    "make_authenticator": "factory",
    "mint_token": "mint",
}
"""Modules of the names, imported when asked for: a back end that makes tokens needs no verification of them."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with needs_extra(f"tellwire.auth.{name}", "gateway"):
        return getattr(import_module(f"tellwire.auth.{_MODULES[name]}"), name)
