"""`tellwire listen`: be a device. Bars and coloured lines on a terminal; one JSON object a line otherwise."""

import asyncio
import contextlib
import random
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import click
import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from tellwire.carriers.http import http_base_url
from tellwire.cli.common import config_option, current_settings, token_for, url_option
from tellwire.cli.screen import JsonLines, Output, Screen

_FIRST_WAIT_SECONDS: Final = 0.5
_LONGEST_WAIT_SECONDS: Final = 15.0
_FINAL_CODES: Final = frozenset({4400, 4403})
_TOKEN_CODE: Final = 4401


@click.command()
@config_option
@click.option("--user", "user_id", help="Listen as this user, with a token made here (see `tellwire token`).")
@click.option("--token", "given_token", envvar="TELLWIRE_TOKEN", help="Listen with this token; or set TELLWIRE_TOKEN.")
@url_option("The gateway; ws:// and http:// both do.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, also on a terminal.")
def listen(config_file: Path | None, user_id: str | None, given_token: str | None, url: str, as_json: bool) -> int:
    """Show what a user's device receives, until Ctrl-C. Comes back by itself when the gateway restarts.

    \b
    Examples:
      tellwire listen --user user-1
      tellwire listen --user user-1 --json | jq .data.progress
    """
    if (user_id is None) == (given_token is None):
        raise click.UsageError("listen: say who listens: one of --user ID or --token TOKEN")
    settings = current_settings(config_file)

    def get_token() -> str:
        return given_token if given_token is not None else token_for(settings, user_id or "", 3600)

    get_token()  # What is wrong with it should be said before anything is shown.
    output: Output = JsonLines() if as_json or not sys.stdout.isatty() else Screen()
    with output, contextlib.suppress(KeyboardInterrupt):
        return asyncio.run(_listen(websocket_url(url), get_token, renewable=given_token is None, output=output))
    return 130


def websocket_url(url: str) -> str:
    """Return the WebSocket address of a gateway given by either address."""
    parts = urlsplit(http_base_url(url))
    return urlunsplit(parts._replace(scheme={"http": "ws", "https": "wss"}[parts.scheme], path=parts.path or "/"))


async def _listen(url: str, get_token: Callable[[], str], *, renewable: bool, output: Output) -> int:
    longest_wait = _FIRST_WAIT_SECONDS
    while True:
        why = "the gateway closed the connection"
        try:
            async for message in _messages(url, get_token(), output):
                longest_wait = _FIRST_WAIT_SECONDS
                output.show(message)
        except InvalidStatus as refused:
            why = _refusal(refused)
            if refused.response.status_code in (400, 401, 403):
                output.say(f"refused: {why}")
                return 1
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else 1006
            why = f"connection closed ({code} {closed.rcvd.reason if closed.rcvd else ''})".replace(" )", ")")
            if code in _FINAL_CODES or (code == _TOKEN_CODE and not renewable):
                output.say(why)
                return 1
        except (OSError, InvalidHandshake, TimeoutError, EOFError) as error:
            why = f"no gateway at {url} ({error.strerror if isinstance(error, OSError) and error.strerror else error})"
        # Full jitter: after a restart, a thousand listeners should not come back in step.
        wait_seconds = random.uniform(0, longest_wait)  # noqa: S311 - jitter
        longest_wait = min(2 * longest_wait, _LONGEST_WAIT_SECONDS)
        output.say(f"{why}; trying again")
        await asyncio.sleep(wait_seconds)


async def _messages(url: str, token: str, output: Output) -> AsyncIterator[bytes]:
    # In the subprotocol the token stays out of the URL, and so out of proxies' logs.
    offered = [Subprotocol("tellwire.v1"), Subprotocol(f"token.{token}")]
    async with connect(url, subprotocols=offered, proxy=None, compression=None) as socket:
        output.say(f"listening on {url}")
        while True:
            yield await socket.recv(decode=False)


def _refusal(refused: InvalidStatus) -> str:
    with contextlib.suppress(msgspec.DecodeError, KeyError, TypeError):
        answer: Any = msgspec.json.decode(refused.response.body or b"")
        return f"{answer['message']} ({refused.response.status_code} {answer['code']})"
    return f"the server answered {refused.response.status_code}; is this a tellwire gateway?"
