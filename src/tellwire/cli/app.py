"""The commands and their exit codes: 0 success, 1 failure, 2 wrong usage or configuration. Errors are one line."""

from collections.abc import Sequence
from importlib import import_module
from typing import Final

import click

from tellwire._version import __version__
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


_MODULES: Final = {
    "serve": "serve",
    "token": "token",
    "listen": "listen",
    "send": "send",
    "config": "config",
    "doctor": "doctor.command",
    "users": "operators",
    "connections": "operators",
    "tail": "operators",
    "kick": "operators",
    "stats": "operators",
    "drain": "drain",
    "backup": "backup",
    "restore": "backup",
    "local": "local",
    "clock": "local",
    "package-lambda": "package_lambda",
}
"""The commands, in the order of the help, each with its module."""


class _Commands(click.Group):
    """The commands, each imported when it is called: a message that is sent by hand need not wait for a server."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _MODULES:
            return None
        command: click.Command = getattr(
            import_module(f"tellwire.cli.{_MODULES[cmd_name]}"), cmd_name.replace("-", "_")
        )
        return command


@click.group(cls=_Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="tellwire %(version)s")
def app() -> None:
    """Tell your users, live: progress, notifications and errors on every device."""


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code."""
    try:
        result = app.main(list(arguments), prog_name="tellwire", standalone_mode=False, obj=arguments)
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
