"""Amazon Cognito user pools ("Verifying JSON Web Tokens", Cognito developer guide).

The pool signs two kinds of tokens. An ID token has the app client in `aud`; an access token has no `aud` and the app
client in `client_id`. `token_use` tells which is which, and both come from exactly one issuer.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tellwire.errors import ConfigError, TokenInvalid

_POOL_ID = re.compile(r"^(?P<region>[a-z]{2}-(?:gov-|iso[a-z]?-)?[a-z]+-\d)_[A-Za-z0-9]+$")


def cognito_issuer(user_pool_id: str) -> str:
    """Return the `iss` of a pool's tokens; its keys are at `<issuer>/.well-known/jwks.json`.

    Raises:
        ConfigError: not a user pool id.
    """
    match = _POOL_ID.fullmatch(user_pool_id)
    if match is None:
        raise ConfigError(f"COGNITO_USER_POOL_ID: got {user_pool_id!r}; allowed: an id such as us-east-1_AbCdEfGhI")
    return f"https://cognito-idp.{match['region']}.amazonaws.com/{user_pool_id}"


@dataclass(frozen=True, slots=True)
class CognitoRules:
    """Accept the ID and access tokens of one pool, made for one app client."""

    issuer: str
    client_id: str

    def check(self, claims: Mapping[str, Any]) -> None:
        if claims.get("iss") != self.issuer:
            raise TokenInvalid("it comes from another user pool")
        match claims.get("token_use"):
            case "id":
                client = claims.get("aud")
            case "access":
                client = claims.get("client_id")
            case _:
                raise TokenInvalid("its token_use is neither id nor access")
        if client != self.client_id:
            raise TokenInvalid("it was made for another app client")
