"""Authentication by JWTs: signed with a shared secret, with keys from a JWKS, or by a Cognito user pool.

token ─▶ TokenCache ─▶ JwtAuthenticator ─▶ keys (Secrets | Jwks), several at once while one replaces another
                            └▶ rules (issuer and audience | Cognito's) ─▶ the user in its claims
"""

from tellwire.extras import needs_extra

with needs_extra("tellwire.auth", "gateway"):
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
