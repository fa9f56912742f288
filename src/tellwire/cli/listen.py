"""`tellwire listen`: be a device. Bars and coloured lines on a terminal; one JSON object a line otherwise."""

import asyncio
import contextlib
import os
import random
import re
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import click
import msgspec
from click.core import ParameterSource
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from tellwire.cli.common import config_option, current_settings, token_for, url_option
from tellwire.cli.screen import JsonLines, Output, OutputLost, Screen
from tellwire.http_client import http_base_url

_FIRST_WAIT_SECONDS: Final = 0.5
_LONGEST_WAIT_SECONDS: Final = 15.0
_FINAL_CODES: Final = frozenset({4400, 4403})
_TOKEN_CODE: Final = 4401
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


@click.command()
@config_option
@click.option("--user", "user_id", help="Listen as this user, with a token made here (see `tellwire token`).")
@click.option("--token", "given_token", envvar="TELLWIRE_TOKEN", help="Listen with this token; or set TELLWIRE_TOKEN.")
@url_option("The gateway; ws:// and http:// both do.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, also on a terminal.")
@click.pass_context
def listen(
    context: click.Context,
    config_file: Path | None,
    user_id: str | None,
    given_token: str | None,
    url: str,
    as_json: bool,
) -> int:
    """Show what a user's device receives, until Ctrl-C. Comes back by itself when the gateway restarts.

    \b
    Examples:
      tellwire listen --user user-1
      tellwire listen --user user-1 --json | jq .data.progress
    """
    if user_id is not None and context.get_parameter_source("given_token") is ParameterSource.ENVIRONMENT:
        given_token = None
    if (user_id is None) == (given_token is None):
        raise click.UsageError("listen: say who listens: one of --user ID or --token TOKEN")
    if given_token is not None and not _TOKEN.fullmatch(given_token):
        raise click.UsageError(
            "listen: --token is not a JWT (three parts of letters, digits, - and _ with dots between)"
        )
    settings = current_settings(config_file)

    def get_token() -> str:
        return given_token if given_token is not None else token_for(settings, user_id or "", 3600)

    get_token()  # What is wrong with it should be said before anything is shown.
    output: Output = JsonLines() if as_json or not sys.stdout.isatty() else Screen()
    try:
        with output, contextlib.suppress(KeyboardInterrupt):
            return asyncio.run(_listen(websocket_url(url), get_token, renewable=given_token is None, output=output))
    except OutputLost as lost:
        # What Python still holds for standard output would fail once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if lost.reader_left:
            return 0
        click.echo(f"tellwire: {lost}", err=True)
        return 1
    return 130


def websocket_url(url: str) -> str:
    """Return the WebSocket address of a gateway given by either address."""
    parts = urlsplit(http_base_url(url))
    return urlunsplit(parts._replace(scheme={"http": "ws", "https": "wss"}[parts.scheme], path=parts.path or "/"))


async def _listen(url: str, get_token: Callable[[], str], *, renewable: bool, output: Output) -> int:
    longest_wait = _FIRST_WAIT_SECONDS
    said = ""
    while True:
        end = _End("the gateway closed the connection")
        try:
            async for message in _messages(url, get_token(), output):
                longest_wait, said = _FIRST_WAIT_SECONDS, ""
                output.show(message)
        except InvalidStatus as refused:
            end = _refused(refused, renewable)
        except ConnectionClosed as closed:
            end = _closed(closed, renewable)
        except (OSError, InvalidHandshake, EOFError) as error:
            end = _End(f"no gateway at {url}: {_reason(error)}")
        if end.is_final:
            output.say(end.why)
            return 1
        if end.why != said:
            said = end.why
            output.say(f"{said}; trying again")
        # Full jitter: after a restart, a thousand listeners should not come back in step.
        await asyncio.sleep(random.uniform(0, longest_wait))  # noqa: S311 - jitter
        longest_wait = min(2 * longest_wait, _LONGEST_WAIT_SECONDS)


@dataclass(frozen=True, slots=True)
class _End:
    """Why a connection ended, and whether trying again is of no use."""

    why: str
    is_final: bool = False


async def _messages(url: str, token: str, output: Output) -> AsyncIterator[bytes]:
    # In the subprotocol the token stays out of the URL, and so out of proxies' logs.
    offered = [Subprotocol("tellwire.v1"), Subprotocol(f"token.{token}")]
    async with connect(url, subprotocols=offered, proxy=None, compression=None) as socket:
        output.say(f"listening on {url}")
        while True:
            yield await socket.recv(decode=False)


def _refused(refused: InvalidStatus, renewable: bool) -> _End:
    status = refused.response.status_code
    try:
        answer: Any = msgspec.json.decode(refused.response.body or b"")
        why = f"refused: {answer['message']} ({status} {answer['code']})"
    except (msgspec.DecodeError, KeyError, TypeError):
        why = f"refused: the server answered {status}; is this a tellwire gateway?"
    if renewable and status == 401:
        why += ". Tokens made here need the gateway's TELLWIRE_JWT_SECRET; or pass --token"
    return _End(why, is_final=status in (400, 401, 403, 404))


def _closed(closed: ConnectionClosed, renewable: bool) -> _End:
    code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
    is_final = code in _FINAL_CODES or (code == _TOKEN_CODE and not renewable)
    return _End(f"connection closed ({f'{code} {reason}'.strip()})", is_final)


def _reason(error: Exception) -> str:
    # asyncio puts the address into the text, and several addresses into several texts.
    match error:
        case ConnectionRefusedError():
            return "connection refused"
        case OSError(errno=number) if number:
            return os.strerror(number).lower()
    return str(error)
