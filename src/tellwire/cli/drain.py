"""`tellwire drain`: end a gateway after it has closed its connections."""

import click
import msgspec

from tellwire.cli.admin import Admin
from tellwire.cli.common import url_option


class _Answer(msgspec.Struct, rename="camel"):
    within_seconds: float


@click.command()
@url_option("The gateway's URL: of this one node, not of a load balancer before several.")
def drain(url: str) -> None:
    """Drain a gateway, as SIGTERM does: it closes its connections, and ends.

    From now on it is not ready, and takes no connections. Those that it has are closed with "service restart" (1012),
    spread over a few seconds, and requests in progress are answered; then it exits with 0. With several workers it is
    all of them. This command does not wait for the end.

    The API key comes from TELLWIRE_API_KEY, and needs the scope "admin"; a gateway in --dev mode needs none.
    """
    answer = Admin(url).ask("POST", "/v1/drain", _Answer)
    click.echo(f"draining: it ends within {answer.within_seconds:g} seconds")
