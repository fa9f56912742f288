"""The commands and their exit codes: 0 success, 1 failure, 2 wrong usage or configuration. Errors are one line."""

from collections.abc import Sequence

import click

from tellwire._version import __version__
from tellwire.cli.config import config
from tellwire.cli.listen import listen
from tellwire.cli.local import clock, local
from tellwire.cli.send import send
from tellwire.cli.serve import serve
from tellwire.cli.token import token
from tellwire.errors import PublishError, TellwireError

_EPILOG = """\b
Try it, in three terminals:
  tellwire serve --dev
  tellwire listen --user user-1
  tellwire send --user user-1 notification "Hello" "World"
\b
Run a WebSocket API of AWS on this machine:
  tellwire local --template template.yaml
"""


@click.group(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="tellwire %(version)s")
def app() -> None:
    """Tell your users, live: progress, notifications and errors on every device."""


for command in (serve, token, listen, send, config, local, clock):
    app.add_command(command)


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code."""
    try:
        result = app.main(list(arguments), prog_name="tellwire", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        return _fail(error.format_message(), 2)
    except click.Abort:
        return 130
    except PublishError as error:
        return _fail(str(error), 1)
    except TellwireError as error:
        return _fail(str(error), 2)
    except OSError as error:
        return _fail(f"cannot write: {error.strerror}", 1)
    return result if isinstance(result, int) else 0


def _fail(message: str, code: int) -> int:
    click.echo(f"tellwire: {' '.join(message.split())}", err=True)
    return code
