"""`tellwire token`: make a token for development."""

from pathlib import Path

import click

from tellwire.cli.common import config_option, current_settings, info_in, token_for


@click.command()
@config_option
@click.option("--user", "user_id", required=True, help="The user id in the token (its sub).")
@click.option(
    "--ttl",
    "ttl_seconds",
    type=click.IntRange(min=1),
    default=3600,
    show_default=True,
    help="Seconds until it expires.",
)
@click.option("--topic", "topics", multiple=True, help="Allow the topics of this pattern; may be given several times.")
@click.option("--info", help="Traits of the user that others in a topic see: a JSON object of at most 1 KiB.")
def token(config_file: Path | None, user_id: str, ttl_seconds: int, topics: tuple[str, ...], info: str | None) -> None:
    """Print a token that a gateway on this machine accepts.

    Signed with TELLWIRE_JWT_SECRET, or with this machine's development secret, which `serve --dev` accepts.

    \b
    Example:
      wscat -c "ws://127.0.0.1:8787?token=$(tellwire token --user user-1)"
      tellwire token --user user-1 --topic 'moc:*:comments' --info '{"name": "Ann"}'
    """
    click.echo(token_for(current_settings(config_file), user_id, ttl_seconds, topics, info_in(info)))
