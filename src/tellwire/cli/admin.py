"""Requests of an operator to a gateway: with the API key of the environment, and refusals in words."""

import asyncio
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlencode, urlsplit

import msgspec

from tellwire.decode_errors import DECODE_ERRORS
from tellwire.errors import ConfigError, PublishError
from tellwire.http_client import HttpClient, HttpFailed, http_base_url
from tellwire.http_messages import HttpResponse
from tellwire.limits import MAX_ANSWER_BYTES
from tellwire.model import is_loopback
from tellwire.producer import api_key_from_environment
from tellwire.text import one_line

_TIMEOUT_SECONDS: Final = 10.0
_SHOWN_CHARACTERS: Final = 300

T = TypeVar("T")


def is_unanswered(error: PublishError) -> bool:
    """Return True if nobody has answered."""
    cause = error.__cause__
    return isinstance(cause, HttpFailed | urllib.error.URLError) and not isinstance(cause, urllib.error.HTTPError)


class _Problem(msgspec.Struct):
    code: str = ""
    message: str = "this is not a gateway's answer; is this its address?"


class Admin:
    """The gateway at a URL, as an operator asks it. The key needs the scope "admin".

    Raises:
        ConfigError: the URL cannot be used.
    """

    def __init__(self, url: str) -> None:
        self.url = http_base_url(url)
        key = api_key_from_environment(os.environ)
        self._headers = {} if key is None else {"authorization": f"Bearer {key}"}

    def ask(self, method: str, path: str, kind: type[T], *, body: Any = None, **query: str | int | None) -> T:
        """Send a request, and return its answer.

        Raises:
            ConfigError: the API key is refused.
            PublishError: nobody answers, or the request is refused.
        """
        response = asyncio.run(self._send(method, f"{path}{_query(query)}", body))
        if response.status >= 300:
            raise self._refusal(response.status, response.body)
        try:
            return msgspec.json.decode(response.body or b"null", type=kind)
        except DECODE_ERRORS as error:
            raise PublishError(f"The gateway at {self.url}: {_Problem().message}") from error

    async def _send(self, method: str, path: str, body: Any) -> HttpResponse:
        client = HttpClient(self.url, _TIMEOUT_SECONDS, self._headers)
        encoded = None if body is None else msgspec.json.encode(body)
        try:
            return await client.send(method, path, encoded, max_bytes=MAX_ANSWER_BYTES)
        except HttpFailed as failed:
            raise PublishError(f"The gateway at {self.url} does not answer: {failed.reason}") from failed
        finally:
            await client.close()

    @contextmanager
    def stream(self, path: str, timeout_seconds: float, **query: str | int | None) -> Iterator[HTTPResponse]:
        """Open an answer that is read in pieces, each within a time.

        Raises:
            ConfigError, PublishError: as `ask`.
        """
        request = urllib.request.Request(f"{self.url}{path}{_query(query)}", headers=self._headers)  # noqa: S310 - http or https
        handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
        if is_loopback(urlsplit(self.url).hostname):
            handlers.append(urllib.request.ProxyHandler({}))
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=timeout_seconds) as response:
                yield cast("HTTPResponse", response)
        except urllib.error.HTTPError as refused:
            with refused:
                raise self._refusal(refused.code, refused.read(MAX_ANSWER_BYTES)) from refused
        except urllib.error.URLError as error:
            reason = getattr(error.reason, "strerror", None) or error.reason
            raise PublishError(f"The gateway at {self.url} does not answer: {reason}") from error
        except (OSError, HTTPException) as error:
            raise PublishError(f"The gateway at {self.url}: the answer broke off: {error}") from error

    def _refusal(self, status: int, body: bytes) -> ConfigError | PublishError:
        try:
            problem = msgspec.json.decode(body, type=_Problem)
        except DECODE_ERRORS:
            problem = _Problem()
        reason = f"{one_line(problem.message, _SHOWN_CHARACTERS)} ({status})"
        if status in (401, 403):
            return ConfigError(f"TELLWIRE_API_KEY: {reason}")
        return PublishError(f"The gateway at {self.url}: {reason}")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the API key would go to another address."""

    def redirect_request(self, *args: Any, **options: Any) -> None:
        return None


def _query(query: Mapping[str, str | int | None]) -> str:
    given = {name: value for name, value in query.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""
