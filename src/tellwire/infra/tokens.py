"""Environment of handlers for the verification of tokens: exactly one source of keys. Pure, except for the CDK's types.

user_pool, user_pool_client      COGNITO_USER_POOL_ID, COGNITO_CLIENT_ID
jwks_url                         TELLWIRE_JWKS_URL
environment                      one of them, or TELLWIRE_JWT_SECRET, by name
"""

from collections.abc import Mapping
from typing import Final

from aws_cdk import aws_cognito as cognito

from tellwire.engines.aws.environment import HISTORY_TABLE_NAME, MANAGEMENT_ENDPOINT, TABLE_NAME
from tellwire.errors import ConfigError

_USER_POOL_ID: Final = "COGNITO_USER_POOL_ID"
_CLIENT_ID: Final = "COGNITO_CLIENT_ID"
_JWKS_URL: Final = "TELLWIRE_JWKS_URL"
_SOURCES: Final = (_USER_POOL_ID, _JWKS_URL, "TELLWIRE_JWKS", "TELLWIRE_JWT_SECRET")
_ALLOWED: Final = "user_pool with user_pool_client, jwks_url, or an environment with " + " or ".join(_SOURCES)


def token_environment(
    *,
    user_pool: cognito.IUserPool | None,
    user_pool_client: cognito.IUserPoolClient | None,
    jwks_url: str | None,
    environment: Mapping[str, str],
) -> dict[str, str]:
    """Return `environment` with the variables for the verification of tokens.

    Raises:
        ConfigError: no source of keys is given, or more than one, or an incomplete one; or `environment` has a name
            that the construct sets itself.
    """
    if own_names := {TABLE_NAME, HISTORY_TABLE_NAME, MANAGEMENT_ENDPOINT} & environment.keys():
        raise ConfigError(f"environment: got {min(own_names)}; allowed: names that RealtimeApi does not set itself")
    given = [name for name in _SOURCES if name in environment]
    own: dict[str, str] = {}
    if (pool := _of_user_pool(user_pool, user_pool_client)) is not None:
        given.append("user_pool")
        own |= pool
    if jwks_url is not None:
        given.append("jwks_url")
        own[_JWKS_URL] = jwks_url
    if len(given) != 1:
        raise ConfigError(f"tokens: got {' and '.join(given) or 'no source of keys'}; allowed: one of {_ALLOWED}")
    return {**environment, **own}


def _of_user_pool(
    user_pool: cognito.IUserPool | None, user_pool_client: cognito.IUserPoolClient | None
) -> dict[str, str] | None:
    if user_pool is None and user_pool_client is None:
        return None
    if user_pool is None or user_pool_client is None:
        given = "user_pool_client" if user_pool is None else "user_pool"
        raise ConfigError(f"tokens: got {given} alone; allowed: user_pool and user_pool_client together")
    return {_USER_POOL_ID: user_pool.user_pool_id, _CLIENT_ID: user_pool_client.user_pool_client_id}
