"""`tellwire send`: publish a message by hand."""

import asyncio
import os
from dataclasses import dataclass

import click
import msgspec

from tellwire.broadcast import Broadcaster
from tellwire.carriers.http import HttpCarrier
from tellwire.cli.common import url_option
from tellwire.errors import ConfigError, GatewayRefused, InvalidMessage
from tellwire.messages import (
    Message,
    create_error_message,
    create_message,
    create_notification_message,
    create_upload_progress_message,
)
from tellwire.model import Delivery, Target

_JSON_HELP = "Any JSON."
_TIMEOUT_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class _Destination:
    """The gateway and the target of a message. Validated only when used, so that `send notification --help` works."""

    url: str
    user_id: str | None
    connection_ids: tuple[str, ...]
    everybody: bool

    @property
    def target(self) -> Target:
        if sum([self.user_id is not None, bool(self.connection_ids), self.everybody]) != 1:
            raise click.UsageError("send: the target is missing: give one of --user ID, --connection ID or --all")
        return Target(user=self.user_id, connections=self.connection_ids or None, all=self.everybody or None)


@click.group(subcommand_metavar="notification|progress|error|message …")
@click.option("--user", "user_id", help="Every device of this user.")
@click.option("--connection", "connection_ids", multiple=True, help="This connection; may be given several times.")
@click.option("--all", "everybody", is_flag=True, help="Every connection.")
@url_option("The gateway's URL.")
@click.pass_context
def send(
    context: click.Context, user_id: str | None, connection_ids: tuple[str, ...], everybody: bool, url: str
) -> None:
    """Send a message to a user, to connections or to everybody.

    The API key comes from TELLWIRE_API_KEY; a gateway in --dev mode needs none.

    \b
    Examples:
      tellwire send --user user-1 notification "Upload complete" "10,000 parts" --severity success
      tellwire send --user user-1 progress moc-1 parts.csv 50 "Half way"
      tellwire send --user user-1 error BAD_ROWS "12 rows could not be read" --details '{"rows": [3, 99]}'
      tellwire send --all message maintenance '{"minutes": 5}'
    """
    context.obj = _Destination(url, user_id, connection_ids, everybody)


@send.command()
@click.argument("title")
@click.argument("message")
@click.option("--severity", default="info", show_default=True, help="info, success, warning or error.")
@click.option("--action-url", help="The link of the notification: http(s) or a path on the site.")
@click.option("--action-label", help="The text of the link.")
@click.pass_context
def notification(
    context: click.Context, title: str, message: str, severity: str, action_url: str | None, action_label: str | None
) -> None:
    """Send a notification."""
    _send(context, create_notification_message(title, message, severity, action_url, action_label))  # type: ignore[arg-type]


@send.command()
@click.argument("upload_id")
@click.argument("file_name")
@click.argument("percent", type=float)
@click.argument("message", default="")
@click.option("--current-row", type=int)
@click.option("--total-rows", type=int)
@click.pass_context
def progress(
    context: click.Context,
    upload_id: str,
    file_name: str,
    percent: float,
    message: str,
    current_row: int | None,
    total_rows: int | None,
) -> None:
    """Send the progress of an upload (0-100)."""
    number = int(percent) if percent.is_integer() else percent
    _send(context, create_upload_progress_message(upload_id, file_name, number, message, current_row, total_rows))


@send.command()
@click.argument("code")
@click.argument("message")
@click.option("--details", help=_JSON_HELP)
@click.pass_context
def error(context: click.Context, code: str, message: str, details: str | None) -> None:
    """Send an error."""
    _send(context, create_error_message(code, message, None if details is None else _parsed("--details", details)))


@send.command("message")
@click.argument("message_type", metavar="TYPE")
@click.argument("data")
@click.pass_context
def custom(context: click.Context, message_type: str, data: str) -> None:
    """Send a message of your own type; DATA is JSON."""
    _send(context, create_message(message_type, _parsed("DATA", data)))


def _parsed(name: str, text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise InvalidMessage(name, text, "JSON") from error


def _send(context: click.Context, message: Message) -> None:
    destination: _Destination = context.obj
    delivery = asyncio.run(_deliver(destination.url, destination.target, message))
    click.echo(f"delivered {delivery.delivered}, gone {delivery.gone}, failed {delivery.failed}")


async def _deliver(url: str, target: Target, message: Message) -> Delivery:
    api_key = os.environ.get("TELLWIRE_API_KEY", "").strip() or None
    carrier = HttpCarrier(url, api_key, _TIMEOUT_SECONDS)
    try:
        return await Broadcaster(carrier).broadcast(target, message)
    except GatewayRefused as refused:
        if refused.status != 401:
            raise
        problem = "is not the gateway's key" if api_key else "is not set, and the gateway requires a key"
        raise ConfigError(f"TELLWIRE_API_KEY {problem}") from refused
    finally:
        await carrier.close()
