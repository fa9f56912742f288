"""Whose requests these are: access keys from the environment, as Lambda sets them, or else as botocore finds them.

botocore knows profiles, SSO, roles of containers and instances, and takes a while to import; a Lambda never needs it.
"""

import asyncio
import re
import threading
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol

from tellwire.aws_api.sigv4 import Credentials
from tellwire.errors import ConfigError

_KEPT_SECONDS: Final = 30.0
_FIT_FOR_A_HEADER: Final = re.compile(r"[!-~]+")
_NONE: Final = "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


class CredentialsSource(Protocol):
    """Where credentials come from. Temporary ones change while a program runs."""

    async def current(self) -> Credentials:
        """Return the credentials that are good now.

        Raises:
            ConfigError: there are none, or they cannot be renewed.
        """
        ...


class Fixed:
    """The same credentials always."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def current(self) -> Credentials:
        return self._credentials


class FromBotocore:
    """What botocore's chain finds, renewed by it in time (a quarter of an hour before the end)."""

    def __init__(self) -> None:
        self._found: Any = None
        self._current: Credentials | None = None
        self._asked_at = -_KEPT_SECONDS
        self._asking = threading.Lock()

    async def current(self) -> Credentials:
        if self._current is None or time.monotonic() - self._asked_at >= _KEPT_SECONDS:
            # It may ask an identity provider, and it blocks while it does.
            self._current = await asyncio.to_thread(self._ask)
            self._asked_at = time.monotonic()
        return self._current

    def _ask(self) -> Credentials:
        # One of the many that need them at first, lest a program that asks for them is run, or a browser opened, often.
        with self._asking:
            return self._find()

    def _find(self) -> Credentials:
        try:
            from botocore.exceptions import BotoCoreError, ClientError
            from botocore.session import Session
        except ModuleNotFoundError as error:
            raise ConfigError(f"{_NONE}, or install botocore for profiles, SSO and roles") from error
        try:
            if self._found is None:
                self._found = Session().get_credentials()
            if self._found is None:
                raise ConfigError(f"{_NONE}, AWS_PROFILE, or give this machine a role")
            frozen = self._found.get_frozen_credentials()
        except (BotoCoreError, ClientError, RuntimeError) as error:
            # RuntimeError: what they were renewed with has expired, too.
            raise ConfigError(f"AWS credentials: {error}") from error
        return _checked(frozen.access_key, frozen.secret_key, frozen.token)


def find_credentials(environ: Mapping[str, str]) -> CredentialsSource:
    """Return where credentials come from. Nothing is looked up yet, unless the environment has them.

    A named profile goes before the environment's keys for botocore; here keys go first, as for a Lambda they must.

    Raises:
        ConfigError: the environment's are none.
    """
    key, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    if key and secret:
        return Fixed(_checked(key, secret, environ.get("AWS_SESSION_TOKEN") or None))
    return FromBotocore()


def _checked(access_key_id: str, secret_access_key: str, session_token: str | None) -> Credentials:
    # The HTTP client would quote them, with the line break that somebody's file has at its end.
    for name, value in (("access key id", access_key_id), ("session token", session_token)):
        if value is not None and _FIT_FOR_A_HEADER.fullmatch(value) is None:
            raise ConfigError(f"AWS {name}: got one with other characters; allowed: printable ASCII without spaces")
    return Credentials(access_key_id, secret_access_key, session_token)
