"""Credentials for AWS: access keys from the environment, as Lambda sets them, or else from botocore.

botocore knows profiles, SSO, and roles of containers and instances. It is slow to import; a Lambda never needs it.
"""

import asyncio
import re
import threading
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol

from tellwire.aws_api.sigv4 import Credentials
from tellwire.errors import ConfigError

_CACHED_SECONDS: Final = 30.0
_HEADER_VALUE: Final = re.compile(r"[!-~]+")
_NO_CREDENTIALS: Final = "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


class CredentialsSource(Protocol):
    """A source of credentials. Temporary ones change while a program runs."""

    async def current(self) -> Credentials:
        """Return the credentials that are valid now.

        Raises:
            ConfigError: there are none, or they cannot be renewed.
        """
        ...


class FixedCredentials:
    """A source with the same credentials always."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def current(self) -> Credentials:
        return self._credentials


class BotocoreCredentials:
    """The credentials of botocore's chain, which renews them a quarter of an hour before they expire."""

    def __init__(self) -> None:
        self._found: Any = None
        self._current: Credentials | None = None
        self._loaded_at = -_CACHED_SECONDS
        self._loading = threading.Lock()

    async def current(self) -> Credentials:
        if self._current is None or time.monotonic() - self._loaded_at >= _CACHED_SECONDS:
            # In a thread, because it may call an identity provider.
            self._current = await asyncio.to_thread(self._load)
            self._loaded_at = time.monotonic()
        return self._current

    def _load(self) -> Credentials:
        # One thread at a time: each lookup may run a program or open a browser.
        with self._loading:
            return self._find()

    def _find(self) -> Credentials:
        try:
            from botocore.exceptions import BotoCoreError, ClientError
            from botocore.session import Session
        except ModuleNotFoundError as error:
            raise ConfigError(f"{_NO_CREDENTIALS}, or install botocore for profiles, SSO and roles") from error
        try:
            if self._found is None:
                self._found = Session().get_credentials()
            if self._found is None:
                raise ConfigError(f"{_NO_CREDENTIALS}, AWS_PROFILE, or give this machine a role")
            frozen = self._found.get_frozen_credentials()
        except (BotoCoreError, ClientError, RuntimeError) as error:
            # RuntimeError: the token that renews them has expired, too.
            raise ConfigError(f"AWS credentials: {error}") from error
        return _checked(frozen.access_key, frozen.secret_key, frozen.token)


def find_credentials(environ: Mapping[str, str]) -> CredentialsSource:
    """Return the source of credentials. botocore is called with the first request only.

    For botocore a named profile goes before keys in the environment; here keys go first, as a Lambda needs it.

    Raises:
        ConfigError: the environment has keys that cannot be sent in a header.
    """
    key, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    if key and secret:
        return FixedCredentials(_checked(key, secret, environ.get("AWS_SESSION_TOKEN") or None))
    return BotocoreCredentials()


def _checked(access_key_id: str, secret_access_key: str, session_token: str | None) -> Credentials:
    # Some files end with a line break; the HTTP client's error would quote the value with it.
    for name, value in (("access key id", access_key_id), ("session token", session_token)):
        if value is not None and _HEADER_VALUE.fullmatch(value) is None:
            raise ConfigError(f"AWS {name}: got one with other characters; allowed: printable ASCII without spaces")
    return Credentials(access_key_id, secret_access_key, session_token)
