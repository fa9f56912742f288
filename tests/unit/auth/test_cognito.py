"""Cognito's two kinds of tokens."""

from typing import Any

import pytest

from tellwire.auth import CognitoRules, cognito_issuer
from tellwire.errors import ConfigError, TokenInvalid

ISSUER = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI"
RULES = CognitoRules(ISSUER, "client-1")


def test_the_issuer_follows_from_the_pool() -> None:
    assert cognito_issuer("eu-central-1_AbCdEfGhI") == ISSUER
    assert cognito_issuer("us-gov-west-1_x").startswith("https://cognito-idp.us-gov-west-1.")


@pytest.mark.parametrize("pool", ["", "AbCdEfGhI", "us-east-1", "us-east-1_", "us-east-1_a/../b", "us-east-1_a\n"])
def test_what_is_no_pool_id_is_refused(pool: str) -> None:
    with pytest.raises(ConfigError, match="COGNITO_USER_POOL_ID"):
        cognito_issuer(pool)


def test_id_and_access_tokens_of_our_client_are_accepted() -> None:
    RULES.check({"iss": ISSUER, "token_use": "id", "aud": "client-1"})
    RULES.check({"iss": ISSUER, "token_use": "access", "client_id": "client-1"})


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": ISSUER + "/", "token_use": "id", "aud": "client-1"},
        {"token_use": "id", "aud": "client-1"},
        {"iss": ISSUER, "token_use": "id", "client_id": "client-1"},
        {"iss": ISSUER, "token_use": "access", "aud": "client-1"},
        {"iss": ISSUER, "token_use": "id", "aud": "client-2"},
        {"iss": ISSUER, "token_use": "id", "aud": ["client-1"]},
        {"iss": ISSUER, "token_use": "refresh", "aud": "client-1"},
        {"iss": ISSUER, "aud": "client-1"},
    ],
)
def test_everything_else_is_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(TokenInvalid):
        RULES.check(claims)
