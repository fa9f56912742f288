"""`tellwire drain`: end a gateway after it has closed its connections."""

import asyncio
import os
from typing import Final

import click
import msgspec

from tellwire.cli.common import url_option
from tellwire.decode_errors import DECODE_ERRORS
from tellwire.errors import ConfigError, PublishError
from tellwire.http_client import HttpClient, HttpFailed, http_base_url
from tellwire.http_messages import HttpResponse
from tellwire.limits import MAX_ANSWER_BYTES
from tellwire.producer import api_key_from_environment
from tellwire.text import one_line

_TIMEOUT_SECONDS: Final = 5.0
_SHOWN_CHARACTERS: Final = 300


class _Answer(msgspec.Struct, rename="camel"):
    within_seconds: float | None = None
    message: str = "this is not a gateway's answer; is this its address?"


@click.command()
@url_option("The gateway's URL: of this one node, not of a load balancer before several.")
def drain(url: str) -> None:
    """Drain a gateway, as SIGTERM does: it closes its connections, and ends.

    From now on it is not ready, and takes no connections. Those that it has are closed with "service restart" (1012),
    spread over a few seconds, and requests in progress are answered; then it exits with 0. With several workers it is
    all of them. This command does not wait for the end.

    The API key comes from TELLWIRE_API_KEY, and needs the scope "admin"; a gateway in --dev mode needs none.
    """
    url = http_base_url(url)
    response = asyncio.run(_ask(url, api_key_from_environment(os.environ)))
    try:
        answer = msgspec.json.decode(response.body, type=_Answer)
    except DECODE_ERRORS:
        answer = _Answer()
    if response.status == 202 and answer.within_seconds is not None:
        click.echo(f"draining: it ends within {answer.within_seconds:g} seconds")
        return
    reason = f"{one_line(answer.message, _SHOWN_CHARACTERS)} ({response.status})"
    if response.status in (401, 403):
        raise ConfigError(f"TELLWIRE_API_KEY: {reason}")
    raise PublishError(f"The gateway at {url} does not drain: {reason}")


async def _ask(url: str, api_key: str | None) -> HttpResponse:
    client = HttpClient(url, _TIMEOUT_SECONDS, {} if api_key is None else {"authorization": f"Bearer {api_key}"})
    try:
        return await client.send("POST", "/v1/drain", max_bytes=MAX_ANSWER_BYTES)
    except HttpFailed as failed:
        raise PublishError(f"The gateway at {url} does not drain: {failed.reason}") from failed
    finally:
        await client.close()
