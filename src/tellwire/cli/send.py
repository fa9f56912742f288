"""`tellwire send`: publish a message by hand."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import click
import msgspec

from tellwire.broadcast import Broadcaster
from tellwire.carriers.http import HttpCarrier
from tellwire.cli.common import DEFAULT_URL
from tellwire.errors import ConfigError, GatewayRefused, InvalidMessage
from tellwire.messages import (
    Message,
    create_error_message,
    create_message,
    create_notification_message,
    create_state_message,
    create_upload_progress_message,
)
from tellwire.model import Delivery, Target
from tellwire.ports import Carrier
from tellwire.producer import api_key_from_environment, publishes_through_redis, redis_producer

_JSON_HELP = "Any JSON."
_TIMEOUT_SECONDS = 3.0
_PATIENCE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class _Destination:
    """The gateway and the target of a message. Validated only when used, so that `send notification --help` works.

    `url` None: the way that the environment names.
    """

    url: str | None
    user_id: str | None
    topic: str | None
    connection_ids: tuple[str, ...]
    everybody: bool

    @property
    def target(self) -> Target:
        given = (self.user_id is not None, self.topic is not None, bool(self.connection_ids), self.everybody)
        if sum(given) != 1:
            ways = "one of --user ID, --topic NAME, --connection ID or --all"
            raise click.UsageError(f"send: the target is missing: give {ways}")
        connections, everybody = self.connection_ids or None, self.everybody or None
        return Target(user=self.user_id, topic=self.topic, connections=connections, all=everybody)


@click.group(subcommand_metavar="notification|progress|error|message …", invoke_without_command=True)
@click.option("--user", "user_id", help="Every device of this user.")
@click.option("--topic", help="Everybody who is subscribed to this topic.")
@click.option("--connection", "connection_ids", multiple=True, help="This connection; may be given several times.")
@click.option("--all", "everybody", is_flag=True, help="Every connection.")
@click.option("--url", help=f"The gateway's URL.  [default: TELLWIRE_URL, else {DEFAULT_URL}]")
@click.pass_context
def send(
    context: click.Context,
    user_id: str | None,
    topic: str | None,
    connection_ids: tuple[str, ...],
    everybody: bool,
    url: str | None,
) -> None:
    """Send a message to a user, to a topic, to connections or to everybody.

    The API key comes from TELLWIRE_API_KEY; a gateway in --dev mode needs none. With TELLWIRE_REDIS_URL and no URL of a
    gateway, the message goes through Redis.

    \b
    Examples:
      tellwire send --user user-1 notification "Upload complete" "10,000 parts" --severity success
      tellwire send --user user-1 notification "Server down" "db-1" --escalate-after 60 --escalate-to mail
      tellwire send --user user-1 progress moc-1 parts.csv 50 "Half way"
      tellwire send --user user-1 error BAD_ROWS "12 rows could not be read" --details '{"rows": [3, 99]}'
      tellwire send --topic moc:1:comments message comment_added '{"text": "Nice!"}'
      tellwire send --topic moc:1 message editing '{"by": "Ada"}' --key part-3 --ttl 30
      tellwire send --all message maintenance '{"minutes": 5}'
    """
    if context.invoked_subcommand is None:
        raise click.UsageError("send: the message is missing: one of notification, progress, error, message")
    context.obj = _Destination(url, user_id, topic, connection_ids, everybody)


@send.command()
@click.argument("title")
@click.argument("message")
@click.option("--severity", default="info", show_default=True, help="info, success, warning or error.")
@click.option("--action-url", help="The link of the notification: http(s) or a path on the site.")
@click.option("--action-label", help="The text of the link.")
@click.option("--escalate-after", type=float, help="Seconds to wait for a device of the user to acknowledge it.")
@click.option("--escalate-to", help="The target of the gateway's settings that is called then.")
@click.pass_context
def notification(
    context: click.Context,
    title: str,
    message: str,
    severity: str,
    action_url: str | None,
    action_label: str | None,
    escalate_after: float | None,
    escalate_to: str | None,
) -> None:
    """Send a notification."""
    if (escalate_after is None) != (escalate_to is None):
        raise click.UsageError("send: got one of --escalate-after and --escalate-to; allowed: both or neither")
    escalate = None if escalate_to is None else {"after_seconds": escalate_after, "target": escalate_to}
    made = create_notification_message(
        title,
        message,
        severity,  # type: ignore[arg-type]
        action_url,
        action_label,
        escalate=escalate,
    )
    _send(context, made)


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
@click.option("--key", help="It is a state: of this key only the newest counts, and DATA null removes it.")
@click.option("--ttl", "ttl_seconds", type=float, help="Seconds after which a device that comes back does not get it.")
@click.pass_context
def custom(context: click.Context, message_type: str, data: str, key: str | None, ttl_seconds: float | None) -> None:
    """Send a message of your own type; DATA is JSON."""
    value = _parsed("DATA", data)
    message = create_message(message_type, value) if key is None else create_state_message(message_type, key, value)
    _send(context, message, ttl_seconds)


def _parsed(name: str, text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise InvalidMessage(name, text, "JSON") from error


def _send(context: click.Context, message: Message, ttl_seconds: float | None = None) -> None:
    destination: _Destination = context.obj

    async def broadcast(broadcaster: Broadcaster) -> Delivery:
        return await broadcaster.broadcast(destination.target, message, ttl_seconds=ttl_seconds)

    delivery = asyncio.run(_deliver(destination.url, broadcast))
    click.echo(f"delivered {delivery.delivered}, gone {delivery.gone}, failed {delivery.failed}")


Broadcast = Callable[[Broadcaster], Awaitable[Delivery]]


async def _deliver(url: str | None, broadcast: Broadcast) -> Delivery:
    if url is None and publishes_through_redis(os.environ):
        redis = redis_producer(os.environ, _TIMEOUT_SECONDS)
        try:
            return await _patiently(redis, "Redis", broadcast)
        finally:
            await redis.close()
    api_key = api_key_from_environment(os.environ)
    carrier = HttpCarrier(url or os.environ.get("TELLWIRE_URL", "").strip() or DEFAULT_URL, api_key, _TIMEOUT_SECONDS)
    try:
        return await _patiently(carrier, carrier.url, broadcast)
    except GatewayRefused as refused:
        if refused.status != 401:
            raise
        problem = "is not the gateway's key" if api_key else "is not set, and the gateway requires a key"
        raise ConfigError(f"TELLWIRE_API_KEY {problem}") from refused
    finally:
        await carrier.close()


async def _patiently(carrier: Carrier, where: str, broadcast: Broadcast) -> Delivery:
    """Publish, and say so if that takes a while."""
    sending = asyncio.ensure_future(broadcast(Broadcaster(carrier)))
    await asyncio.wait([sending], timeout=_PATIENCE_SECONDS)
    if not sending.done():
        click.echo(f"tellwire: no answer from {where} yet, trying again", err=True)
    return await sending
