"""Authentication by JWTs: signed with a shared secret, with keys from a JWKS, or by a Cognito user pool.

token ─▶ TokenCache ─▶ JwtAuthenticator ─▶ keys (Secret | Jwks)
                            └▶ rules (issuer and audience | Cognito's)
"""

from tellwire.auth.cache import TokenCache
from tellwire.auth.cognito import CognitoRules, cognito_issuer
from tellwire.auth.development import development_secret
from tellwire.auth.factory import make_authenticator
from tellwire.auth.jwks import Jwks
from tellwire.auth.jwt import ClaimRules, JwtAuthenticator, KeySource, Secret, StandardRules
from tellwire.auth.mint import mint_token

__all__ = [
    "ClaimRules",
    "CognitoRules",
    "Jwks",
    "JwtAuthenticator",
    "KeySource",
    "Secret",
    "StandardRules",
    "TokenCache",
    "cognito_issuer",
    "development_secret",
    "make_authenticator",
    "mint_token",
]
