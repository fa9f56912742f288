"""`tellwire listen`: show a device's messages, as bars and coloured lines on a terminal, else as JSON lines."""

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from tellwire.cli.common import config_option, current_settings, token_for, url_option
from tellwire.cli.followed import describe_refusal, show_topic
from tellwire.cli.screen import JsonLines, Output, OutputLost, Screen
from tellwire.client import (
    Client,
    ClientOptions,
    ClosedForGood,
    CloseReason,
    ConnectionState,
    ReceivedMessage,
    StartFrom,
    TopicRefused,
    websocket_url,
)
from tellwire.messages import TERMINAL_STATUSES
from tellwire.text import require_topic

_REFUSED: Final = frozenset({301, 302, 303, 307, 308, 400, 401, 403, 404})
_OF_NO_USE: Final = frozenset({"TOKEN_INVALID", "TOKEN_MISSING"})
_OPTIONS: Final = ClientOptions(backoff_max_seconds=15)
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


@click.command()
@config_option
@click.option("--user", "user_id", help="Listen as this user, with a token made here (see `tellwire token`).")
@click.option("--token", "given_token", envvar="TELLWIRE_TOKEN", help="Listen with this token; or set TELLWIRE_TOKEN.")
@url_option("The gateway's URL, ws:// or http://.")
@click.option("--topic", "topics", multiple=True, help="Follow this topic, too; may be given several times.")
@click.option("--presence", is_flag=True, help="With --topic: show who is in the topics, and who comes and goes.")
@click.option("--from-start", is_flag=True, help="Begin with the oldest message kept, and with finished uploads.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, also on a terminal.")
@click.pass_context
def listen(
    context: click.Context,
    config_file: Path | None,
    user_id: str | None,
    given_token: str | None,
    url: str,
    topics: tuple[str, ...],
    presence: bool,
    from_start: bool,
    as_json: bool,
) -> int:
    """Show the messages that a user's device receives, until Ctrl-C.

    With --topic also those of topics. It ends with 1 when none of them may be followed (any more). With --presence also
    who comes into them and who leaves, as notes (on standard error where messages are JSON lines).

    It begins with now, and with the uploads that are running. It connects again by itself when the gateway restarts,
    and shows the messages that were published meanwhile.

    \b
    Examples:
      tellwire listen --user user-1
      tellwire listen --user user-1 --from-start
      tellwire listen --user user-1 --topic moc:1:comments --presence
      tellwire listen --user user-1 --json | jq .data.progress
    """
    if user_id is not None and context.get_parameter_source("given_token") is ParameterSource.ENVIRONMENT:
        given_token = None
    if (user_id is None) == (given_token is None):
        raise click.UsageError("listen: the user is missing: give one of --user ID or --token TOKEN")
    if given_token is not None and not _TOKEN.fullmatch(given_token):
        raise click.UsageError(
            "listen: --token is not a JWT (three parts of letters, digits, - and _ with dots between)"
        )
    settings = current_settings(config_file)
    _check_topics(topics, presence)

    def get_token() -> str:
        return given_token if given_token is not None else token_for(settings, user_id or "", 3600, topics)

    get_token()  # Report an error of the token before the screen starts.
    output: Output = JsonLines() if as_json or not sys.stdout.isatty() else Screen()
    try:
        with output, contextlib.suppress(KeyboardInterrupt):
            listening = _listen(
                websocket_url(url),
                get_token,
                renewable=given_token is None,
                output=output,
                from_start=from_start,
                topics=tuple(dict.fromkeys(topics)),
                has_presence=presence,
            )
            return asyncio.run(listening)
    except OutputLost as lost:
        # The rest of standard output's buffer would fail again when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if lost.reader_left:
            return 0
        click.echo(f"tellwire: {lost}", err=True)
        return 1
    return 130


def _check_topics(topics: Sequence[str], presence: bool) -> None:
    if presence and not topics:
        raise click.UsageError("listen: --presence is about topics: give --topic NAME, too")
    for topic in topics:
        require_topic("--topic", topic)


async def _listen(
    url: str,
    get_token: Callable[[], str],
    *,
    renewable: bool,
    output: Output,
    from_start: bool = False,
    topics: Sequence[str] = (),
    has_presence: bool = False,
) -> int:
    def is_final(reason: CloseReason) -> bool:
        # The user sees the error at once, and can correct it.
        is_ours = reason.kind == "token" and not renewable
        return is_ours or reason.code in _REFUSED or reason.error in _OF_NO_USE

    start_from: StartFrom = "oldest" if from_start else "now"
    client = Client(url, lambda _: get_token(), gives_up=is_final, options=_OPTIONS, start_from=start_from)
    client.on_state(_StateReporter(url, renewable, output).report)
    is_news = _Uploads(shows_finished=from_start).is_news
    listening: asyncio.Future[Any] = asyncio.ensure_future(_show_own(client, output, is_news))
    following: asyncio.Future[Any] = asyncio.gather(
        *(_follow(client, topic, output, is_news, has_presence=has_presence) for topic in topics)
    )
    try:
        async with client:
            await asyncio.wait([listening, following] if topics else [listening], return_when="FIRST_COMPLETED")
        await (listening if listening.done() else following)
    except ClosedForGood as closed:
        output.say(_describe(closed.reason, url, renewable))
    finally:
        for task in (listening, following):
            task.cancel()
        await asyncio.gather(listening, following, return_exceptions=True)
    return 1


async def _show_own(client: Client, output: Output, is_news: Callable[[ReceivedMessage], bool]) -> None:
    async for message in client:
        if is_news(message):
            output.show(message.payload)


async def _follow(
    client: Client, topic: str, output: Output, is_news: Callable[[ReceivedMessage], bool], *, has_presence: bool
) -> None:
    """Show a topic until it is refused."""
    try:
        await show_topic(client, topic, output, is_news, has_presence=has_presence)
    except TopicRefused as refused:
        output.say(describe_refusal(refused))


class _Uploads:
    """The uploads that were shown. One that had ended before is not news, but in a list of everything that is kept."""

    def __init__(self, *, shows_finished: bool) -> None:
        self._shows_finished = shows_finished
        self._shown: set[tuple[str | None, str | None]] = set()

    def is_news(self, message: ReceivedMessage) -> bool:
        """Return True if a message is to be shown."""
        if message.type != "upload_progress":
            return True
        status = message.data.get("status") if isinstance(message.data, dict) else None
        is_old = message.replayed and status in TERMINAL_STATUSES and (message.topic, message.key) not in self._shown
        if is_old and not self._shows_finished:
            return False
        self._shown.add((message.topic, message.key))
        return True


class _StateReporter:
    """Shows changes of the connection's state, without repeating a note."""

    def __init__(self, url: str, renewable: bool, output: Output) -> None:
        self._url = url
        self._renewable = renewable
        self._output = output
        self._last_note = ""

    def report(self, state: ConnectionState) -> None:
        if state.status == "open":
            self._last_note = ""
            self._report_open(state.recovered)
        elif state.status in ("waiting", "connecting") and state.reason is not None:
            why = _describe(state.reason, self._url, self._renewable)
            if why != self._last_note:
                self._last_note = why
                self._output.say(f"{why}; trying again")

    def _report_open(self, recovered: bool | None) -> None:
        if recovered is None:
            self._output.say(f"listening on {self._url}")
        elif not recovered:
            self._output.say("some messages may be missing: the gateway no longer has them")


def _describe(reason: CloseReason, url: str, renewable: bool) -> str:
    match reason.code:
        case None if reason.kind == "token":
            return f"no token: {reason.message}"
        case None:
            return f"no gateway at {url}: {reason.message}"
        case int(code) if code >= 1000 and reason.error in (None, reason.message):
            return f"connection closed ({f'{code} {reason.message}'.strip()})"
        case int(status) if reason.error is None:
            why = f"refused: the server answered {status}; is this a tellwire gateway?"
        case status:
            why = f"refused: {reason.message} ({status} {reason.error})"
    if renewable and reason.code in (401, 4401):
        why += ". Tokens made here need the gateway's TELLWIRE_JWT_SECRET; or pass --token"
    return why
